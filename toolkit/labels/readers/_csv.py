"""Shared by the readers of csv files: the image column, and the first rows to detect the format."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from toolkit.errors import LabelError
from toolkit.files.text import IMAGE_COLUMNS, find_column, first_rows, need_column, quoted, read_csv
from toolkit.labels.raw import TAG_COLUMNS, ReaderOptions

BITS = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "false": 0, "true": 1, "False": 0, "True": 1}
"""Cells of a one-hot csv; blanks around them and other capitals are accepted."""


def image_rows(path: Path, options: ReaderOptions) -> tuple[list[str], int, Iterator[tuple[int, list[str]]]]:
    """Return the header, the position of the image column, and the rows as (line, cells)."""
    rows = read_csv(path, error=LabelError, encoding=options.encoding)
    _, header = next(rows)
    return header, need_column(header, IMAGE_COLUMNS, what="image", path=path, error=LabelError), rows


@dataclass(frozen=True)
class Peek:
    """The header of a csv and its first row (empty if it has none)."""

    header: list[str]
    row: list[str]

    @property
    def image(self) -> int | None:
        """Position of the image column, or None."""
        return find_column(self.header, IMAGE_COLUMNS)

    @property
    def has_tags(self) -> bool:
        """Whether there are an image column and a tag column."""
        return self.image is not None and find_column(self.header, TAG_COLUMNS) is not None

    @property
    def format(self) -> str | None:
        """The label format, ``csv`` or ``onehot``, or None if it is neither."""
        if self.has_tags:
            return "csv"
        return "onehot" if self.not_onehot() is None else None

    def not_onehot(self) -> str | None:
        """Return why the file cannot be a one-hot csv, or None if it may be one."""
        if self.image is None:
            return "there is no image column"
        if len(self.header) < 2:
            return "there is no other column"
        if len(self.row) != len(self.header):
            return "the first row and the header differ in length" if self.row else "there are no rows"
        for column, cell in enumerate(self.row):
            if column != self.image and cell.strip().casefold() not in BITS:
                return f"column {quoted(self.header[column])} holds {quoted(cell)}"
        return None


def peek_csv(path: Path, encoding: str = "utf-8") -> Peek:
    """Return the first rows of `path`, undecodable bytes replaced: the reader explains those better.

    A file that is not a csv gives an empty header. `LabelError` if the file cannot be opened.
    """
    rows = first_rows(path, 2, error=LabelError, encoding=encoding)
    header, row = (*rows, [], [])[:2]
    return Peek(header, row)
