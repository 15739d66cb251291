"""BMP files written by hand."""

import struct
from collections.abc import Sequence

import numpy as np

from tests.layouts.tiff import packed

RGB, RLE8, RLE4, BITFIELDS, JPEG, PNG, ALPHA_BITFIELDS = range(7)


def rows_of(values: np.ndarray, bits: int, *, top_down: bool = False) -> bytes:
    """Return values (H, W) as rows of pixels, each padded to four bytes."""
    rows = values if top_down else values[::-1]
    if bits > 8:
        data = rows.astype("<u4")[..., None].view("u1")[..., : bits // 8].reshape(len(rows), -1)
    else:
        data = np.frombuffer(packed(rows, bits, "<"), "u1").reshape(len(rows), -1)
    return np.pad(data, ((0, 0), (0, -data.shape[1] % 4))).tobytes()


def masked(channels: Sequence[np.ndarray], masks: Sequence[int]) -> np.ndarray:
    """Return channels of shares in [0, 1] put together under masks."""
    out = np.zeros(channels[0].shape, np.uint64)
    for channel, mask in zip(channels, masks, strict=True):
        shift = (mask & -mask).bit_length() - 1
        out |= np.rint(channel * (mask >> shift)).astype(np.uint64) << np.uint64(shift)
    return out.astype(np.uint32)


def rle(values: np.ndarray, bits: int) -> bytes:
    """Return indices (H, W) run by run: encoded runs and, for half of the rows, literal ones."""
    out = b""
    for number, row in enumerate(values[::-1].tolist()):
        place = 0
        while place < len(row):
            if number % 2 and len(row) - place >= 6:  # literally
                part = row[place : place + 6]
                pairs = part if bits == 8 else [part[n] << 4 | part[n + 1] for n in (0, 2, 4)]
                out += bytes([0, 6, *pairs]) + b"\0" * (len(pairs) % 2)
                place += 6
                continue
            count = 1
            while place + count < len(row) and row[place + count] == row[place]:
                count += 1
            value = row[place]
            out += bytes([count, value if bits == 8 else value << 4 | value])
            place += count
        out += b"\0\0"
    return out + b"\0\1"


def bmp(
    pixels: bytes,
    width: int,
    height: int,
    bits: int,
    *,
    header: int = 40,
    compression: int = RGB,
    palette: np.ndarray | None = None,
    masks: Sequence[int] = (),
    top_down: bool = False,
) -> bytes:
    """Return a BMP; `palette` (n, 3) is RGB, `masks` are those of red, green, blue and alpha."""
    if header == 12:
        info = struct.pack("<IHHHH", 12, width, height, 1, bits)
    else:
        colours = 0 if palette is None else len(palette)
        info = struct.pack(
            "<IiiHHIIiiII", header, width, -height if top_down else height, 1, bits, compression, len(pixels),
            2835, 2835, colours, 0,
        )  # fmt: skip
        fields = struct.pack(f"<{len(masks)}I", *masks)
        info = (info + fields).ljust(header, b"\0") if header > 40 else info + fields
    if palette is not None:
        entries = palette[:, ::-1].astype("u1")
        info += (entries if header == 12 else np.pad(entries, ((0, 0), (0, 1)))).tobytes()
    start = 14 + len(info)
    return b"BM" + struct.pack("<IHHI", start + len(pixels), 0, 0, start) + info + pixels
