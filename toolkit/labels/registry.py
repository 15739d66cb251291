"""The label formats. A new one is a function ``read(path, options) -> RawLabels`` and a line in `READERS`."""

READERS: dict[str, str] = {
    "csv": "toolkit.labels.readers.csv_tags:read",
    "onehot": "toolkit.labels.readers.onehot:read",
    "npz": "toolkit.labels.readers.npz:read",
    "sidecar": "toolkit.labels.readers.sidecar:read",
    "folders": "toolkit.labels.readers.folders:read",
    "coco": "toolkit.labels.readers.coco:read",
    "voc": "toolkit.labels.readers.voc:read",
    "yolo": "toolkit.labels.readers.yolo:read",
    "records": "toolkit.labels.readers.records:read",
    "parquet": "toolkit.labels.readers.parquet:read",
    "labelstudio": "toolkit.labels.readers.labelstudio:read",
    "fiftyone": "toolkit.labels.readers.fiftyone:read",
    "cvat": "toolkit.labels.readers.cvat:read",
    "labelme": "toolkit.labels.readers.labelme:read",
}


def format_names() -> tuple[str, ...]:
    """Return the values of ``--format``: ``auto`` and the names in `READERS`."""
    return ("auto", *READERS)
