"""The label formats. A new one is a function ``read(path, options) -> RawLabels`` and a line in `READERS`."""

import importlib
from collections.abc import Callable
from pathlib import Path

from toolkit.errors import OptionError
from toolkit.labels.raw import RawLabels, ReadOptions

Reader = Callable[[Path, ReadOptions], RawLabels]

READERS: dict[str, str] = {
    "csv": "toolkit.labels.readers.csv_tags:read",
    "onehot": "toolkit.labels.readers.onehot:read",
    "npz": "toolkit.labels.readers.npz:read",
    "sidecar": "toolkit.labels.readers.sidecar:read",
    "folders": "toolkit.labels.readers.folders:read",
    "coco": "toolkit.labels.readers.coco:read",
    "voc": "toolkit.labels.readers.voc:read",
}


def get_reader(name: str) -> Reader:
    """Import and return the reader called `name`; `OptionError` names those there are."""
    if name not in READERS:
        raise OptionError(f"unknown label format {name!r}; choose auto or one of {', '.join(READERS)}")
    module, _, function = READERS[name].partition(":")
    reader: Reader = getattr(importlib.import_module(module), function)
    return reader
