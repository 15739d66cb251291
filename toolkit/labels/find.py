"""The label file of an embedded folder or csv."""

import logging
import os
from pathlib import Path

from toolkit.files.text import CSV_SUFFIXES
from toolkit.labels.readers._csv import peek_csv

logger = logging.getLogger(__name__)

_TRAIN_NAMES = ("train.csv", "visual_china_train.csv")
_NOT_TRAIN = ("val", "valid", "validation", "dev", "test", "testing")


def find_label_file(source: Path, *, name: str) -> Path | None:
    """Return the label file of `source`, or None.

    `source` is the folder or csv that was embedded, which may no longer exist, `name` that of its store. A
    csv with tags is its own label file. Otherwise it is the first of ``labels.csv``, ``<name>.csv``,
    ``train.csv`` and ``visual_china_train.csv`` (the reference contest's) with an image column and tags: in
    the folder, then in its parent; or beside the csv. The two train files are not used for a folder called
    ``val``, ``valid``, ``validation``, ``dev``, ``test`` or ``testing``: contests number the images of every
    part from 1, so base names would match.
    """
    source = Path(os.path.abspath(source))  # noqa: PTH100 - resolve() would follow a link
    if source.is_file():
        if source.suffix.lower() in CSV_SUFFIXES and _has_labels(source):
            return source
        places = [source.parent]
    else:
        places = [source, source.parent]
    names = ["labels.csv", f"{name}.csv"]
    if source.name.casefold() not in _NOT_TRAIN:
        names += _TRAIN_NAMES
    for place in places:
        files = [place / each for each in dict.fromkeys(names) if _has_labels(place / each)]
        if len(files) > 1:
            others = ", ".join(other.name for other in files[1:])
            logger.warning("labels from %s; %s beside it not read (--labels chooses)", files[0], others)
        if files:
            return files[0]
    return None


def _has_labels(path: Path) -> bool:
    return path.is_file() and peek_csv(path).format is not None
