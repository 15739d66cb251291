"""FiftyOne's json: ``labels.json`` of a classification or detection set, ``samples.json`` of a whole one."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from toolkit.errors import LabelError
from toolkit.labels.raw import RawLabels, ReaderOptions, RowCollector
from toolkit.labels.readers._entries import tags_of
from toolkit.labels.readers._json import decode_json
from toolkit.runtime.messages import listed, quoted

_WANTED = "export FiftyOneImageClassificationDataset, FiftyOneImageDetectionDataset or FiftyOneDataset"
_LISTS = ("classifications", "detections", "polylines", "keypoints")


class _Document(msgspec.Struct):
    classes: list[str] | None = None
    labels: dict[str, Any] = {}
    samples: list[dict[str, Any]] = []


def read(path: Path, options: ReaderOptions) -> RawLabels:
    """Read FiftyOne's ``labels.json`` (names or numbers of classes for each image) or ``samples.json``.

    The images of a ``labels.json`` are named without their ending. A sample's tags are its ``ground_truth``,
    or its only field of labels. `LabelError` if it is another json, or a number is not that of a class.
    """
    document = decode_json(path, _Document, options.encoding, what="FiftyOne json", wanted=_WANTED)
    classes = [name.strip() for name in document.classes or []]
    labels = RowCollector()
    labels.declare(filter(None, classes))
    for number, (image, value) in enumerate(document.labels.items(), start=1):
        place = f"{path} image {number}, {quoted(image)}"
        labels.add(image, _tags(value, place, classes), number)
    field = _label_field(document.samples, path) if document.samples else ""
    for number, sample in enumerate(document.samples, start=1):
        place = f"{path} sample {number}"
        filepath = sample.get("filepath")
        if not isinstance(filepath, str):
            raise LabelError(f"{place} has no filepath; {_WANTED}")
        labels.add(filepath, _tags(sample.get(field), place, classes), number)
    return labels.finish(path.parent, unit="image" if document.labels else "sample")


def _tags(value: Any, place: str, classes: Sequence[str]) -> list[str]:
    """Return the tags of a target: a text is one tag; an object holds one or a list of them."""
    if isinstance(value, Mapping):
        inner = next((value[key] for key in (*_LISTS, "labels", "label") if key in value), value)
        return _tags(inner, place, classes) if inner is not value else tags_of(value, ",", place, classes)
    if value is None:
        return []
    return tags_of(value if isinstance(value, list) else [value], ",", place, classes)


def _label_field(samples: Sequence[Mapping[str, Any]], path: Path) -> str:
    fields = dict.fromkeys(
        key
        for sample in samples
        for key, value in sample.items()
        if isinstance(value, dict) and ("label" in value or not value.keys().isdisjoint(_LISTS))
    )
    if "ground_truth" in fields or len(fields) == 1:
        return "ground_truth" if "ground_truth" in fields else next(iter(fields))
    raise LabelError(
        f"{path}: which field holds the labels? those with labels are {listed(list(fields))}; export one "
        "alone, or call it ground_truth"
    )
