"""The label formats. A new one is a function ``read(path, options) -> RawLabels`` and a line in `READERS`."""

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
