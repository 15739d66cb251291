"""A look at the first rows of a csv, to tell what kind of file it is."""

import csv
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from toolkit.errors import LabelError
from toolkit.files.text import IMAGE_COLUMNS, codec_name, find_column, marked_encoding
from toolkit.labels.raw import TAG_COLUMNS
from toolkit.labels.readers.onehot import first_problem


@dataclass(frozen=True)
class Peek:
    """The header of a csv and its first row (empty if it has none)."""

    header: list[str]
    row: list[str]

    @property
    def image(self) -> int | None:
        """The image column, if there is one."""
        return find_column(self.header, IMAGE_COLUMNS)

    @property
    def has_tags(self) -> bool:
        """Whether there are an image column and a tag column."""
        return self.image is not None and find_column(self.header, TAG_COLUMNS) is not None

    def not_onehot(self) -> str | None:
        """Return why the file cannot be a one-hot csv, or None if it may be one."""
        if self.image is None:
            return "there is no image column"
        if len(self.header) < 2:
            return "there is no other column"
        if len(self.row) != len(self.header):
            return "the first row and the header differ in length" if self.row else "there are no rows"
        return first_problem(self.header, self.row, self.image)

    @property
    def kind(self) -> str | None:
        """The label format, ``csv`` or ``onehot``, or None if it is neither."""
        if self.has_tags:
            return "csv"
        return "onehot" if self.not_onehot() is None else None


def peek_csv(path: Path, encoding: str = "utf-8") -> Peek:
    """Return the first rows of `path`, undecodable bytes replaced: the reader explains those better.

    A file that is no csv at all gives an empty header. `LabelError` if the file cannot be opened.
    """
    try:
        with path.open("rb") as raw:
            marked = marked_encoding(raw.read(4))
        codec = marked or codec_name(encoding)
        with path.open(encoding=codec, errors="replace", newline="") as stream:
            rows = list(islice(filter(None, csv.reader(stream)), 2))
    except OSError as reason:
        raise LabelError(f"{path} cannot be read ({reason.strerror or reason})") from reason
    except csv.Error:
        rows = []
    header = rows[0] if rows else []
    return Peek([cell.removeprefix("\ufeff") for cell in header], rows[1] if len(rows) > 1 else [])
