"""The label formats. A new one is a function ``read(path, options) -> RawLabels`` and a line in `READERS`."""

from collections.abc import Callable
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from toolkit.labels.raw import RawLabels, ReaderOptions

READERS: dict[str, str] = {
    "csv": "toolkit.labels.readers.csv_tags:read",
    "onehot": "toolkit.labels.readers.onehot:read",
    "npz": "toolkit.labels.readers.npz:read",
    "sidecar": "toolkit.labels.readers.sidecar:read",
    "folders": "toolkit.labels.readers.folders:read",
    "coco": "toolkit.labels.readers.coco:read",
    "voc": "toolkit.labels.readers.voc:read",
}


def format_names() -> tuple[str, ...]:
    """Return the values of ``--format``: ``auto`` and the names in `READERS`."""
    return ("auto", *READERS)


def get_reader(name: str) -> "Callable[[Path, ReaderOptions], RawLabels]":
    """Import and return the reader called `name`."""
    reader: Callable[[Path, ReaderOptions], RawLabels] = resolve_name(READERS[name])
    return reader
