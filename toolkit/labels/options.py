"""Options of reading labels."""

from collections.abc import Sequence
from dataclasses import field
from typing import Annotated, Literal

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
    separator: Annotated[str, Option("Between tags in a cell: , | ; space tab newline, or another mark.")] = (
        ","
    )
    encoding: Annotated[str, Option("Of the label file, e.g. gb18030.")] = "utf-8"
    ignore_unknown_tags: Annotated[bool, Option("Drop tags that are not in --tags instead of stopping.")] = (
        False
    )
    image_column: Annotated[str | None, Option("Column of a csv that names the image.", metavar="NAME")] = (
        None
    )
    tag_column: Annotated[
        str | Sequence[str] | None,
        Option(
            "Column of a csv that holds tags, or is one (0 and 1). Repeat it for several.", metavar="NAME"
        ),
    ] = None
    blank: Annotated[
        Literal["refuse", "absent", "present"], Option("What an empty cell of a 0/1 column means.")
    ] = "refuse"
    uncertain: Annotated[
        Literal["refuse", "absent", "present"], Option("What a -1 of a 0/1 column means.")
    ] = "refuse"
    repeats: Annotated[
        Literal["auto", "union", "refuse"],
        Option(
            "Several rows for one image with different tags: all of them, or an error; auto sees the form."
        ),
    ] = "auto"
    fold_tags: Annotated[
        bool,
        Option("Join tags that differ in capitals, width or blanks alone, as the most frequent is written."),
    ] = False
    xml_image: Annotated[
        Literal["auto", "file", "filename"],
        Option(
            "Where a Pascal VOC xml and its <filename> name two images: file takes the image of the xml's "
            "own name, filename the other; auto stops."
        ),
    ] = "auto"

    @property
    def tag_columns(self) -> tuple[str, ...]:
        """The columns asked for; empty if none is named."""
        return (self.tag_column,) if isinstance(self.tag_column, str) else tuple(self.tag_column or ())


class ReadLabelsOptions(LabelOptions):
    """Options of `read_labels`."""

    path: Annotated[
        PathLike, Option("A csv, .npz, COCO json, or a folder (sidecar texts, class folders, VOC xml).")
    ] = field(kw_only=False)
