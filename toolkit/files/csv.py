"""Csv files: what stands between columns, physical line numbers, names of columns.

Files are streamed, in bounded memory. The caller chooses the `ToolkitError` to raise.
"""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path

from toolkit.errors import ToolkitError
from toolkit.files.regular import open_regular
from toolkit.files.text import (
    HEAD_BYTES,
    codec_name,
    explain_encoding,
    marked_encoding,
    reading,
    refuse_binary,
)
from toolkit.runtime.messages import counted, listed, named, quoted

IMAGE_COLUMNS = (
    "img_path",
    "image_path",
    "file_path",
    "filepath",
    "file_name",
    "filename",
    "image_name",
    "image",
    "img",
    "path",
    "file",
    "image_id",
    "img_id",
    "name",
    "id",
    "image_index",  # NIH ChestX-ray
    "image\\label",  # AID
    "image_file",
    "image_file_name",
    "image_filename",
    "fname",  # VOC and Planet as fast.ai ships them
    "patch_id",  # BigEarthNet
    "patch",
)
"""Names of the column of image paths; the first that is in the header is used.

They are compared without capitals, blanks, hyphens and underscores.
"""

CSV_SUFFIXES = (".csv", ".tsv", ".tab", ".txt")
"""Suffixes of text files with columns."""

COLUMN_MARKS = (",", ";", "\t", "|")
"""What may stand between the columns of a csv; the comma first."""

_ROWS_SEEN = 20  # to find what separates the columns
_SEPARATOR_LINE = re.compile(r'"?sep=[,;\t|]"?\s*', re.IGNORECASE)  # the first line, for Excel
_IGNORED = str.maketrans("", "", " _-")  # in names of columns

MOST_ROW = 4_000_000
"""Most characters of a csv row: a one-hot header of 20,000 tags has less than a quarter of that."""

_TOO_LONG = f"the line has more than {MOST_ROW:,} characters; is this a csv?"
_NEVER_CLOSED = (
    "a quote of the row that starts there is never closed; close it, and write a quote inside a cell twice"
)

_MARK_NAMES = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_SHOWN = {"\t": "<tab>"}
_CSV_ERRORS = {
    "unexpected end of data": _NEVER_CLOSED,
    **{
        f"'{mark}' expected after '\"'": (
            "a quote closes before its cell ends; check the quotes of the row that starts there"
        )
        for mark in COLUMN_MARKS
    },
}

# for the whole process, as there is no limit for one reader; the tags of one image may have more than the
# standard 131,072 characters
csv.field_size_limit(max(csv.field_size_limit(), MOST_ROW))


def read_csv(
    path: Path,
    *,
    error: type[ToolkitError],
    encoding: str = "utf-8",
    escape: bool = False,
    mark: str = ",",
) -> Iterator[tuple[int, list[str]]]:
    """Yield ``(line, cells)`` for every row of a file with `mark` between its columns, the header first.

    The file is streamed. `line` is the physical line on which the row starts, from 1, also after quoted line
    breaks. Blank lines are skipped. Cells are strings as written; a blank between `mark` and a quote is not
    part of one. `error` is raised if the file cannot be read or decoded, is empty, has a quote that never
    closes, a row of more than `MOST_ROW` characters, or a row with more or fewer cells than the header.
    """
    codec = codec_name(encoding)
    with reading(path, error), open_regular(path) as raw:
        refuse_binary(raw.read(HEAD_BYTES), name=path, error=error, codec=codec)
        raw.seek(0)
        handling = "surrogateescape" if escape else "strict"
        stream = io.TextIOWrapper(raw, encoding=codec, errors=handling, newline="")
        try:
            yield from _rows(stream, path, error, mark)
        except UnicodeError as reason:
            raw.seek(0)
            explain_encoding(raw, reason, name=path, error=error, encoding=encoding)


def first_rows(
    path: Path, number: int, *, error: type[ToolkitError], encoding: str = "utf-8", mark: str = ","
) -> list[list[str]]:
    """Return the first `number` rows of what may be a csv, undecodable bytes replaced, blank lines skipped.

    They are none if the file is not a csv: `read_csv` says why. `error` if the file cannot be opened.
    """
    with reading(path, error), open_regular(path) as raw:
        codec = marked_encoding(raw.read(4)) or codec_name(encoding)
        raw.seek(0)
        lines = _Lines(io.TextIOWrapper(raw, encoding=codec, errors="replace", newline=""), mark)
        rows: list[list[str]] = []
        try:
            for cells in lines.rows(strict=False):
                rows += [cells] if cells else []
                lines.forget()
                if len(rows) == number:
                    break
        except (csv.Error, UnicodeError):
            return []
        return rows


def column_mark(
    path: Path, *, error: type[ToolkitError], encoding: str = "utf-8", columns: Sequence[str] = IMAGE_COLUMNS
) -> str:
    """Return which of `COLUMN_MARKS` stands between the columns of `path`.

    It is the one by which the header has one of `columns`, the comma first. Where several others do, or none,
    it is the one by which most of the first rows are as wide as the header, then the one of most columns.
    """
    read = partial(first_rows, path, error=error, encoding=encoding)
    if find_column(next(iter(read(1)), []), columns) is not None:
        return ","
    heads = {
        mark: rows for mark in COLUMN_MARKS if (rows := read(_ROWS_SEEN, mark=mark)) and len(rows[0]) > 1
    }
    fitting = [mark for mark, rows in heads.items() if find_column(rows[0], columns) is not None]
    return max(fitting or heads, key=lambda mark: _fit(heads[mark]), default=",")


def _fit(rows: list[list[str]]) -> tuple[float, int]:
    """Return the share of `rows` that are as wide as the first, and its width."""
    width = len(rows[0])
    return sum(len(cells) == width for cells in rows) / len(rows), width


class _Lines:
    """The lines of a stream, and the rows they make; the user calls `forget` after each row.

    `csv.Error` ends a row of more than `MOST_ROW` characters, or with a NUL. The mark that codecs other than
    utf-8-sig and utf-16 leave at the start is dropped.
    """

    def __init__(self, stream: io.TextIOWrapper, mark: str) -> None:
        self.number = 0  # of lines read
        self._characters = 0
        self._mark = mark
        self._kept: list[str] = []  # of this row
        self._suspicious = False
        self._read = partial(stream.readline, MOST_ROW + 1)
        self._lines = iter(self)

    def forget(self) -> None:
        """Begin a new row."""
        self._characters, self._suspicious = 0, False
        self._kept.clear()

    def rows(self, *, strict: bool) -> Iterator[list[str]]:
        """Yield the cells of each row."""
        for cells in csv.reader(self._lines, strict=strict, delimiter=self._mark):
            yield self._read_again(cells, strict) if self._suspicious else cells

    def _read_again(self, cells: list[str], strict: bool) -> list[str]:
        """Return the cells of this row, quotes after a blank counted, unless that changes only blanks."""
        lines = chain(list(self._kept), self._lines)
        again = next(csv.reader(lines, strict=strict, delimiter=self._mark, skipinitialspace=True))
        same = [cell.lstrip(" ") for cell in cells] == [cell.lstrip(" ") for cell in again]
        return cells if same else again

    def __iter__(self) -> Iterator[str]:
        line = self._read().removeprefix("\ufeff")
        if _SEPARATOR_LINE.fullmatch(line):
            self.number += 1
            line = self._read()
        while line:
            before = self._characters
            self._characters += len(line)
            if self._characters > MOST_ROW:
                # a row goes on over a line end only in quotes
                raise csv.Error(_NEVER_CLOSED if before else _TOO_LONG)
            if "\0" in line:
                raise csv.Error("the row holds a NUL character; a csv is text: write it again")
            self.number += 1
            self._kept.append(line)
            if ' "' in line:  # where other programs see the start of a quoted cell, if it is the cell's
                self._suspicious = True
            yield line
            line = self._read()


def _rows(
    stream: io.TextIOWrapper, path: Path, error: type[ToolkitError], mark: str
) -> Iterator[tuple[int, list[str]]]:
    name = named(path)
    lines = _Lines(stream, mark)
    width, line = 0, 1
    try:
        for cells in lines.rows(strict=True):
            width = width or len(cells)
            if cells and len(cells) != width:
                text = f"{name} line {line}: row has {counted(len(cells), 'cell')}, header has {width:,}"
                example = f'"a{_SHOWN.get(mark, mark)}b"'
                quotes = f"quote the tag list (any cell that holds {_MARK_NAMES[mark]}), as in {example}"
                raise error(f"{text}: {quotes if len(cells) > width else 'a cell is missing'}")
            if cells:
                yield line, cells
            line = lines.number + 1
            lines.forget()
    except csv.Error as reason:
        raise error(f"{name} line {line}: {_CSV_ERRORS.get(str(reason), reason)}") from reason
    if not width:
        raise error(f"{name} is empty; its first line must name the columns")


def column_key(name: str) -> str:
    """Return what names of columns are compared by."""
    return name.strip().casefold().translate(_IGNORED)


def find_column(header: Sequence[str], aliases: Sequence[str]) -> int | None:
    """Return the position of the first of `aliases` in `header`, as `column_key` compares them."""
    names = list(map(column_key, header))
    return next((names.index(key) for key in map(column_key, aliases) if key in names), None)


def need_column(
    header: Sequence[str],
    aliases: Sequence[str],
    *,
    what: str,
    path: Path,
    error: type[ToolkitError],
    option: str = "",
) -> int:
    """Return the column that `find_column` does; raise `error` if it is missing or there twice.

    `option` is the one that names the column.
    """
    column = find_column(header, aliases)
    if column is None:
        other = f", or give it with {option}" if option else ""
        raise error(
            f"{named(path)} has no {what} column: columns found are {listed(header)}; "
            f"name it one of {', '.join(aliases)}{other}"
        )
    name = header[column].strip()
    if sum(other.strip().casefold() == name.casefold() for other in header) > 1:
        raise error(f"{named(path)} has two columns {quoted(name)}; rename one")
    return column


def chosen_column(
    header: Sequence[str], name: str, *, path: Path, error: type[ToolkitError], option: str
) -> int:
    """Return the position of the column called `name`, exactly or without regard to capitals and blanks."""
    exact = [place for place, cell in enumerate(header) if cell.strip() == name.strip()]
    places = exact or [place for place, cell in enumerate(header) if column_key(cell) == column_key(name)]
    if not places:
        raise error(
            f"{named(path)} has no column {quoted(name)} ({option}): columns found are {listed(header)}"
        )
    if len(places) > 1:
        raise error(f"{named(path)} has two columns {quoted(name)} ({option}); rename one")
    return places[0]


def write_csv(
    path: Path, header: Sequence[str], rows: Iterable[Sequence[object]], *, bom: bool = False
) -> None:
    """Write a UTF-8 csv that `read_csv` reads back (with ``escape=True`` for file names that are not UTF-8).

    Lines end in a line feed; cells are quoted where needed. Lone surrogates are written as the bytes they
    stand for. `bom` writes a byte order mark, for Excel.
    """
    encoding = "utf-8-sig" if bom else "utf-8"
    with path.open("w", encoding=encoding, errors="surrogateescape", newline="") as stream:
        plain = csv.writer(stream, lineterminator="\n")
        quoted = csv.writer(stream, lineterminator="\n", quoting=csv.QUOTE_ALL)
        plain.writerow(header)
        for row in rows:
            # Python before 3.13 does not quote a lone carriage return, which would end the row
            writer = quoted if any(isinstance(cell, str) and "\r" in cell for cell in row) else plain
            writer.writerow(row)
