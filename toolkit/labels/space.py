"""The ordered list of tags, which are the columns of Y."""

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Self

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from toolkit.arrays.types import BoolArray, RowNumbers
from toolkit.errors import LabelError
from toolkit.files.csv import column_mark, need_column, read_csv
from toolkit.files.text import decode_text, read_bytes, split_lines
from toolkit.runtime.messages import counted, quoted

MOST_BYTES = 16 << 20
"""Most bytes of a tag list: a million tags."""

_TAG_LIST_COLUMNS = ("name", "tag", "label")  # wd-tagger's selected_tags.csv has tag_id,name,category,count


def nfc(text: str) -> str:
    """Return `text` in Unicode's composed form, in which both ways to write an é are equal."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def folded(text: str) -> str:
    """Return what tags have in common that differ in capitals, width, Unicode form or blanks alone.

    Examples
    --------
    >>> folded("  Tennis  COURT") == folded("tennis court")
    True
    """
    return " ".join(unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).split())


@dataclass(frozen=True)
class LabelSpace:
    """Ordered tag names: the columns of Y (N, L).

    Tags are kept as written and compared in Unicode NFC: composed and decomposed spellings are one tag,
    full-width and half-width forms are two. `LabelError` if a tag is blank or there twice.

    Examples
    --------
    >>> space = LabelSpace(("sky", "sea"))
    >>> space.encode([["sea"], ["sea", "sky"]]).toarray().astype(int).tolist()
    [[0, 1], [1, 1]]
    >>> space.columns(["sea", "tree"]).tolist()
    [1, -1]
    """

    tags: tuple[str, ...]
    _columns: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        columns: dict[str, int] = {}
        for column, tag in enumerate(self.tags):
            if not tag.strip():
                raise LabelError(f"tag {column + 1} of {len(self)} is blank; drop it")
            first = columns.setdefault(nfc(tag), column)
            if first != column:
                raise LabelError(
                    f"tag {quoted(tag)} is listed twice, as number {first + 1} and {column + 1}; drop one"
                )
        object.__setattr__(self, "_columns", columns)

    def __len__(self) -> int:
        return len(self.tags)

    def column(self, tag: str) -> int | None:
        """Return the column of `tag`, composed or decomposed, or None if it is unknown."""
        return self._columns.get(nfc(tag))

    def columns(self, tags: Iterable[str]) -> RowNumbers:
        """Return the column of each of `tags` (K,), -1 for an unknown one."""
        return np.array([self._columns.get(nfc(tag), -1) for tag in tags], dtype=np.intp)

    def encode(self, rows: Iterable[Iterable[str]]) -> sp.csr_array:
        """Return the boolean CSR array (N, L) of N rows of tags; `LabelError` for a tag not in the space."""
        columns: list[int] = []
        ends = [0]
        for number, row in enumerate(rows):
            for tag in row:
                column = self.column(tag)
                if column is None:
                    raise LabelError(
                        f"tag {quoted(tag)} of row {number} is not among the {counted(len(self), 'tag')}; "
                        "add it to the tag list or drop it"
                    )
                columns.append(column)
            ends.append(len(columns))
        return boolean_csr(columns, ends, len(self))

    def decode(self, Y: sp.csr_array) -> list[list[str]]:
        """Return the tags of each row of Y (N, L), in column order; `LabelError` for another L."""
        if Y.ndim != 2 or Y.shape[1] != len(self):
            raise LabelError(
                f"Y has shape {Y.shape}, the tag list {counted(len(self), 'tag')}; they must be the same "
                "columns"
            )
        clean = sp.csr_array(Y, copy=True).astype(bool)
        clean.sum_duplicates()  # also sorts the columns
        clean.eliminate_zeros()
        flat = np.array(self.tags, dtype=object)[clean.indices].tolist()
        return [flat[start:stop] for start, stop in pairwise(clean.indptr.tolist())]

    @classmethod
    def read(cls, path: Path, *, encoding: str = "utf-8") -> Self:
        """Read one tag a line, or the column ``name`` of a csv such as wd-tagger's ``selected_tags.csv``.

        A list that is not UTF-8 is read in `encoding`, that of the labels, which may have another origin.
        Lines are stripped; blank ones at the end are ignored. `LabelError` for a blank line before the last
        tag, a tag that is there twice, no tag at all, or a file that cannot be read or decoded.
        """
        lines = _tag_lines(path, encoding)
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
                raise LabelError(
                    f"{path} line {number}: tag {quoted(tag)} is on line {first} already; remove one"
                )
        return cls(tuple(tag for _, tag in lines))

    def write(self, path: Path) -> None:
        """Write one tag a line in UTF-8; `LabelError` for a tag that `read` would change."""
        for tag in self.tags:
            if tag != tag.strip() or split_lines(tag) != [tag]:
                raise LabelError(
                    f"tag {quoted(tag)} cannot be a line of {path}: it has a line break or outer blanks; "
                    "rename it"
                )
        path.write_text("".join(f"{tag}\n" for tag in self.tags), encoding="utf-8", newline="\n")


def boolean_csr(
    columns: Sequence[int] | RowNumbers, ends: Sequence[int] | RowNumbers, width: int
) -> sp.csr_array:
    """Return the boolean CSR (N, width) whose row i has ones at ``columns[ends[i]:ends[i + 1]]``."""
    return _canonical(np.ones(len(columns), dtype=bool), np.asarray(columns), np.asarray(ends), width)


def map_columns(Y: sp.csr_array, target: RowNumbers, width: int) -> sp.csr_array:
    """Return Y (N, K) with column k moved to ``target[k]``, or dropped if that is -1, as (N, width)."""
    moved = target[Y.indices]
    kept = moved >= 0
    return _canonical(Y.data[kept], moved[kept], np.concatenate(([0], np.cumsum(kept)))[Y.indptr], width)


def _canonical(
    data: BoolArray, columns: NDArray[np.integer], ends: NDArray[np.integer], width: int
) -> sp.csr_array:
    """Return a CSR of sorted, unique columns, with 32-bit indices if possible: liblinear needs those."""
    kind = np.int32 if max(len(data), width) < np.iinfo(np.int32).max else np.int64
    Y = sp.csr_array((data, columns.astype(kind), ends.astype(kind)), shape=(len(ends) - 1, width))
    Y.sum_duplicates()
    return Y


def _tag_lines(path: Path, encoding: str) -> list[tuple[int, str]]:
    """Return (line, stripped tag) of a tag list, blank lines included."""
    data = read_bytes(path, error=LabelError, most=MOST_BYTES)
    encoding = _utf8_or(encoding, data)
    if path.suffix.lower() != ".csv":
        text = decode_text(data, name=path, error=LabelError, encoding=encoding)
        return [(line, tag.strip()) for line, tag in enumerate(split_lines(text), start=1)]
    mark = column_mark(path, error=LabelError, encoding=encoding, columns=_TAG_LIST_COLUMNS)
    rows = read_csv(path, error=LabelError, encoding=encoding, mark=mark)
    _, header = next(rows)
    column = need_column(header, _TAG_LIST_COLUMNS, what="tag", path=path, error=LabelError)
    return [(line, cells[column].strip()) for line, cells in rows]


def _utf8_or(encoding: str, data: bytes) -> str:
    """Return ``utf-8`` if `data` is UTF-8 text, which text in another encoding almost never is."""
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return encoding
    return encoding if b"\0" in data else "utf-8"
