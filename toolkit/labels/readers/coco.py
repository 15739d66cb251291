"""COCO instances json: images, categories, and annotations of images with categories."""

from pathlib import Path

from pydantic import BaseModel, ValidationError

from toolkit.errors import LabelError
from toolkit.files.text import read_text
from toolkit.labels.raw import RawLabels, ReaderOptions, RowCollector

Id = int | str


class _Image(BaseModel):
    id: Id
    file_name: str


class _Category(BaseModel):
    id: Id
    name: str


class _Annotation(BaseModel):
    image_id: Id
    category_id: Id


class _Instances(BaseModel):
    images: list[_Image]
    annotations: list[_Annotation]
    categories: list[_Category]


def read(path: Path, options: ReaderOptions) -> RawLabels:
    """Read the categories annotated in each image; an image without annotations has no tags.

    Every category is a tag, used or not. ``iscrowd`` is ignored. `LabelError` if the json is not COCO's, an
    id is there twice, or an annotation names an unknown image or category.
    """
    text = read_text(path, error=LabelError, encoding=options.encoding)
    try:
        document = _Instances.model_validate_json(text)
    except ValidationError as reason:
        problem = reason.errors(include_url=False, include_input=False)[0]
        text = ": ".join(filter(None, (".".join(map(str, problem["loc"])), problem["msg"])))
        raise LabelError(f"{path} is not COCO instances json: {text}") from reason
    categories: dict[Id, str] = {}
    for category in document.categories:
        name = category.name.strip()
        if not name:
            raise LabelError(f"{path}: category {category.id!r} has a blank name; name it")
        if categories.setdefault(category.id, name) != name:
            raise LabelError(f"{path}: two categories have the id {category.id!r}; ids must differ")
    tags = _tags_by_image(document, categories, path)
    labels = RowCollector()
    labels.declare(categories.values())
    for number, image in enumerate(document.images, start=1):
        labels.add(image.file_name, tags[image.id], number)
    return labels.finish(path.parent, unit="image entry")


def _tags_by_image(document: _Instances, categories: dict[Id, str], path: Path) -> dict[Id, list[str]]:
    tags: dict[Id, list[str]] = {}
    for entry in document.images:
        if entry.id in tags:
            raise LabelError(f"{path}: two images have the id {entry.id!r}; ids must differ")
        tags[entry.id] = []
    for number, annotation in enumerate(document.annotations, start=1):
        image, category = annotation.image_id, annotation.category_id
        if image not in tags or category not in categories:
            unknown = f"category {category!r}" if image in tags else f"image {image!r}"
            raise LabelError(f"{path}: annotation {number} names {unknown}, which is not listed")
        tags[image].append(categories[category])
    return tags
