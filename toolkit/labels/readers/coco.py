"""COCO instances json: images, categories, and annotations that tie them."""

from pathlib import Path

from pydantic import BaseModel, ValidationError

from toolkit.errors import LabelError
from toolkit.files.text import read_text
from toolkit.labels.raw import RawLabels, ReaderOptions, RowCollector

Key = int | str


class _Image(BaseModel):
    id: Key
    file_name: str


class _Category(BaseModel):
    id: Key
    name: str


class _Annotation(BaseModel):
    image_id: Key
    category_id: Key


class _Instances(BaseModel):
    images: list[_Image]
    annotations: list[_Annotation]
    categories: list[_Category]


def read(path: Path, options: ReaderOptions) -> RawLabels:
    """Read the names of the categories annotated in each image; images without annotations have no tags.

    Every category is a tag, used or not. ``iscrowd`` makes no difference.

    Raises
    ------
    LabelError
        The json is not COCO's, an id is given twice, or an annotation names an unknown image or category.
    """
    text = read_text(path, error=LabelError, encoding=options.encoding)
    try:
        document = _Instances.model_validate_json(text)
    except ValidationError as reason:
        raise LabelError(f"{path} is not COCO instances json: {_first(reason)}") from reason
    categories: dict[Key, str] = {}
    for category in document.categories:
        if not category.name.strip():
            raise LabelError(f"{path}: category {category.id!r} has a blank name; name it")
        if categories.setdefault(category.id, category.name.strip()) != category.name.strip():
            raise LabelError(f"{path}: two categories have the id {category.id!r}; ids must differ")
    tags = _tags_by_image(document, categories, path)
    found = RowCollector()
    found.declare(categories.values())
    for number, image in enumerate(document.images, start=1):
        found.add(image.file_name, tags[image.id], number)
    return found.finish(path.parent, unit="image entry")


def _tags_by_image(document: _Instances, categories: dict[Key, str], path: Path) -> dict[Key, list[str]]:
    tags: dict[Key, list[str]] = {}
    for image in document.images:
        if image.id in tags:
            raise LabelError(f"{path}: two images have the id {image.id!r}; ids must differ")
        tags[image.id] = []
    for number, annotation in enumerate(document.annotations, start=1):
        if annotation.image_id not in tags:
            raise LabelError(
                f"{path}: annotation {number} names image {annotation.image_id!r}, which is not listed"
            )
        if annotation.category_id not in categories:
            raise LabelError(
                f"{path}: annotation {number} names category {annotation.category_id!r}, which is not listed"
            )
        tags[annotation.image_id].append(categories[annotation.category_id])
    return tags


def _first(reason: ValidationError) -> str:
    """Return the first of pydantic's complaints on one line."""
    problem = reason.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in problem["loc"])
    return f"{place}: {problem['msg']}" if place else problem["msg"]
