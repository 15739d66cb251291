"""How much memory decoding takes, from an image's header, and a budget that all decoders share.

Pillow holds a picture as rows: 8 bytes of pointer and the pixels, 4 bytes a pixel in colour. Beside that a
codec may hold the whole picture in a form of its own, and converting to RGB and resizing hold copies. The
bytes below are upper bounds, measured for every format and mode (tests/images/test_memory.py).
"""

import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import BinaryIO

from PIL import Image, JpegImagePlugin

Reserve = Callable[[int], AbstractContextManager[object]]

ROW = 8  # the pointer to a row
ROWS = 4  # of which codecs keep copies
# resizing across comes first and keeps the number of rows: up to 1,024 columns of 4 bytes. Only pictures of
# more than half a million rows feel it: a column of 178,000,000 pixels would become 90 GB.
RESIZED_ROW = 4096
OPAQUE, TRANSPARENT = 6, 12  # bytes a pixel of converting and resizing, without and with an alpha channel
PROFILES = 4  # copies of a colour profile: as read, unpacked, and in the transform
_PIXEL = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2}
_CODEC = {
    "JPEG": 0,
    "MPO": 0,
    "PNG": 0,
    "BMP": 0,
    "GIF": 6,
    "PPM": 6,
    "TIFF": 6,
    "WEBP": 16,
    "AVIF": 12,
    "JPEG2000": 24,
}
_OTHER_CODEC = 16


class MemoryBudget:
    """Bytes that may be held together; who would hold more than are left waits.

    They are waited for one after the other, so small amounts never keep a large one waiting for ever.
    """

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._changed = threading.Condition()
        self._held = 0

    @contextmanager
    def hold(self, amount: int, limit: int) -> Iterator[None]:
        """Hold `amount` bytes as soon as no more than `limit` are held in all, or nothing else is."""
        with self._turn, self._changed:
            self._changed.wait_for(lambda: not self._held or self._held + amount <= limit)
            self._held += amount
        try:
            yield
        finally:
            with self._changed:
                self._held -= amount
                self._changed.notify_all()


BUDGET = MemoryBudget()
"""The budget of this process."""


def held_already(amount: int) -> AbstractContextManager[None]:
    """Wait for nothing: a `Reserve` for what is part of an amount that is held."""
    return nullcontext()


def stored_bytes(mode: str, width: int, height: int) -> int:
    """Return the bytes in which Pillow holds a picture."""
    return height * (ROW + -(-width * _PIXEL.get(mode, 4) // 4) * 4)


def bytes_to_decode(image: Image.Image, *, pixels: int, scans: int) -> int:
    """Return the most memory that it takes to load an opened image, and to convert and resize it.

    `pixels` is its size in the file: its decoder may have been told to shrink it. `scans` are a JPEG's.
    """
    width, height = image.size
    each = TRANSPARENT if image.has_transparency_data else OPAQUE
    codec = _CODEC.get(image.format or "", _OTHER_CODEC) * pixels
    if isinstance(image, JpegImagePlugin.JpegImageFile) and scans > 1:
        codec = 2 * image.layers * pixels  # all coefficients of the file, until the last scan is read
    copies = 2 * stored_bytes(image.mode, width, height)  # turned upright
    after = stored_bytes("RGB", width, height) + each * width * height + RESIZED_ROW * height
    profile = PROFILES * len(image.info.get("icc_profile") or b"")
    return max(copies, after) + codec + ROWS * 4 * width + profile


def bytes_to_open(stream: BinaryIO) -> tuple[int, int, int]:
    """Return width, height and bytes to decode of a file that Pillow decodes when it opens it, or zeros.

    A WebP gets its canvases then, and the picture in an icon is decoded. The position of `stream` is kept.
    """
    start = stream.tell()
    head = stream.read(30)
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        width, height = _webp_size(head)
    elif head[:4] == b"\0\0\1\0":
        width, height = _icon_size(stream, start, head)
    else:
        width = height = 0
    stream.seek(start)
    return width, height, width * height * (_CODEC["WEBP"] + TRANSPARENT + 4) + height * RESIZED_ROW


def _webp_size(head: bytes) -> tuple[int, int]:
    kind = head[12:16]
    if kind == b"VP8X" and len(head) >= 30:
        width, height = (int.from_bytes(head[place : place + 3], "little") + 1 for place in (24, 27))
    elif kind == b"VP8L" and len(head) >= 25:
        bits = int.from_bytes(head[21:25], "little")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    elif kind == b"VP8 " and len(head) >= 30:
        width, height = (int.from_bytes(head[place : place + 2], "little") & 0x3FFF for place in (26, 28))
    else:
        return 0, 0
    return width, height


def _icon_size(stream: BinaryIO, start: int, head: bytes) -> tuple[int, int]:
    """Return the size of the largest picture in an icon: what its directory says is not checked by Pillow."""
    largest = (0, 0)
    for number in range(int.from_bytes(head[4:6], "little")):
        stream.seek(start + 6 + 16 * number + 12)
        offset = stream.read(4)
        if len(offset) < 4:
            break
        stream.seek(start + int.from_bytes(offset, "little"))
        inner = stream.read(24)
        if len(inner) < 24:
            continue
        if inner.startswith(b"\x89PNG"):
            width, height = struct.unpack(">II", inner[16:])
        else:  # a bitmap; its mask makes it twice as high
            width, twice = struct.unpack("<ii", inner[4:12])
            width, height = abs(width), abs(twice) // 2
        largest = max(largest, (width, height), key=lambda size: size[0] * size[1])
    return largest
