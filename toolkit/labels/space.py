"""The tags and their columns: one ordered list, read from and written to a file with one tag a line."""

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Self

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from toolkit.errors import LabelError
from toolkit.files.text import decode_text, need_column, read_bytes, read_csv, split_lines
from toolkit.runtime.messages import counted

Columns = NDArray[np.intp]

_TAG_LIST_COLUMNS = ("name", "tag", "label")  # wd-tagger's selected_tags.csv has tag_id,name,category,count


def nfc(text: str) -> str:
    """Return `text` in Unicode's composed form, so that both ways to write an é compare equal."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


@dataclass(frozen=True)
class LabelSpace:
    """Ordered tag names and the columns of Y (N, L) they stand for.

    Tags are kept exactly as given and compared in Unicode NFC: composed and decomposed spellings are one tag,
    full-width and half-width forms are two.

    Attributes
    ----------
    tags : tuple of str
        Column j is ``tags[j]``. Unique and not blank, or `LabelError` is raised.
    index : dict of str to int
        The column of every tag, keyed as in `tags`.
    """

    tags: tuple[str, ...]
    index: dict[str, int] = field(init=False, repr=False, compare=False)
    _composed: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        tags = tuple(self.tags)
        composed: dict[str, int] = {}
        for column, tag in enumerate(tags):
            if not tag.strip():
                raise LabelError(f"tag {column + 1} of {len(tags)} is blank; drop it")
            first = composed.setdefault(nfc(tag), column)
            if first != column:
                raise LabelError(
                    f"tag {tag!r} is given twice, as number {first + 1} and {column + 1}; drop one"
                )
        object.__setattr__(self, "tags", tags)
        object.__setattr__(self, "index", {tag: column for column, tag in enumerate(tags)})
        object.__setattr__(self, "_composed", composed)

    def __len__(self) -> int:
        return len(self.tags)

    def column(self, tag: str) -> int | None:
        """Return the column of `tag` whichever way it composes its characters, or None if it is unknown."""
        column = self.index.get(tag)
        return self._composed.get(nfc(tag)) if column is None else column

    def columns(self, tags: Iterable[str]) -> Columns:
        """Return the column of each of `tags` (K,) intp, -1 for one that is unknown."""
        columns = (self.column(tag) for tag in tags)
        return np.array([-1 if column is None else column for column in columns], dtype=np.intp)

    def encode(self, rows: Iterable[Iterable[str]]) -> sp.csr_array:
        """Return the boolean CSR array (N, L) of N rows of tags; a tag repeated in a row counts once.

        Raises
        ------
        LabelError
            A tag is not in the space.
        """
        columns: list[int] = []
        ends = [0]
        for row in rows:
            columns.extend(self._columns(row, len(ends) - 1))
            ends.append(len(columns))
        return boolean_csr(columns, ends, len(self))

    def _columns(self, row: Iterable[str], number: int) -> list[int]:
        tags = list(row)
        try:
            return [self.index[tag] for tag in tags]
        except KeyError:
            columns = [self.column(tag) for tag in tags]
        if None in columns:
            unknown = tags[columns.index(None)]
            raise LabelError(
                f"tag {unknown!r} of row {number} is not among the {counted(len(self), 'tag')}; "
                "add it to the tag list or drop it"
            )
        return [column for column in columns if column is not None]

    def decode(self, Y: sp.csr_array) -> list[list[str]]:
        """Return the tags of each row of Y (N, L), in column order; `LabelError` if Y has other columns."""
        if Y.ndim != 2 or Y.shape[1] != len(self):
            raise LabelError(
                f"Y has shape {Y.shape}, the tag list {counted(len(self), 'tag')}; they must be the same "
                "columns"
            )
        clean = sp.csr_array(Y, copy=True).astype(bool)
        clean.sum_duplicates()  # sorts the columns too
        clean.eliminate_zeros()
        flat = np.array(self.tags, dtype=object)[clean.indices].tolist()
        return [flat[start:stop] for start, stop in pairwise(clean.indptr.tolist())]

    @classmethod
    def read(cls, path: Path, *, encoding: str = "utf-8") -> Self:
        """Read one tag a line, or the column ``name`` of a csv such as wd-tagger's ``selected_tags.csv``.

        The list is UTF-8 with or without a byte order mark or, where it is not, in `encoding`: a tag list
        often comes from elsewhere than the labels that option is given for. Lines are stripped, blank ones
        at the end ignored.

        Raises
        ------
        LabelError
            A blank line or cell before the last tag, a tag given twice (both with line numbers), no tag at
            all, or a file that cannot be read or decoded.
        """
        lines = _csv_lines(path, encoding) if path.suffix.lower() == ".csv" else _text_lines(path, encoding)
        while lines and not lines[-1][1]:
            lines.pop()
        if not lines:
            raise LabelError(f"{path} holds no tags; write one a line")
        seen: dict[str, int] = {}
        for number, tag in lines:
            if not tag:
                raise LabelError(
                    f"{path} line {number} is blank; a tag list has one tag a line: remove the line"
                )
            first = seen.setdefault(nfc(tag), number)
            if first != number:
                raise LabelError(f"{path} line {number}: tag {tag!r} is on line {first} already; remove one")
        return cls(tuple(tag for _, tag in lines))

    def write(self, path: Path) -> None:
        """Write one tag a line in UTF-8; `LabelError` if a tag would not come back from `read` as it is."""
        for tag in self.tags:
            if tag != tag.strip() or split_lines(tag) != [tag]:
                raise LabelError(
                    f"tag {tag!r} cannot stand on a line of its own in {path}: "
                    "it has a line break or outer blanks; rename it"
                )
        path.write_text("".join(f"{tag}\n" for tag in self.tags), encoding="utf-8", newline="\n")


def boolean_csr(columns: Sequence[int], ends: Sequence[int], width: int) -> sp.csr_array:
    """Return the boolean CSR (N, width) whose row i has ones at ``columns[ends[i]:ends[i + 1]]``."""
    return _canonical(np.ones(len(columns), dtype=bool), np.asarray(columns), np.asarray(ends), width)


def map_columns(Y: sp.csr_array, target: Columns, width: int) -> sp.csr_array:
    """Return Y (N, K) with column k moved to ``target[k]``, dropped where that is -1, as (N, width)."""
    moved = target[Y.indices]
    held = moved >= 0
    return _canonical(Y.data[held], moved[held], np.concatenate(([0], np.cumsum(held)))[Y.indptr], width)


def _canonical(
    data: NDArray[np.bool_], columns: NDArray[np.integer], ends: NDArray[np.integer], width: int
) -> sp.csr_array:
    """Return a CSR of sorted, unique columns, with 32-bit indices if they suffice (liblinear needs those)."""
    kind = np.int32 if max(len(data), width) < np.iinfo(np.int32).max else np.int64
    Y = sp.csr_array((data, columns.astype(kind), ends.astype(kind)), shape=(len(ends) - 1, width))
    Y.sum_duplicates()
    return Y


def _text_lines(path: Path, encoding: str) -> list[tuple[int, str]]:
    data = read_bytes(path, error=LabelError)
    text = decode_text(data, name=path, error=LabelError, encoding=_utf8_or(encoding, data))
    return [(number, line.strip()) for number, line in enumerate(split_lines(text), start=1)]


def _csv_lines(path: Path, encoding: str) -> list[tuple[int, str]]:
    data = read_bytes(path, error=LabelError)
    rows = read_csv(path, error=LabelError, encoding=_utf8_or(encoding, data))
    _, header = next(rows)
    column = need_column(header, _TAG_LIST_COLUMNS, what="tag", path=path, error=LabelError)
    return [(line, cells[column].strip()) for line, cells in rows]


def _utf8_or(encoding: str, data: bytes) -> str:
    """Return ``utf-8`` if `data` is UTF-8 text, which no text in another encoding is by chance."""
    if b"\0" in data:
        return encoding
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return encoding
    return "utf-8"
