"""What a reader of a label format takes and returns."""

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import scipy.sparse as sp

from toolkit.arrays.types import RowNumbers
from toolkit.errors import OptionError
from toolkit.labels.space import LabelSpace, boolean_csr
from toolkit.runtime.messages import named, quoted

TAG_COLUMNS = (
    "tags",
    "tag",
    "labels",
    "label",
    "tag_list",
    "label_list",
    "classes",
    "class",
    "categories",
    "category",
    "keywords",
    "finding_labels",  # NIH ChestX-ray
    "findings",
    "target",  # Human Protein Atlas
    "targets",
    "attribute_ids",  # iMet
    "label_name",  # Open Images
    "label_names",
    "class_name",
    "tag_name",
    "category_name",
    "genre",
    "genres",
    "choice",  # Label Studio
    "choices",
    "keyword",
    "attributes",
    "region_attributes",  # VIA
)
"""Names of the column of an image's tags; the first that is in the header is used."""

_SEPARATORS = {"space": " ", "\\t": "\t", "tab": "\t", "\\n": "\n", "newline": "\n"}
_MOST_SEPARATOR = 3  # characters


@dataclass(frozen=True)
class ReaderOptions:
    """`toolkit.labels.options.LabelOptions` with the separator parsed and the tag list read.

    `blank` and `uncertain` say whether an image has the tag of an empty or a -1 cell; None refuses those.
    """

    separator: str = ","
    encoding: str = "utf-8"
    tags: LabelSpace | None = None
    tags_name: str = "the tag list"  # its path, in messages
    ignore_unknown_tags: bool = False
    image_column: str | None = None
    tag_columns: tuple[str, ...] = ()
    blank: bool | None = None
    uncertain: bool | None = None
    repeats: Literal["auto", "union", "refuse"] = "auto"
    fold_tags: bool = False
    xml_image: str = "auto"


@dataclass(frozen=True, eq=False)
class RawLabels:
    """Labels of a file before repeated rows are merged and tags put in order.

    Attributes
    ----------
    ids : sequence of str, length R
        The image of each row, as written; repeats are allowed.
    tags : sequence of str, length K
        All tags of the file, used or not, as written.
    Y : csr_array (R, K) bool
        Canonical (columns sorted and unique); column k is ``tags[k]``.
    root : Path
        The folder the ids are relative to.
    places, unit : sequence, length R, and str
        Where each row is, for messages: its line or file, and ``line``, ``file``, ...
    ordered : bool
        Whether the table keeps the order of `tags`, as for an ``.npz``.
    notes : tuple of str
        Notes for the user.
    one_line_a_tag : bool
        Whether the tags of an image are those of all its rows.
    parts : sequence of str, length R, or empty
        ``train``, ``val`` or ``test`` for each row, where the labels say it too.
    """

    ids: Sequence[str]
    tags: Sequence[str]
    Y: sp.csr_array
    root: Path
    places: Sequence[object]
    unit: str = "line"
    ordered: bool = False
    notes: tuple[str, ...] = ()
    one_line_a_tag: bool = False
    parts: Sequence[str] = ()

    def place(self, row: int) -> str:
        """Return the place of `row`, such as ``line 12``."""
        return f"{self.unit} {named(self.places[row])}"


@dataclass
class RowCollector:
    """Collects rows of tags for a `RawLabels`; one string is kept of each tag."""

    ids: list[str] = field(default_factory=list)
    places: list[object] = field(default_factory=list)
    _columns: dict[str, int] = field(default_factory=dict)
    _indices: "array[int]" = field(default_factory=lambda: array("q"))
    _ends: "array[int]" = field(default_factory=lambda: array("q", [0]))

    def declare(self, tags: Iterable[str]) -> None:
        """Add columns for `tags`, whether an image has them or not."""
        for tag in tags:
            self._columns.setdefault(tag, len(self._columns))

    def add(self, image: str, tags: Iterable[str], place: object) -> None:
        """Append one row."""
        columns = self._columns
        self._indices.extend([columns.setdefault(tag, len(columns)) for tag in tags])
        self._ends.append(len(self._indices))
        self.ids.append(image)
        self.places.append(place)

    @property
    def sizes(self) -> RowNumbers:
        """Number of tags of each row, repeated ones counted."""
        ends: RowNumbers = np.frombuffer(self._ends, dtype=np.int64)
        return ends[1:] - ends[:-1]

    @property
    def tags(self) -> list[str]:
        """The distinct tags, in the order of their columns."""
        return list(self._columns)

    @property
    def flat(self) -> RowNumbers:
        """The columns of all rows, one after the other."""
        return np.frombuffer(self._indices, dtype=np.int64)

    def finish(self, root: Path, *, unit: str = "line", notes: tuple[str, ...] = ()) -> RawLabels:
        """Return all rows."""
        Y = boolean_csr(self._indices, self._ends, len(self._columns))
        return RawLabels(self.ids, list(self._columns), Y, root, self.places, unit, notes=notes)


def parse_separator(text: str, *, option: str = "--separator") -> str:
    """Return the character that `text` stands for; `OptionError` if it is not a separator of tags."""
    mark = _SEPARATORS.get(text, text)
    if not 0 < len(mark) <= _MOST_SEPARATOR or any(each.isalnum() or each in "'\"\r\0" for each in mark):
        raise OptionError(
            f"{option} got {quoted(text)}; allowed are , | ; space tab newline, or up to {_MOST_SEPARATOR} "
            "other characters that are no letters, digits or quotes"
        )
    return mark


def split_tags(text: str, separator: str) -> list[str]:
    """Return the stripped, non-empty pieces of `text`."""
    return [tag for tag in map(str.strip, text.split(separator)) if tag]
