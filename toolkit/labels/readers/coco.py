"""COCO instances json, and LVIS's: images, categories, and annotations of images with categories."""

from collections import Counter
from pathlib import Path

import msgspec

from toolkit.errors import LabelError
from toolkit.labels.raw import RawLabels, ReaderOptions, RowCollector
from toolkit.labels.readers._json import decode_json
from toolkit.runtime.messages import counted, quoted

Id = int | float | str  # 1.0, as pandas writes it where an id is missing, equals 1
_WANTED = "give one with images, annotations and categories, such as instances_val2017.json"


class _Image(msgspec.Struct, gc=False):
    id: Id
    file_name: str = ""
    coco_url: str = ""  # LVIS has no file_name


class _Category(msgspec.Struct, gc=False):
    id: Id
    name: str


class _Annotation(msgspec.Struct, gc=False):
    image_id: Id
    category_id: Id


class _Instances(msgspec.Struct):
    images: list[_Image]
    annotations: list[_Annotation]
    categories: list[_Category]


def read(path: Path, options: ReaderOptions) -> RawLabels:
    """Read the categories annotated in each image, named by ``file_name`` or LVIS's ``coco_url``.

    An image without annotations has no tags. Every category is a tag, used or not. ``iscrowd`` is ignored.
    Annotations of images or categories that are not listed are left out and counted. `LabelError` if the
    json is not COCO's, an id is there twice, an image has no name, or no annotation is of a listed image.
    """
    document = decode_json(path, _Instances, options.encoding, what="COCO instances json", wanted=_WANTED)
    categories: dict[Id, str] = {}
    for category in document.categories:
        name = category.name.strip()
        if not name:
            raise LabelError(f"{path}: category {_id(category.id)} has a blank name; name it")
        if categories.setdefault(category.id, name) != name:
            raise LabelError(f"{path}: two categories have the id {_id(category.id)}; ids must differ")
    tags, notes = _tags_by_image(document, categories, path)
    labels = RowCollector()
    labels.declare(categories.values())
    for number, image in enumerate(document.images, start=1):
        labels.add(_name(image, path), tags[image.id], number)
    return labels.finish(path.parent, unit="image entry", notes=notes)


def _name(image: _Image, path: Path) -> str:
    name = image.file_name or image.coco_url.rstrip("/").rpartition("/")[2]
    if not name:
        raise LabelError(
            f"{path}: image {_id(image.id)} has neither file_name nor coco_url; add its file_name"
        )
    return name


def _tags_by_image(
    document: _Instances, categories: dict[Id, str], path: Path
) -> tuple[dict[Id, list[str]], tuple[str, ...]]:
    """Return the categories of each image, and a note that counts annotations of others."""
    tags: dict[Id, list[str]] = {}
    for entry in document.images:
        if entry.id in tags:
            raise LabelError(f"{path}: two images have the id {_id(entry.id)}; ids must differ")
        tags[entry.id] = []
    stray: Counter[str] = Counter()
    for annotation in document.annotations:
        image, category = annotation.image_id, annotation.category_id
        if image not in tags:
            stray["images"] += 1
        elif category not in categories:
            stray["categories"] += 1
        else:
            tags[image].append(categories[category])
    if stray and stray.total() == len(document.annotations):
        first = document.annotations[0]
        raise LabelError(
            f"{path}: no annotation is of an image and a category that are listed (the first is of image "
            f"{_id(first.image_id)} and category {_id(first.category_id)}); give a json "
            "whose annotations are of its own images"
        )
    notes = [
        f"{counted(number, 'annotation')} of {what} that are not listed, left out"
        for what, number in stray.items()
    ]
    return tags, tuple(notes)


def _id(value: Id) -> str:
    return quoted(value) if isinstance(value, str) else str(value)
