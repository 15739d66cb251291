"""Text and csv files: encodings and byte order marks, physical line numbers, columns with several names.

All of the user's text files are read here: only regular files, in bounded memory. The caller chooses the
`ToolkitError` to raise.
"""

import codecs
import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
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
)
"""Names of the column of image paths; the first that is in the header is used."""

_BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16: its mark begins with UTF-16's
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_HEAD_BYTES = 65536
_CHUNK_BYTES = 1 << 20
_MOST_REASON = 200  # characters of another error
_MOST_QUOTED = 60  # characters of a name in a message
_FOREIGN = re.compile(r"[^\x00-\x7f]")

MOST_BYTES = 1 << 30
"""Most bytes of a text file that is read whole: ten million file names of a hundred bytes."""

MOST_ROW = 4_000_000
"""Most characters of a csv row: a one-hot header of 20,000 tags has less than a quarter of that."""

_TOO_LONG = f"the line has more than {MOST_ROW:,} characters; is this a csv?"
_NEVER_CLOSED = (
    "a quote of the row that starts there is never closed; close it, and write a quote inside a cell twice"
)
_CSV_ERRORS = {
    "unexpected end of data": _NEVER_CLOSED,
    "',' expected after '\"'": (
        "a quote closes before its cell ends; check the quotes of the row that starts there"
    ),
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
    path: Path, *, error: type[ToolkitError], encoding: str = "utf-8", escape: bool = False
) -> Iterator[tuple[int, list[str]]]:
    """Yield ``(line, cells)`` for every row of a comma-separated file, the header first.

    The file is streamed. `line` is the physical line on which the row starts, from 1, also after quoted line
    breaks. Blank lines are skipped. Cells are strings as written. `error` is raised if the file cannot be
    read or decoded, is empty, has a quote that never closes, a row of more than `MOST_ROW` characters, or a
    row with more or fewer cells than the header.
    """
    codec = codec_name(encoding)
    with _reading(path, error), open_regular(path) as raw:
        refuse_binary(raw.read(_HEAD_BYTES), name=path, error=error, codec=codec)
        raw.seek(0)
        handling = "surrogateescape" if escape else "strict"
        stream = io.TextIOWrapper(raw, encoding=codec, errors=handling, newline="")
        try:
            yield from _rows(stream, path, error)
        except UnicodeError as reason:
            raw.seek(0)
            _explain(raw, reason, name=path, error=error, encoding=encoding)


def first_rows(
    path: Path, number: int, *, error: type[ToolkitError], encoding: str = "utf-8"
) -> list[list[str]]:
    """Return the first `number` rows of what may be a csv, undecodable bytes replaced, blank lines skipped.

    They are none if the file is not a csv: `read_csv` says why. `error` if the file cannot be opened.
    """
    with _reading(path, error), open_regular(path) as raw:
        codec = marked_encoding(raw.read(4)) or codec_name(encoding)
        raw.seek(0)
        lines = _Lines(io.TextIOWrapper(raw, encoding=codec, errors="replace", newline=""))
        try:
            return list(islice(filter(None, csv.reader(lines)), number))
        except (csv.Error, UnicodeError):
            return []


@contextmanager
def _reading(path: Path, error: type[ToolkitError]) -> Iterator[None]:
    """Raise an `OSError` of the block, which reads `path`, as `error`."""
    try:
        yield
    except OSError as reason:
        raise error(f"{named(path)} cannot be read ({reason.strerror or reason})") from reason


class _Lines:
    """The lines of a stream, for a `csv.reader` whose user sets `characters` to 0 after each row.

    `csv.Error` ends a row of more than `MOST_ROW` characters, or with a NUL. The mark that codecs other than
    utf-8-sig and utf-16 leave at the start is dropped.
    """

    def __init__(self, stream: io.TextIOWrapper) -> None:
        self.characters = 0
        self._read = partial(stream.readline, MOST_ROW + 1)

    def __iter__(self) -> Iterator[str]:
        line = self._read().removeprefix("\ufeff")
        while line:
            before = self.characters
            self.characters += len(line)
            if self.characters > MOST_ROW:
                # a row goes on over a line end only in quotes
                raise csv.Error(_NEVER_CLOSED if before else _TOO_LONG)
            if "\0" in line:
                raise csv.Error("the row holds a NUL character; a csv is text: write it again")
            yield line
            line = self._read()


def _rows(stream: io.TextIOWrapper, path: Path, error: type[ToolkitError]) -> Iterator[tuple[int, list[str]]]:
    name = named(path)
    lines = _Lines(stream)
    reader = csv.reader(lines, strict=True)
    width, line = 0, 1
    try:
        for cells in reader:
            width = width or len(cells)
            if cells and len(cells) != width:
                text = f"{name} line {line}: row has {counted(len(cells), 'cell')}, header has {width:,}"
                quotes = 'quote the tag list (any cell that holds commas), as in "a,b"'
                raise error(f"{text}: {quotes if len(cells) > width else 'a cell is missing'}")
            if cells:
                yield line, cells
            line = reader.line_num + 1
            lines.characters = 0
    except csv.Error as reason:
        raise error(f"{name} line {line}: {_CSV_ERRORS.get(str(reason), reason)}") from reason
    if not width:
        raise error(f"{name} is empty; its first line must name the columns")


def find_column(header: Sequence[str], aliases: Sequence[str]) -> int | None:
    """Return the position of the first of `aliases` in `header` (case and outer blanks ignored)."""
    names = [name.strip().casefold() for name in header]
    return next((names.index(alias) for alias in aliases if alias in names), None)


def need_column(
    header: Sequence[str], aliases: Sequence[str], *, what: str, path: Path, error: type[ToolkitError]
) -> int:
    """Return the column that `find_column` does; raise `error` if it is missing or there twice."""
    column = find_column(header, aliases)
    if column is None:
        raise error(
            f"{named(path)} has no {what} column: columns found are {listed(header)}; "
            f"name it one of {', '.join(aliases)}"
        )
    name = header[column].strip()
    if sum(other.strip().casefold() == name.casefold() for other in header) > 1:
        raise error(f"{named(path)} has two columns {quoted(name)}; rename one")
    return column


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
