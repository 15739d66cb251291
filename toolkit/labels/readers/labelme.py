"""A folder of LabelMe annotations, one ``.json`` an image."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from toolkit.errors import LabelError
from toolkit.labels.raw import RawLabels, ReaderOptions, RowCollector
from toolkit.labels.readers._about import ImageNames
from toolkit.labels.readers._files import files_of
from toolkit.labels.readers._json import decode_json

_WANTED = "give a folder of LabelMe's json files"


class _Shape(msgspec.Struct):
    label: str


class _Annotation(msgspec.Struct):
    shapes: list[_Shape]
    imagePath: str = ""
    flags: dict[str, Any] | None = None


def read(path: Path, options: ReaderOptions) -> RawLabels:
    """Read the labels of LabelMe's shapes, and flags that are true, as the tags of the image ``imagePath``.

    Where no image of the folder has that name, it is the image of the json's own name. `LabelError` if `path`
    has no ``.json``, one is not LabelMe's, or json and ``imagePath`` name two images of the set.
    """
    names = files_of(path, "labelme")
    images = ImageNames(names, ".json", options.xml_image)
    labels = RowCollector()
    for name in names:
        if name.lower().endswith(".json"):
            found = decode_json(
                path / name, _Annotation, options.encoding, what="LabelMe json", wanted=_WANTED
            )
            tags = [shape.label.strip() for shape in found.shapes]
            tags += [flag.strip() for flag, value in (found.flags or {}).items() if value is True]
            labels.add(images.image_of(name, found.imagePath.strip()), filter(None, tags), name)
    if not labels.ids:
        raise LabelError(f"{path} has no .json files; the label format 'labelme' needs one an image")
    return replace(labels.finish(path, unit="file"), notes=images.notes(path))
