"""Options of reading labels."""

from dataclasses import field
from typing import Annotated

from toolkit.labels.registry import format_names
from toolkit.runtime.options import Option, Options, PathLike


class TagListOption(Options):
    """The list of tags that are allowed."""

    tags: Annotated[PathLike | None, Option("Tag list, one a line: no other tag is allowed.")] = None


class LabelOptions(TagListOption):
    """How a label file is read."""

    format: Annotated[
        str, Option("Of the label file; auto detects it by suffix and content.", choices=format_names)
    ] = "auto"
    separator: Annotated[str, Option("Between tags in a cell: , | ; space tab.")] = ","
    encoding: Annotated[str, Option("Of the label file, e.g. gb18030.")] = "utf-8"
    ignore_unknown_tags: Annotated[bool, Option("Drop tags that are not in --tags instead of stopping.")] = (
        False
    )
    xml_image: Annotated[
        str,
        Option(
            "Where a Pascal VOC xml and its <filename> name two images: file takes the image of the xml's "
            "own name, filename the other; auto stops.",
            choices=lambda: ("auto", "file", "filename"),
        ),
    ] = "auto"


class ReadLabelsOptions(LabelOptions):
    """Options of `read_labels`."""

    path: Annotated[
        PathLike, Option("A csv, .npz, COCO json, or a folder (sidecar texts, class folders, VOC xml).")
    ] = field(kw_only=False)
