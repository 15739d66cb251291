"""PNGs without the text that Pillow stops at: it refuses a picture whose text is longer than a limit.

Comments, render settings and the like change no pixel. What does is kept: EXIF and XMP, which may be stored
as text, hold the orientation, and a colour profile the colours.
"""

import io
import struct
import zlib
from typing import BinaryIO

from PIL import PngImagePlugin

MOST_PROFILE = 2**23
"""Bytes of a colour profile, EXIF or XMP, unpacked; the largest profiles in use have 4 MB."""

COPIES = 2
"""Copies of a file that are held while its text is taken out."""

_MAGIC = b"\x89PNG\r\n\x1a\n"
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_MOST_DEFLATED = 1032  # times that deflate can shrink
_MOST_CHUNKS = 2**18  # a picture of a gigabyte in pieces of 8 kB has half as many
_LITTLE = 1000  # bytes of text in a file that unpack to no more than Pillow's limit
_ORIENTING = (b"XML:com.adobe.xmp\0", b"Raw profile type exif\0", b"Raw profile type APP1\0")


def raise_limit() -> None:
    """Let Pillow unpack a colour profile of `MOST_PROFILE` bytes; what may be larger is left out before."""
    PngImagePlugin.MAX_TEXT_CHUNK = MOST_PROFILE


def without_text(stream: BinaryIO, *, header: bool = False) -> io.BytesIO | None:
    """Return a PNG without its long text, at its beginning; None for what needs no change, or is no PNG.

    The position of `stream` is kept. With `header` only what lies before the pixels is read.
    """
    start = stream.tell()
    try:
        chunks = _chunks(stream, header)
        text = sum(length for _, kind, length in chunks if kind in _TEXTS)
        drop = [
            place
            for place, kind, length in chunks
            if (kind in _TEXTS and text > _LITTLE and not _matters(stream, place, kind, length))
            or (kind == b"iCCP" and length > _LITTLE and not _fits(stream, place, kind, length))
        ]
        if not drop:
            return None
        kept = [(place, length + 12) for place, _, length in chunks if place not in drop]
        return io.BytesIO(_MAGIC + b"".join(_read(stream, *part) for part in kept))
    finally:
        stream.seek(start)


def _chunks(stream: BinaryIO, header: bool) -> list[tuple[int, bytes, int]]:
    """Return place, kind and length of the chunks, up to the first that is damaged, which is the last.

    None of more than `_MOST_CHUNKS`: such a file is left as it is.
    """
    found: list[tuple[int, bytes, int]] = []
    stream.seek(0)
    if stream.read(8) != _MAGIC:
        return found
    place = 8
    while len(head := _read(stream, place, 8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        found.append((place, kind, length))
        if (header and kind == b"IDAT") or not kind.isalpha():
            break
        if len(found) > _MOST_CHUNKS:
            return []
        place += length + 12
    return found


def _read(stream: BinaryIO, place: int, length: int) -> bytes:
    stream.seek(place)
    return stream.read(length)


def _matters(stream: BinaryIO, place: int, kind: bytes, length: int) -> bool:
    """Return whether a text may hold the orientation, and is no longer than allowed."""
    return _read(stream, place + 8, 22).startswith(_ORIENTING) and _fits(stream, place, kind, length)


def _fits(stream: BinaryIO, place: int, kind: bytes, length: int) -> bool:
    """Return whether the contents of a chunk unpack to `MOST_PROFILE` bytes at most."""
    if length > MOST_PROFILE or kind == b"tEXt":
        return length <= MOST_PROFILE
    data = _read(stream, place + 8, length)
    _, _, packed = data.partition(b"\0")
    if kind == b"iTXt":  # whether it is packed, how, language, name, text
        return packed[:1] != b"\1" or length <= MOST_PROFILE // _MOST_DEFLATED
    inflate = zlib.decompressobj()
    unpacked, packed = 0, packed[1:]
    try:
        while packed and unpacked <= MOST_PROFILE:
            unpacked += len(inflate.decompress(packed, 2**16))
            packed = inflate.unconsumed_tail
    except zlib.error:  # Pillow ignores what is damaged
        return True
    return unpacked <= MOST_PROFILE
