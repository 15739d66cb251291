"""Label Studio's json, in full or its short form (JSON-MIN)."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from toolkit.errors import LabelError
from toolkit.labels.ends import stem
from toolkit.labels.raw import TAG_COLUMNS, RawLabels, ReaderOptions, RowCollector
from toolkit.labels.readers._entries import image_of, key_among
from toolkit.labels.readers._json import IMAGE_KEYS, decode_json
from toolkit.runtime.messages import counted, listed

_WANTED = "export JSON or JSON-MIN from Label Studio"
_ABOUT = frozenset(
    ("id", "annotator", "annotation_id", "created_at", "updated_at", "lead_time", "completed_by", "agreement")
)
"""Fields of the short form about the task or the annotation, not of either."""


def read(path: Path, options: ReaderOptions) -> RawLabels:
    """Read Label Studio's choices, and the labels of its boxes, polygons and the like, as tags.

    Several annotations of a task are joined; cancelled ones and predictions are passed over. A task without
    an annotation is not labelled. `LabelError` if it is another json, or the image of a task is not known.
    """
    tasks = decode_json(
        path, list[dict[str, Any]], options.encoding, what="Label Studio json", wanted=_WANTED
    )
    labels = RowCollector()
    skipped = several = 0
    for number, task in enumerate(tasks, start=1):
        place = f"{path} task {number}"
        full = isinstance(task.get("data"), dict)
        found = _annotations(task, place) if full else [_short_tags(task, place)]
        several += len(found) > 1
        if found:
            image = _image(task["data"] if full else task, place)
            labels.add(image, dict.fromkeys(tag for tags in found for tag in tags), number)
        else:
            skipped += 1
    notes = []
    if skipped:
        notes.append(f"{counted(skipped, 'task')} without an annotation, left unlabelled")
    if several:
        notes.append(f"{counted(several, 'task')} with several annotations, joined")
    return labels.finish(path.parent, unit="task", notes=tuple(notes))


def _image(data: Mapping[str, Any], place: str) -> str:
    """Return the path in the field of a usual name, else in the only one that ends as a picture does."""
    texts = {key: value for key, value in data.items() if isinstance(value, str)}
    key = key_among(texts, tuple(name for name in IMAGE_KEYS if name not in ("id", "name")))
    if key is None:
        pictures = [name for name, value in texts.items() if stem(value) != value.casefold()]
        if len(pictures) != 1:
            raise LabelError(
                f"{place}: which field is the image? fields found are {listed(list(data), 6)}; name it image"
            )
        key = pictures[0]
    return image_of(data[key], place)


def _annotations(task: Mapping[str, Any], place: str) -> list[list[str]]:
    """Return the tags of each annotation of a task."""
    annotations = task.get("annotations", task.get("completions"))
    found = []
    for annotation in _objects(annotations, place):
        if not annotation.get("was_cancelled"):
            results = _objects(annotation.get("result"), place)
            values = [result["value"] for result in results if isinstance(result.get("value"), dict)]
            found.append([tag for value in values for tag in _of_value(value)])
    return found


def _objects(value: Any, place: str) -> list[dict[str, Any]]:
    if not isinstance(value or [], list) or not all(isinstance(each, dict) for each in value or []):
        raise LabelError(f"{place}: annotations and their results are lists of objects; {_WANTED}")
    return value or []


def _of_value(value: Mapping[str, Any]) -> Iterator[str]:
    """Yield the labels of a result: ``choices``, ``rectanglelabels``, ... ; of a taxonomy the last level."""
    for key, names in value.items():
        if (key in ("choices", "taxonomy") or key.endswith("labels")) and isinstance(names, list):
            for name in names:
                last = name[-1] if isinstance(name, list) and name else name
                if isinstance(last, str) and last.strip():
                    yield last.strip()


def _short_tags(task: Mapping[str, Any], place: str) -> list[str]:
    """Return the tags of a task in the short form: its fields are the task's own and those of its labels."""
    tags: list[str] = []
    known = False
    for key, value in task.items():
        if key in _ABOUT:
            continue
        if isinstance(value, dict):
            known = known or "choices" in value or "taxonomy" in value
            tags += _of_value(value)
        elif isinstance(value, list) and all(isinstance(each, dict) for each in value):
            known = True
            tags += (tag for each in value for tag in _of_value(each))
        elif isinstance(value, str) and key.casefold() in (*TAG_COLUMNS, "choice", "choices"):
            known = True
            tags.append(value.strip())
    if not known:
        raise LabelError(
            f"{place} has no choices or labels: fields found are {listed(list(task), 8)}; {_WANTED}, or name "
            "the field of the choice 'choice'"
        )
    return list(filter(None, tags))
