"""Text and csv files: encodings and byte order marks, physical line numbers, columns with several names.

All of the user's text files are read here. The caller chooses the `ToolkitError` to raise.
"""

import codecs
import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NoReturn

from toolkit.errors import OptionError, ToolkitError
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
_FOREIGN = re.compile(r"[^\x00-\x7f]")


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


def read_bytes(path: Path, *, error: type[ToolkitError]) -> bytes:
    """Return the bytes of `path`; `error` names the reason if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as reason:
        raise error(f"{path} cannot be read ({reason.strerror or reason})") from reason


def decode_text(
    data: bytes, *, name: object, error: type[ToolkitError], encoding: str = "utf-8", escape: bool = False
) -> str:
    """Decode a whole file, dropping a byte order mark; `name` is its name in messages.

    Bytes that are not text in `encoding` raise `error`, which suggests the encoding to try, or with `escape`
    are kept as lone surrogates (PEP 383), as in file names. An unknown encoding raises `OptionError`.
    """
    codec = codec_name(encoding)
    _refuse_binary(data, name=name, error=error, codec=codec)
    try:
        text = data.decode(codec, "surrogateescape" if escape else "strict")
    except UnicodeError as reason:
        _explain(data, reason, name=name, error=error, encoding=encoding)
    return text.removeprefix("\ufeff")


def read_text(path: Path, *, error: type[ToolkitError], encoding: str = "utf-8") -> str:
    """Return the text of `path`, as `decode_text` does."""
    return decode_text(read_bytes(path, error=error), name=path, error=error, encoding=encoding)


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
    read or decoded, is empty, has a quote that never closes, or a row with more or fewer cells than the
    header.
    """
    codec = codec_name(encoding)
    try:
        with path.open("rb") as raw:
            _refuse_binary(raw.read(_HEAD_BYTES), name=path, error=error, codec=codec)
        handling = "surrogateescape" if escape else "strict"
        with path.open(encoding=codec, errors=handling, newline="") as stream:
            yield from _rows(stream, path, error)
    except OSError as reason:
        raise error(f"{path} cannot be read ({reason.strerror or reason})") from reason
    except UnicodeError as reason:
        _explain(read_bytes(path, error=error), reason, name=path, error=error, encoding=encoding)


def _rows(stream: Iterable[str], path: Path, error: type[ToolkitError]) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(_without_bom(stream), strict=True)
    width, line = 0, 1
    try:
        for cells in reader:
            width = width or len(cells)
            if cells and len(cells) != width:
                text = f"{path} line {line}: row has {counted(len(cells), 'cell')}, header has {width}"
                quotes = 'quote the tag list (any cell that holds commas), as in "a,b"'
                raise error(f"{text}: {quotes if len(cells) > width else 'a cell is missing'}")
            if cells:
                yield line, cells
            line = reader.line_num + 1
    except csv.Error as reason:
        hint = "check the quotes of the row that starts there"
        raise error(f"{path} line {line}: {reason}; {hint}") from reason
    if not width:
        raise error(f"{path} is empty; its first line must name the columns")


def _without_bom(stream: Iterable[str]) -> Iterator[str]:
    """Drop the mark that codecs other than utf-8-sig and utf-16 leave at the start."""
    lines = iter(stream)
    yield next(lines, "").removeprefix("\ufeff")
    yield from lines


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
            f"{path} has no {what} column: columns found are {listed(header)}; "
            f"name it one of {', '.join(aliases)}"
        )
    name = header[column].strip()
    if sum(other.strip().casefold() == name.casefold() for other in header) > 1:
        raise error(f"{path} has two columns {name!r}; rename one")
    return column


def listed(names: Sequence[str], most: int = 12) -> str:
    """Return `names` quoted and joined by commas; those after the first `most` are counted."""
    text = ", ".join(repr(name) for name in names[:most])
    return text if len(names) <= most else f"{text} and {len(names) - most} more"


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


def _refuse_binary(head: bytes, *, name: object, error: type[ToolkitError], codec: str) -> None:
    """Raise `error` for UTF-16, UTF-32 or NUL bytes in a file that is read in an 8-bit encoding."""
    if codec.startswith(("utf-16", "utf-32")):
        return
    marked = marked_encoding(head)
    if marked is not None:
        raise error(
            f"{name} is {marked.upper()} (it has that byte order mark); "
            f"save it as UTF-8 or read it with --encoding {marked}"
        )
    if b"\0" in head:
        raise error(
            f"{name} is not a text file: it holds NUL bytes; if it is UTF-16 without a mark, "
            "read it with --encoding utf-16-le"
        )


def _explain(
    data: bytes, reason: UnicodeError, *, name: object, error: type[ToolkitError], encoding: str
) -> NoReturn:
    """Raise `error` with the first line that is not `encoding`, and the encoding to try."""
    offset = _first_bad_byte(data, encoding)
    line = data[:offset].count(b"\n") + 1
    if encoding.casefold() != "gb18030" and _looks_gb18030(data):
        fix = "it looks like GB18030 (GBK): save it as UTF-8 or read it with --encoding gb18030"
    else:
        fix = "save it as UTF-8 or name its encoding with --encoding, such as gb18030"
    raise error(f"{name} is not {encoding.upper()} (at line {line}); {fix}") from reason


def _first_bad_byte(data: bytes, encoding: str) -> int:
    try:
        data.decode(encoding)
    except UnicodeError as reason:
        return getattr(reason, "start", 0)
    return 0  # only a stream demands UTF-16's mark, which is missing at the start


def _looks_gb18030(data: bytes) -> bool:
    """Return whether `data` decodes as GB18030 into mostly common characters, those of GB 2312.

    Latin-1 text often decodes as GB18030 too, but into rare characters.
    """
    try:
        text = data.decode("gb18030")
    except UnicodeDecodeError:
        return False
    foreign = list(islice((match.group() for match in _FOREIGN.finditer(text)), _HEAD_BYTES))
    common = sum(bool(character.encode("gb2312", "ignore")) for character in foreign)
    return 2 * common >= len(foreign) > 0
