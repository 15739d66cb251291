"""Text files: encodings and byte order marks, in bounded memory.

The user's text files are read here and, those with columns, by `toolkit.files.csv`. The caller chooses the
`ToolkitError` to raise.
"""

import codecs
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import BinaryIO, NoReturn

from toolkit.errors import OptionError, ToolkitError
from toolkit.files.regular import read_regular
from toolkit.runtime.messages import named

_BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16: its mark begins with UTF-16's
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

HEAD_BYTES = 65536
_CHUNK_BYTES = 1 << 20
_FOREIGN = re.compile(r"[^\x00-\x7f]")
_LONE_BYTE = re.compile(rb"(?<![\x80-\xff])[\x80-\xff](?![\x80-\xff])")
_WESTERN = frozenset((*map(chr, range(0xC0, 0x100)), *"ŠŒŽšœžŸ‘’“”•–—€…«»°§·"))
"""Letters and marks that are frequent in western European text."""

MOST_BYTES = 1 << 30
"""Most bytes of a text file that is read whole: ten million file names of a hundred bytes."""


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


@contextmanager
def reading(path: Path, error: type[ToolkitError]) -> Iterator[None]:
    """Raise an `OSError` of the block, which reads `path`, as `error`."""
    try:
        yield
    except OSError as reason:
        raise error(f"{named(path)} cannot be read ({reason.strerror or reason})") from reason


def read_bytes(path: Path, *, error: type[ToolkitError], most: int = MOST_BYTES) -> bytes:
    """Return the bytes of `path`, a regular file of at most `most`; `error` says why it cannot be read."""
    with reading(path, error):
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
        explain_encoding(io.BytesIO(data), reason, name=name, error=error, encoding=encoding)
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


def explain_encoding(
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
    foreign = list(islice((match.group() for match in _FOREIGN.finditer(text)), HEAD_BYTES))
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
