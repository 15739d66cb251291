"""Shared by the readers of records: the image and the tags of an entry, in the ways tools write them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from toolkit.errors import LabelError
from toolkit.labels.raw import TAG_COLUMNS, RowCollector, split_tags
from toolkit.labels.readers._json import IMAGE_KEYS
from toolkit.runtime.messages import listed, quoted

TAG_KEYS = (*TAG_COLUMNS, "annotations", "annotation", "classificationannotations", "choices", "objects")
"""Names of the field of an image's tags, in lower case; the first that an entry has is used."""

_NAME_KEYS = ("label", "name", "category", "class", "tag", "class_name", "displayname", "title", "choices")
_LISTS = ("labels", "categories", "classes", "tags", "names")


def key_among(keys: Iterable[str], names: Sequence[str]) -> str | None:
    """Return the key that is the first of `names`, capitals ignored, or None."""
    there = {key.strip().casefold(): key for key in keys}
    return next((there[name] for name in names if name in there), None)


def image_of(value: Any, place: str) -> str:
    """Return the path of an image: a text, or the ``path`` of an object, as Hugging Face writes it."""
    if isinstance(value, Mapping):
        value = value.get("path")
    if not isinstance(value, str) or not value.strip():
        raise LabelError(f"{place}: the image is {_shown(value)}; a path is needed")
    return local_path(value)


def local_path(image: str) -> str:
    """Return the path within Label Studio's ``/data/local-files/?d=images/1.jpg``, else `image`."""
    _, mark, path = image.partition("?d=")
    return unquote(path) if mark else image


def tags_of(value: Any, separator: str, place: str, classes: Sequence[str] = ()) -> list[str]:
    """Return the tags that a value stands for.

    They are a text with separators; a list of texts or of objects with a name; an object of lists, as Hugging
    Face's ``objects``; an object of tags with true and false; or numbers of `classes`. `LabelError` for
    anything else.
    """
    if value is None:
        return []
    if isinstance(value, str):
        return split_tags(value, separator)
    if isinstance(value, Mapping):
        return _of_object(value, place, classes)
    if isinstance(value, Sequence):
        return [tag for each in value for tag in _of_item(each, place, classes)]
    return _of_item(value, place, classes)


def _of_object(value: Mapping[str, Any], place: str, classes: Sequence[str]) -> list[str]:
    key = key_among(value, (*_NAME_KEYS, *_LISTS))
    if key is None and value and all(map(_is_bit, value.values())):
        return [tag.strip() for tag, has in value.items() if has]
    if key is None:
        raise LabelError(
            f"{place}: the tags are an object with {listed(list(value), 4)}; one of "
            f"{', '.join(_NAME_KEYS)} is needed"
        )
    inner = value[key]
    return [
        tag
        for each in (inner if isinstance(inner, list) else [inner])
        for tag in _of_item(each, place, classes)
    ]


def _of_item(value: Any, place: str, classes: Sequence[str]) -> list[str]:
    """Return the tag of one item of a list; a text is one tag, whatever characters it has."""
    if isinstance(value, str):
        return [value.strip()] if value.strip() else []
    if isinstance(value, Mapping):
        return _of_object(value, place, classes)
    number = int(value) if isinstance(value, int | float) and value == int(value) else -1
    if isinstance(value, bool) or not 0 <= number < len(classes):
        raise LabelError(
            f"{place}: a tag is {_shown(value)}; numbers of classes need their names: write the names as tags"
        )
    return [classes[number]]


def _is_bit(value: Any) -> bool:
    return isinstance(value, int | float) and value in (0, 1)


def _shown(value: Any) -> str:
    return quoted(value) if isinstance(value, str) else quoted(str(value))


def collect(
    entries: Iterable[tuple[object, Mapping[str, Any]]],
    keys: Sequence[str],
    *,
    separator: str,
    source: str,
    unit: str,
    classes: Sequence[str] = (),
) -> RowCollector:
    """Collect entries (place, fields): an image and its tags, or an image and one field of 0 or 1 a tag."""
    image = key_among(keys, IMAGE_KEYS)
    if image is None:
        raise LabelError(
            f"{source} has no image field: fields found are {listed(keys)}; name it one of "
            f"{', '.join(IMAGE_KEYS)}"
        )
    tags = key_among((key for key in keys if key != image), TAG_KEYS)
    others = [key for key in keys if key != image]
    labels = RowCollector()
    if tags is None:
        labels.declare(key.strip() for key in others)
    for number, fields in entries:
        place = f"{source} {unit} {number}"
        name = image_of(fields.get(image), place)
        if tags is None:
            labels.add(name, _of_bits(fields, others, place), number)
        else:
            labels.add(name, tags_of(fields.get(tags), separator, place, classes), number)
    return labels


def _of_bits(fields: Mapping[str, Any], keys: Sequence[str], place: str) -> list[str]:
    found = []
    for key in keys:
        value = fields.get(key)
        if not _is_bit(value):
            raise LabelError(
                f"{place} has no field of tags, and {quoted(key)} is {_shown(value)}, neither 0 nor 1; "
                f"name the field of the tags one of {', '.join(TAG_COLUMNS)}"
            )
        if value:
            found.append(key.strip())
    return found
