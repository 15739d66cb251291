"""The label file that lies beside, or in, what was embedded."""

import logging
import os
from pathlib import Path

from toolkit.labels.readers._peek import peek_csv

_log = logging.getLogger(__name__)

_TRAIN_NAMES = ("train.csv", "visual_china_train.csv")
_NOT_TRAIN = ("val", "valid", "validation", "dev", "test", "testing")


def find_label_file(source: Path, *, name: str) -> Path | None:
    """Return the label file of `source`, or None.

    A csv `source` with tags is its own label file. Otherwise looked for are, in this order, ``labels.csv``,
    ``<name>.csv``, ``train.csv`` and ``visual_china_train.csv`` (the reference contest's): in the folder
    `source`, then in its parent; beside a csv `source`. A file counts only if it has an image column and
    tags. The two train files are not looked for when `source` is a folder called ``val``, ``valid``,
    ``validation``, ``dev``, ``test`` or ``testing``: contests number the images of each part alike, and base
    names would match.

    Parameters
    ----------
    source : Path
        The folder or csv that was embedded; need not exist any more.
    name : str
        The name of its store.
    """
    source = Path(os.path.abspath(source))  # noqa: PTH100 - resolve() would leave by a link's other end
    if source.is_file():
        if source.suffix.lower() == ".csv" and peek_csv(source).kind is not None:
            return source
        places = [source.parent]
    else:
        places = [source, source.parent]
    names = ["labels.csv", f"{name}.csv"]
    if source.name.casefold() not in _NOT_TRAIN:
        names += _TRAIN_NAMES
    for place in places:
        found = [place / each for each in dict.fromkeys(names) if _is_label_file(place / each)]
        if found:
            if len(found) > 1:
                others = ", ".join(other.name for other in found[1:])
                _log.warning("labels from %s; %s beside it not read (--labels chooses)", found[0], others)
            return found[0]
    return None


def _is_label_file(path: Path) -> bool:
    return path.is_file() and peek_csv(path).kind is not None
