"""What a reader is given and what it hands back, before repeated rows are merged and tags put in order."""

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import scipy.sparse as sp

from toolkit.errors import OptionError
from toolkit.labels.space import LabelSpace, boolean_csr

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
)
"""Names of the column that holds the tags of an image; the first one a header has is taken."""

_SEPARATORS = {",": ",", "|": "|", ";": ";", " ": " ", "space": " ", "\t": "\t", "\\t": "\t", "tab": "\t"}


@dataclass(frozen=True)
class ReaderOptions:
    """What the user said about a label file.

    Attributes
    ----------
    separator : str
        What stands between two tags: ``,`` ``|`` ``;`` a space or a tab (see `parse_separator`).
    encoding : str
        The encoding of text files.
    tags : LabelSpace or None
        The user's tag list.
    tags_path : Path or None
        The file it came from.
    ignore_unknown_tags : bool
        Drop tags that are not in `tags`, instead of stopping at the first.
    """

    separator: str = ","
    encoding: str = "utf-8"
    tags: LabelSpace | None = None
    tags_path: Path | None = None
    ignore_unknown_tags: bool = False

    @property
    def tags_name(self) -> str:
        """What to call the tag list in a message."""
        return str(self.tags_path or "the tag list")


@dataclass(frozen=True, eq=False)
class RawLabels:
    """Labels as a file has them.

    Attributes
    ----------
    ids : sequence of str, length R
        One image a row, as written; repeats are allowed.
    tags : sequence of str, length K
        The tags that were met or declared, as written.
    Y : csr_array (R, K) bool
        Canonical (columns sorted, none twice); column k is ``tags[k]``.
    root : Path
        The folder the ids are relative to.
    places : sequence, length R
        Where each row came from, for messages.
    unit : str
        What `places` count: ``line``, ``entry``, ``file``.
    ordered : bool
        The file has a tag list of its own whose order is the order of columns (the contest's ``.npz``).
    notes : tuple of str
        What else the user should know.
    """

    ids: Sequence[str]
    tags: Sequence[str]
    Y: sp.csr_array
    root: Path
    places: Sequence[object]
    unit: str = "line"
    ordered: bool = False
    notes: tuple[str, ...] = ()

    def place(self, row: int) -> str:
        """Return where `row` came from, such as ``line 12``."""
        return f"{self.unit} {self.places[row]}"


@dataclass
class RowCollector:
    """Gathers rows of tags into a `RawLabels` without keeping a string for every tag of every row."""

    ids: list[str] = field(default_factory=list)
    places: list[object] = field(default_factory=list)
    _columns: dict[str, int] = field(default_factory=dict)
    _indices: "array[int]" = field(default_factory=lambda: array("q"))
    _ends: "array[int]" = field(default_factory=lambda: array("q", [0]))

    def declare(self, tags: Iterable[str]) -> None:
        """Make columns for `tags`, whether an image has them or not."""
        for tag in tags:
            self._columns.setdefault(tag, len(self._columns))

    def add(self, image: str, tags: Iterable[str], place: object) -> None:
        """Append one row."""
        columns = self._columns
        self._indices.extend([columns.setdefault(tag, len(columns)) for tag in tags])
        self._ends.append(len(self._indices))
        self.ids.append(image)
        self.places.append(place)

    def finish(self, root: Path, *, unit: str = "line", notes: tuple[str, ...] = ()) -> RawLabels:
        """Return everything added so far."""
        Y = boolean_csr(self._indices, self._ends, len(self._columns))
        return RawLabels(
            ids=self.ids, tags=list(self._columns), Y=Y, root=root, places=self.places, unit=unit, notes=notes
        )


def parse_separator(text: str, *, option: str = "--separator") -> str:
    """Return the character `text` stands for; `OptionError` if it is no separator of tags."""
    if text not in _SEPARATORS:
        raise OptionError(f"{option} got {text!r}; allowed are , | ; space tab")
    return _SEPARATORS[text]


def split_tags(text: str, separator: str) -> list[str]:
    """Return the stripped, non-empty pieces of `text`."""
    return [tag for tag in map(str.strip, text.split(separator)) if tag]
