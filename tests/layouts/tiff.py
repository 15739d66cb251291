"""TIFF files written by hand, in every layout, without a library that might share a reader's mistake."""

import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

NONE, LZW, JPEG, DEFLATE, PACKBITS, LZMA, ZSTD = 1, 5, 7, 8, 32773, 34925, 50000
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR, CIELAB = 0, 1, 2, 3, 5, 6, 8
CFA, LINEAR_RAW = 32803, 34892
UNSIGNED, SIGNED, FLOAT = 1, 2, 3
_SHORT, _LONG, _BYTES = 3, 4, 7
Tags = Mapping[int, tuple[int, Sequence[int] | bytes]]


def _packbits(data: bytes) -> bytes:
    parts = (data[start : start + 128] for start in range(0, len(data), 128))
    return b"".join(bytes([len(part) - 1]) + part for part in parts)


CODECS: dict[int, Callable[[bytes], bytes]] = {
    NONE: lambda data: data,
    DEFLATE: zlib.compress,
    PACKBITS: _packbits,
}


def packed(rows: np.ndarray, bits: int, order: str, fill_order: int = 1) -> bytes:
    """Pack values (rows, n), each row padded to whole bytes."""
    if rows.dtype.kind == "f" or bits in (8, 16, 32, 64):
        kind = rows.dtype.kind
        data = rows.astype(f"{order}{kind}{bits // 8}").tobytes()
    else:
        shifts = np.arange(bits - 1, -1, -1)
        planes = (rows[..., None].astype(np.uint64) >> shifts.astype(np.uint64)) & np.uint64(1)
        data = np.packbits(planes.reshape(len(rows), -1).astype(np.uint8), axis=1).tobytes()
    if fill_order == 2:
        turned = np.unpackbits(np.frombuffer(data, np.uint8)).reshape(-1, 8)[:, ::-1]
        data = np.packbits(turned).tobytes()
    return data


def _predicted(block: np.ndarray, predictor: int) -> np.ndarray:
    """Return what is stored for a block (H, W, S) under predictor 2."""
    if predictor != 2:
        return block
    out = block.copy()
    out[:, 1:] = block[:, 1:] - block[:, :-1]  # unsigned: wraps around
    return out


def _float_predicted(block: np.ndarray) -> bytes:
    """Return the rows of a block (H, W, S) of floats under predictor 3: planes of bytes, differences."""
    size = block.dtype.itemsize
    height, width, samples = block.shape
    planes = block.astype(f">f{size}").view(np.uint8).reshape(height, width * samples, size)
    planes = planes.transpose(0, 2, 1).reshape(height, -1)
    out = planes.copy()
    out[:, samples:] = planes[:, samples:] - planes[:, :-samples]
    return out.tobytes()


def ifd(entries: Tags, at: int, order: str) -> bytes:
    """Return a directory that lies at the byte `at`, with its values behind it."""
    size = 2 + 12 * len(entries) + 4
    table, extra = b"", b""
    for tag, (kind, values) in sorted(entries.items()):
        if isinstance(values, bytes):
            body, count = values, len(values)
        else:
            body = struct.pack(order + ("H" if kind == _SHORT else "I") * len(values), *values)
            count = len(values)
        if len(body) > 4:
            field = struct.pack(order + "I", at + size + len(extra))
            extra += body + b"\0" * (len(body) % 2)
        else:
            field = body.ljust(4, b"\0")
        table += struct.pack(order + "HHI", tag, kind, count) + field
    return struct.pack(order + "H", len(entries)) + table + bytes(4) + extra


def _blocks(samples: np.ndarray, tile: int, rows: int, planar: int) -> list[np.ndarray]:
    height, width, count = samples.shape
    layers = [samples] if planar == 1 else [samples[..., n : n + 1] for n in range(count)]
    found = []
    for layer in layers:
        if not tile:
            found += [layer[top : top + rows] for top in range(0, height, rows)]
            continue
        padded = np.pad(layer, ((0, -height % tile), (0, -width % tile), (0, 0)), mode="edge")
        found += [
            padded[top : top + tile, left : left + tile]
            for top in range(0, height, tile)
            for left in range(0, width, tile)
        ]
    return found


def page(
    samples: np.ndarray,
    photometric: int,
    *,
    bits: int,
    at: int = 8,
    order: str = "<",
    sample_format: int = UNSIGNED,
    extra: Sequence[int] = (),
    planar: int = 1,
    compression: int = NONE,
    predictor: int = 1,
    tile: int = 0,
    rows: int = 5,
    fill_order: int = 1,
    palette: Sequence[int] = (),
    tags: Tags | None = None,
    codec: Callable[[bytes], bytes] | None = None,
) -> tuple[bytes, int]:
    """Return one page, pixels and directory, as it lies at the byte `at`, and where the directory begins."""
    height, width, count = samples.shape
    encode = codec or CODECS[compression]
    strips = []
    for block in _blocks(samples, tile, rows, planar):
        if predictor == 3:
            data = _float_predicted(block)
        else:
            flat = _predicted(block, predictor).reshape(len(block), -1)
            data = packed(flat, bits, order, fill_order)
        strips.append(encode(data))
    joined = [strip + b"\0" * (len(strip) % 2) for strip in strips]
    places = [at + sum(map(len, joined[:n])) for n in range(len(joined))]
    where, length = (324, 325) if tile else (273, 279)
    entries: dict[int, tuple[int, Sequence[int] | bytes]] = {
        256: (_LONG, [width]),
        257: (_LONG, [height]),
        258: (_SHORT, [bits] * count),
        259: (_SHORT, [compression]),
        262: (_SHORT, [photometric]),
        266: (_SHORT, [fill_order]),
        where: (_LONG, places),
        277: (_SHORT, [count]),
        length: (_LONG, [len(strip) for strip in strips]),
        284: (_SHORT, [planar]),
        317: (_SHORT, [predictor]),
        339: (_SHORT, [sample_format] * count),
        **({322: (_LONG, [tile]), 323: (_LONG, [tile])} if tile else {278: (_LONG, [rows])}),
        **({338: (_SHORT, extra)} if extra else {}),
        **({320: (_SHORT, palette)} if palette else {}),
        **(tags or {}),
    }
    body = b"".join(joined)
    directory = ifd(entries, at + len(body), order)
    return body + directory + b"\0" * (len(directory) % 2), at + len(body)


def tiff(samples: np.ndarray, photometric: int, *, order: str = "<", **options: Any) -> bytes:
    """Return a TIFF of one page; arguments as `page` takes them."""
    return document([((samples, photometric), options)], order)


def document(pages: Sequence[tuple[tuple[np.ndarray, int], dict[str, Any]]], order: str = "<") -> bytes:
    """Return a TIFF of several pages, each of them the arguments of `page`."""
    file = bytearray((b"II*\0" if order == "<" else b"MM\0*") + bytes(4))
    link = 4
    for (samples, photometric), options in pages:
        part, directory = page(samples, photometric, at=len(file), order=order, **options)
        file += part
        struct.pack_into(order + "I", file, link, directory)
        link = directory + 2 + 12 * struct.unpack_from(order + "H", file, directory)[0]
    return bytes(file)
