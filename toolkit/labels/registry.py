"""The label formats. A new one is a function ``read(path, options) -> RawLabels`` and a line in `READERS`."""

from collections.abc import Callable
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING

from toolkit.errors import OptionError

if TYPE_CHECKING:
    from toolkit.labels.raw import RawLabels, ReaderOptions

    Reader = Callable[[Path, ReaderOptions], RawLabels]

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
    """Return what ``--format`` takes: ``auto`` and the names of `READERS`."""
    return ("auto", *READERS)


def get_reader(name: str) -> "Reader":
    """Import and return the reader called `name`; `OptionError` names those there are."""
    if name not in READERS:
        raise OptionError(f"unknown label format {name!r}; choose auto or one of {', '.join(READERS)}")
    reader: Reader = resolve_name(READERS[name])
    return reader
