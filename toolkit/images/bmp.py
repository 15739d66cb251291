"""BMPs beyond what Pillow reads right: grey palettes that it mistakes, and what it cannot decode."""

import struct
from typing import IO, BinaryIO

import numpy as np
from PIL import ImagePalette
from PIL.BmpImagePlugin import BmpImageFile

from toolkit.errors import ImageError

_COMPRESSIONS = {
    1: "runs of 8 bits",
    2: "runs of 4 bits",
    3: "bit masks",
    4: "JPEG",
    5: "PNG",
    6: "bit masks",
}
_MASKED = (3, 6)
_RAW_MODES = {4: "P;4", 8: "P"}


def prepare(image: BmpImageFile) -> None:
    """Let a BMP with a palette of greys be decoded right; `ImageError` for one of 16 bits that hides pixels.

    Pillow drops a palette of black and white, or of 0, 1, 2, ..., and then takes pixels of 4 or 8 bits for
    ones of 1 or 8.
    """
    stream = image.fp
    assert stream is not None  # it is not loaded yet
    bits, compression, masks = _header(stream)
    if bits == 16 and compression == _MASKED[0] and len(masks) == 4 and masks[3]:
        _require_opaque(image, stream, masks)
    if image.mode not in ("1", "L"):
        return
    if bits not in _RAW_MODES or (bits, image.mode) == (8, "L"):
        return
    levels = (0, 255) if image.mode == "1" else range(16)
    image._mode = "P"
    image.palette = ImagePalette.raw("RGB", bytes(level for level in levels for _ in range(3)))
    tile = image.tile[0]
    assert isinstance(tile.args, tuple)
    image.tile = [tile._replace(args=(_RAW_MODES[bits], *tile.args[1:]))]


def _require_opaque(image: BmpImageFile, stream: IO[bytes], masks: tuple[int, ...]) -> None:
    """Raise an `ImageError` if a picture of 16 bits has transparent pixels, which Pillow shows as opaque.

    If all are transparent, its writer has left the bits out.
    """
    width, height = image.size
    stride = (2 * width + 3) // 4 * 4
    stream.seek(image.tile[0].offset)
    alpha: set[int] = set()
    for _ in range(height):
        row = stream.read(stride)[: 2 * width]
        alpha.update(np.unique(np.frombuffer(row[: len(row) // 2 * 2], "<u2") & masks[3]).tolist())
    if len(alpha) > 1:
        raise ImageError(_not_supported(16, _MASKED[0], masks))


def why_not_decoded(stream: BinaryIO, error: Exception) -> str | None:
    """Return the reason why Pillow cannot decode a sound BMP; None if `error` is of another kind."""
    if not str(error).startswith("Unsupported BMP"):
        return None
    return _not_supported(*_header(stream))


def _not_supported(bits: int, compression: int, masks: tuple[int, ...]) -> str:
    what = f"a BMP of {bits} bits a pixel"
    if compression in _MASKED:
        what += f" under the masks {' '.join(f'{mask:x}' for mask in masks)}"
    elif compression:
        what += f", compressed by {_COMPRESSIONS.get(compression, f'method {compression}')}"
    return f"not supported: {what}; save it as PNG"


def _header(stream: IO[bytes]) -> tuple[int, int, tuple[int, ...]]:
    """Return bits a pixel, compression and the masks, zeros where a header ends before them."""
    here = stream.tell()
    stream.seek(14)
    head = stream.read(56).ljust(56, b"\0")
    stream.seek(here)
    size = struct.unpack_from("<I", head)[0]
    if size == 12:
        return struct.unpack_from("<H", head, 10)[0], 0, ()
    bits, compression = struct.unpack_from("<HI", head, 14)
    count = 4 if size >= 56 or compression == 6 else 3
    return bits, compression, struct.unpack_from(f"<{count}I", head, 40)
