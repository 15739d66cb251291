"""The label file of an embedded folder or csv."""

import logging
import os
from pathlib import Path

from toolkit.errors import LabelError
from toolkit.files.csv import CSV_SUFFIXES
from toolkit.labels.detect import detect_format
from toolkit.labels.readers._csv import peek_csv
from toolkit.labels.readers._xml import root_name

logger = logging.getLogger(__name__)

_TRAIN_NAMES = ("train.csv", "visual_china_train.csv")
_NOT_TRAIN = ("val", "valid", "validation", "dev", "test", "testing")
_OF_TOOLS = ("labels.json", "annotations.xml")  # FiftyOne's and CVAT's lie beside the folder
_WITHIN = (
    "_classes.csv",
    "_annotations.coco.json",
    "_annotations.createml.json",
    "metadata.jsonl",
    "metadata.csv",
    "metadata.parquet",
)


def find_label_file(source: Path, *, name: str) -> Path | None:
    """Return the label file of `source`, or None.

    `source` is the folder or csv that was embedded, which may no longer exist, `name` that of its store. A
    csv with tags is its own label file. Otherwise it is the first of ``labels.csv``, ``<name>.csv``,
    ``train.csv`` and ``visual_china_train.csv`` (the reference contest's), or what a tool exports under a
    name of its own, with an image column and tags: in the folder, then in its parent; or beside the csv. The
    two train files are not used for a folder called ``val``, ``valid``, ``validation``, ``dev``, ``test`` or
    ``testing``: contests number the images of every part from 1, so base names would match. For the same
    reason Roboflow's ``_classes.csv`` and ``_annotations.coco.json`` and Hugging Face's ``metadata`` are used
    in the folder alone.
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
    names += _OF_TOOLS
    for place in places:
        here: list[str] = [*names, *(_WITHIN if place == source else ())]
        files = [place / each for each in dict.fromkeys(here) if _has_labels(place / each)]
        if len(files) > 1:
            others = ", ".join(other.name for other in files[1:])
            logger.warning("labels from %s; %s beside it not read (--labels chooses)", files[0], others)
        if files:
            return files[0]
    return None


def _has_labels(path: Path) -> bool:
    if not path.is_file():
        return False
    if path.suffix.lower() in CSV_SUFFIXES:
        return peek_csv(path).format is not None
    try:
        return detect_format(path) != "cvat" or root_name(path) == "annotations"
    except LabelError:  # a json of another kind
        return False
