"""Text and csv files: encodings and byte order marks, separators, physical line numbers, names of columns.

All of the user's text files are read here: only regular files, in bounded memory. The caller chooses the
`ToolkitError` to raise.
"""

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import BinaryIO, NoReturn

from toolkit.errors import OptionError, ToolkitError
from toolkit.files.regular import open_regular, read_regular
from toolkit.runtime.messages import counted

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

_BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16: its mark begins with UTF-16's
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_HEAD_BYTES = 65536
_ROWS_SEEN = 20  # to find what separates the columns
_CHUNK_BYTES = 1 << 20
_MOST_REASON = 200  # characters of another error
_MOST_QUOTED = 60  # characters of a name in a message
_SEPARATOR_LINE = re.compile(r'"?sep=[,;\t|]"?\s*', re.IGNORECASE)  # the first line, for Excel
_FOREIGN = re.compile(r"[^\x00-\x7f]")
_LONE_BYTE = re.compile(rb"(?<![\x80-\xff])[\x80-\xff](?![\x80-\xff])")
_IGNORED = str.maketrans("", "", " _-")  # in names of columns
_WESTERN = frozenset((*map(chr, range(0xC0, 0x100)), *"ŠŒŽšœžŸ‘’“”•–—€…«»°§·"))
"""Letters and marks that are frequent in western European text."""

MOST_BYTES = 1 << 30
"""Most bytes of a text file that is read whole: ten million file names of a hundred bytes."""

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


def marked_encoding(head: bytes) -> str | None:
    """Return ``utf-16`` or ``utf-32`` if `head` (the first bytes of a file) has that byte order mark."""
    return next((encoding for bom, encoding in _BOMS if head.startswith(bom)), None)


def codec_name(encoding: str) -> str:
    """Return the codec for `encoding`, UTF-8 with or without a mark; `OptionError` if unknown."""
    try:
        "".encode(encoding)  # unlike codecs.lookup, this refuses codecs such as base64
        canonical = codecs.lookup(encoding).name
    except (LookupError, UnicodeError) as reason:
        raise OptionError(
            f"unknown encoding {encoding!r}; name one Python knows, such as utf-8, gb18030 or utf-16"
        ) from reason
    return "utf-8-sig" if canonical == "utf-8" else canonical


def read_bytes(path: Path, *, error: type[ToolkitError], most: int = MOST_BYTES) -> bytes:
    """Return the bytes of `path`, a regular file of at most `most`; `error` says why it cannot be read."""
    with _reading(path, error):
        return read_regular(path, most=most)


def decode_text(
    data: bytes, *, name: object, error: type[ToolkitError], encoding: str = "utf-8", escape: bool = False
) -> str:
    """Decode a whole file, dropping a byte order mark; `name` is its name in messages.

    Bytes that are not text in `encoding` raise `error`, which suggests the encoding to try, or with `escape`
    are kept as lone surrogates (PEP 383), as in file names. An unknown encoding raises `OptionError`.
    """
    codec = codec_name(encoding)
    refuse_binary(data, name=name, error=error, codec=codec)
    try:
        text = data.decode(codec, "surrogateescape" if escape else "strict")
    except UnicodeError as reason:
        _explain(io.BytesIO(data), reason, name=name, error=error, encoding=encoding)
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise error(f"{named(name)} is not a text file: line {line} holds a NUL character; write it again")
    return text.removeprefix("\ufeff")


def read_text(
    path: Path, *, error: type[ToolkitError], encoding: str = "utf-8", most: int = MOST_BYTES
) -> str:
    """Return the text of `path`, as `decode_text` does; `error` if it has more than `most` bytes."""
    data = read_bytes(path, error=error, most=most)
    return decode_text(data, name=path, error=error, encoding=encoding)


def split_lines(text: str) -> list[str]:
    r"""Split at ``\n``, ``\r\n`` and ``\r``; the other line ends of `str.splitlines` may be in tags."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return lines[:-1] if lines[-1] == "" else lines


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
    with _reading(path, error), open_regular(path) as raw:
        refuse_binary(raw.read(_HEAD_BYTES), name=path, error=error, codec=codec)
        raw.seek(0)
        handling = "surrogateescape" if escape else "strict"
        stream = io.TextIOWrapper(raw, encoding=codec, errors=handling, newline="")
        try:
            yield from _rows(stream, path, error, mark)
        except UnicodeError as reason:
            raw.seek(0)
            _explain(raw, reason, name=path, error=error, encoding=encoding)


def first_rows(
    path: Path, number: int, *, error: type[ToolkitError], encoding: str = "utf-8", mark: str = ","
) -> list[list[str]]:
    """Return the first `number` rows of what may be a csv, undecodable bytes replaced, blank lines skipped.

    They are none if the file is not a csv: `read_csv` says why. `error` if the file cannot be opened.
    """
    with _reading(path, error), open_regular(path) as raw:
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


@contextmanager
def _reading(path: Path, error: type[ToolkitError]) -> Iterator[None]:
    """Raise an `OSError` of the block, which reads `path`, as `error`."""
    try:
        yield
    except OSError as reason:
        raise error(f"{named(path)} cannot be read ({reason.strerror or reason})") from reason


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


def quoted(text: str) -> str:
    r"""Return `text` as `repr` does, which escapes control characters; a long one is cut.

    Examples
    --------
    >>> print(quoted("a\nb"))
    'a\nb'
    >>> print(quoted("sky" * 1000))
    'skyskyskyskyskyskyskyskyskyskyskyskyskyskyskyskyskyskyskysky'... (3,000 characters)
    """
    if len(text) <= _MOST_QUOTED:
        return repr(text)
    return f"{text[:_MOST_QUOTED]!r}... ({len(text):,} characters)"


def named(path: object) -> str:
    """Return the name of a file for a message: as it is, or as `repr` does if it has control characters."""
    text = str(path)
    return text if text.isprintable() else repr(text)


def shortened(reason: Exception) -> str:
    """Return the message of another library's error for one of ours: it may repeat what a file holds."""
    text = str(reason)
    return named(text if len(text) <= _MOST_REASON else f"{text[:_MOST_REASON]}...")


def listed(names: Sequence[str], most: int = 12) -> str:
    """Return `names` quoted and joined by commas; those after the first `most` are counted."""
    text = ", ".join(map(quoted, names[:most]))
    return text if len(names) <= most else f"{text} and {len(names) - most:,} more"


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


def refuse_binary(head: bytes, *, name: object, error: type[ToolkitError], codec: str) -> None:
    """Raise `error` for UTF-16, UTF-32 or NUL bytes in a file that is read in an 8-bit encoding."""
    if codec.startswith(("utf-16", "utf-32")):
        return
    marked = marked_encoding(head)
    if marked is not None:
        raise error(
            f"{named(name)} is {marked.upper()} (it has that byte order mark); "
            f"save it as UTF-8 or read it with --encoding {marked}"
        )
    if b"\0" in head:
        raise error(
            f"{named(name)} is not a text file: it holds NUL bytes; if it is UTF-16 without a mark, "
            "read it with --encoding utf-16-le"
        )


def _explain(
    file: BinaryIO, reason: UnicodeError, *, name: object, error: type[ToolkitError], encoding: str
) -> NoReturn:
    """Raise `error` with the first line that is not `encoding`, and the encoding to try."""
    line, sample = _first_bad_line(file, encoding)
    if encoding.casefold() != "gb18030" and _looks_gb18030(sample):
        fix = "it looks like GB18030 (GBK): save it as UTF-8 or read it with --encoding gb18030"
    elif codec_name(encoding) == "utf-8-sig" and _looks_western(sample):
        fix = "it looks like Windows-1252: save it as UTF-8 or read it with --encoding cp1252"
    else:
        fix = "save it as UTF-8 or name its encoding with --encoding, such as gb18030"
    raise error(f"{named(name)} is not {encoding.upper()} (at line {line}); {fix}") from reason


def _first_bad_line(file: BinaryIO, encoding: str) -> tuple[int, list[bytes]]:
    """Return the number of the first line that is not `encoding`, and the pieces read first and last."""
    decoder = codecs.getincrementaldecoder(encoding)()
    line, sample = 1, [b""]
    for chunk in iter(partial(file.read, _CHUNK_BYTES), b""):
        # a later piece begins after a line end: elsewhere it may begin inside a character
        sample = [sample[0], chunk.partition(b"\n")[2]] if sample[0] else [chunk]
        try:
            decoder.decode(chunk)
        except UnicodeDecodeError as reason:
            return line + reason.object[: reason.start].count(b"\n"), sample
        except UnicodeError:  # UTF-16's mark is missing
            break
        line += chunk.count(b"\n")
    else:
        return line, sample  # it ends inside a character
    return 1, sample


def _looks_gb18030(pieces: Sequence[bytes]) -> bool:
    """Return whether `pieces` decode as GB18030 into mostly common characters, those of GB 2312.

    Latin-1 text often decodes as GB18030 too, but into rare characters.
    """
    try:
        # an incremental decoder forgives a character that is cut at the end of a piece
        text = "".join(codecs.getincrementaldecoder("gb18030")().decode(piece) for piece in pieces)
    except UnicodeDecodeError:
        return False
    foreign = list(islice((match.group() for match in _FOREIGN.finditer(text)), _HEAD_BYTES))
    common = sum(bool(character.encode("gb2312", "ignore")) for character in foreign)
    return 2 * common >= len(foreign) > 0


def _looks_western(pieces: Sequence[bytes]) -> bool:
    """Return whether `pieces` decode as Windows-1252 into mostly western letters among ASCII ones.

    Bytes of UTF-8 and of Asian and Cyrillic encodings come in runs.
    """
    data = b"\n".join(pieces)
    try:
        text = data.decode("cp1252")
    except UnicodeDecodeError:
        return False
    foreign = Counter(_FOREIGN.findall(text))
    good = sum(number for character, number in foreign.items() if character in _WESTERN)
    alone = len(_LONE_BYTE.findall(data))
    return 10 * min(good, alone) >= 7 * sum(foreign.values()) > 0
