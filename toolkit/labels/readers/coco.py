"""COCO instances json: images, categories, and annotations of images with categories."""

import codecs
from pathlib import Path

import msgspec

from toolkit.errors import LabelError
from toolkit.files.text import codec_name, decode_text, quoted, read_bytes, refuse_binary, shortened
from toolkit.labels.raw import RawLabels, ReaderOptions, RowCollector

Id = int | float | str  # 1.0, as pandas writes it where an id is missing, equals 1

MOST_BYTES = 2 << 30
"""Most bytes of a json: COCO's own largest has 0.5 GB, LVIS's 1.2 GB."""
_WANTED = "give one with images, annotations and categories, such as instances_val2017.json"


class _Image(msgspec.Struct, gc=False):
    id: Id
    file_name: str


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
    """Read the categories annotated in each image; an image without annotations has no tags.

    Every category is a tag, used or not. ``iscrowd`` is ignored. `LabelError` if the json is not COCO's, an
    id is there twice, or an annotation names an unknown image or category.
    """
    document = _decode(path, options.encoding)
    categories: dict[Id, str] = {}
    for category in document.categories:
        name = category.name.strip()
        if not name:
            raise LabelError(f"{path}: category {_id(category.id)} has a blank name; name it")
        if categories.setdefault(category.id, name) != name:
            raise LabelError(f"{path}: two categories have the id {_id(category.id)}; ids must differ")
    tags = _tags_by_image(document, categories, path)
    labels = RowCollector()
    labels.declare(categories.values())
    for number, image in enumerate(document.images, start=1):
        labels.add(image.file_name, tags[image.id], number)
    return labels.finish(path.parent, unit="image entry")


def _decode(path: Path, encoding: str) -> _Instances:
    """Return the fields above; what else the json holds is passed over, which takes no memory."""
    data = read_bytes(path, error=LabelError, most=MOST_BYTES)
    plain = codec_name(encoding) == "utf-8-sig"
    try:
        if not plain:
            text = decode_text(data, name=path, error=LabelError, encoding=encoding)
            return msgspec.json.decode(text, type=_Instances)
        refuse_binary(data, name=path, error=LabelError, codec="utf-8")
        start = len(codecs.BOM_UTF8) if data.startswith(codecs.BOM_UTF8) else 0
        return msgspec.json.decode(memoryview(data)[start:], type=_Instances)
    except RecursionError as reason:
        raise LabelError(f"{path} is not COCO instances json: it is nested too deeply; {_WANTED}") from reason
    except (msgspec.DecodeError, UnicodeDecodeError) as reason:
        if plain:
            decode_text(data, name=path, error=LabelError)  # explains a wrong encoding
        raise LabelError(f"{path} is not COCO instances json: {shortened(reason)}; {_WANTED}") from reason


def _tags_by_image(document: _Instances, categories: dict[Id, str], path: Path) -> dict[Id, list[str]]:
    tags: dict[Id, list[str]] = {}
    for entry in document.images:
        if entry.id in tags:
            raise LabelError(f"{path}: two images have the id {_id(entry.id)}; ids must differ")
        tags[entry.id] = []
    for number, annotation in enumerate(document.annotations, start=1):
        image, category = annotation.image_id, annotation.category_id
        if image not in tags or category not in categories:
            unknown = f"category {_id(category)}" if image in tags else f"image {_id(image)}"
            raise LabelError(f"{path}: annotation {number} names {unknown}, which is not listed")
        tags[image].append(categories[category])
    return tags


def _id(value: Id) -> str:
    return quoted(value) if isinstance(value, str) else str(value)
