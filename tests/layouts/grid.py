"""The layouts that are tried: for each a file, and the pixels that a viewer shows."""

import itertools
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from tests.layouts import tiff as t

H, W = 21, 19


@dataclass(frozen=True)
class Layout:
    """One file. `shown` are the pixels (H, W, 3) that it means; None if its values have no agreed meaning."""

    name: str
    kind: str
    data: bytes = field(repr=False)
    shown: np.ndarray | None = field(repr=False)
    by: int = 1  # rounding, or the loss of a codec


def shares(count: int, seed: int = 0) -> np.ndarray:
    """Return shares of white (H, W, count) in [0, 1]: a slope and noise, black and white in the corners."""
    rng = np.random.default_rng(seed)
    slope = np.linspace(0, 0.8, H)[:, None, None] + np.zeros((1, W, count))
    picture = np.clip(slope + rng.random((H, W, count)) * 0.2, 0, 1)
    picture[0, 0], picture[-1, -1] = 0.0, 1.0
    return picture


def levels(picture: np.ndarray, bits: int) -> np.ndarray:
    """Return shares as whole numbers of `bits`."""
    kind = next(size for size in (8, 16, 32, 64) if bits <= size)
    return np.rint(picture * (2.0**bits - 1)).astype(np.float64).astype(f"u{kind // 8}")


def grey(values: np.ndarray) -> np.ndarray:
    """Return grey shares (H, W) as RGB of 8 bits."""
    return np.repeat(np.rint(values * 255)[..., None], 3, axis=2).astype(np.uint8)


def on_white(colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Return shares of colour (H, W, n) under alpha (H, W, 1), composited on white, as RGB of 8 bits."""
    mixed = colour * alpha + 1 - alpha
    return np.rint(np.broadcast_to(mixed, (H, W, 3)) * 255).astype(np.uint8)


# ---------------------------------------------------------------------- TIFF

Samples = tuple[str, np.ndarray, dict[str, object], np.ndarray | None, int]


def _greys() -> Iterator[Samples]:
    picture = shares(1)
    for photometric, word in ((t.BLACK_IS_ZERO, "black"), (t.WHITE_IS_ZERO, "white")):
        plain = picture if photometric else 1 - picture
        for bits in (1, 2, 4, 8, 12, 16, 32):
            values = levels(plain, bits)
            shown = grey(values[..., 0] / (2.0**bits - 1))
            shown = shown if photometric else 255 - shown
            # 32 bits have no agreed white: black and white are in the picture, so stretching agrees
            yield f"grey {bits} bit, {word} is zero", values, {"photometric": photometric, "bits": bits}, shown, 1
        for bits in (32, 64):
            values = plain.astype(f"f{bits // 8}")
            options = {"photometric": photometric, "bits": bits, "sample_format": t.FLOAT}
            yield f"grey float {bits}, {word} is zero", values, options, grey(picture[..., 0]), 1
        for bits in (8, 16, 32):
            top = 2 ** (bits - 1)
            values = np.rint(plain * (2 * top - 1) - top).astype(f"i{bits // 8}")
            options = {"photometric": photometric, "bits": bits, "sample_format": t.SIGNED}
            yield f"grey signed {bits}, {word} is zero", values, options, grey(picture[..., 0]), 1


def _grey_alphas() -> Iterator[Samples]:
    picture, alpha = shares(1), shares(1, seed=5)
    for photometric, word in ((t.BLACK_IS_ZERO, "black"), (t.WHITE_IS_ZERO, "white")):
        plain = picture if photometric else 1 - picture
        for bits, extra in itertools.product((8, 16), (0, 1, 2)):
            colour = plain * alpha if extra == 1 else plain
            values = np.concatenate([levels(colour, bits), levels(alpha, bits)], axis=2)
            shown = on_white(picture, alpha) if extra else grey(picture[..., 0])
            options = {"photometric": photometric, "bits": bits, "extra": [extra]}
            if extra == 1 and not photometric:
                shown = None  # what multiplying by alpha means where white is zero, nobody says
            yield f"grey {bits} bit, {word} is zero, extra {extra}", values, options, shown, 3


def _colours() -> Iterator[Samples]:
    picture, alpha = shares(3), shares(1, seed=5)
    for bits in (4, 8, 12, 16, 32):
        options = {"photometric": t.RGB, "bits": bits}
        shown = np.rint(picture * 255).astype(np.uint8)
        yield f"RGB {bits} bit", levels(picture, bits), options, shown, 1
    for bits, kind in itertools.product((8, 16), (0, 1, 2)):
        colour = picture * alpha if kind == 1 else picture
        values = np.concatenate([levels(colour, bits), levels(alpha, bits)], axis=2)
        shown = on_white(picture, alpha) if kind else np.rint(picture * 255).astype(np.uint8)
        options = {"photometric": t.RGB, "bits": bits, "extra": [kind]}
        yield f"RGB {bits} bit, extra {kind}", values, options, shown, 3
    for bits in (32, 64):
        options = {"photometric": t.RGB, "bits": bits, "sample_format": t.FLOAT}
        shown = np.rint(picture * 255).astype(np.uint8)
        yield f"RGB float {bits}", picture.astype(f"f{bits // 8}"), options, shown, 1
    options = {"photometric": t.RGB, "bits": 16, "sample_format": t.SIGNED}
    yield "RGB signed 16", np.rint(picture * 32767).astype("i2"), options, None, 1
    for count in (5, 7):
        many = levels(np.concatenate([picture, shares(count - 3, seed=9)], axis=2), 8)
        options = {"photometric": t.RGB, "bits": 8, "extra": [0] * (count - 3)}
        yield f"RGB 8 bit and {count - 3} bands", many, options, np.rint(picture * 255).astype(np.uint8), 1
    for count, bits in ((3, 16), (4, 8), (5, 16)):
        options = {"photometric": t.BLACK_IS_ZERO, "bits": bits, "extra": [0] * (count - 1)}
        yield f"{count} bands of {bits} bit, black is zero", levels(shares(count), bits), options, None, 1


def _inks() -> Iterator[Samples]:
    picture = shares(4)
    naive = (1 - picture[..., :3]) * (1 - picture[..., 3:])
    shown = np.rint(naive * 255).astype(np.uint8)
    for bits in (8, 16):
        yield f"CMYK {bits} bit", levels(picture, bits), {"photometric": t.CMYK, "bits": bits}, shown, 2
    values = np.concatenate([levels(picture, 8), levels(shares(1, seed=5), 8)], axis=2)
    yield "CMYK 8 bit, extra 0", values, {"photometric": t.CMYK, "bits": 8, "extra": [0]}, shown, 2


def _palettes() -> Iterator[Samples]:
    rng = np.random.default_rng(3)
    for bits, scale in itertools.product((1, 2, 4, 8, 16), (257, 1)):
        table = rng.integers(0, 256, (2**bits, 3))
        values = rng.integers(0, 2**bits, (H, W, 1)).astype("u2" if bits == 16 else "u1")
        options = {"photometric": t.PALETTE, "bits": bits, "palette": (table.T * scale).ravel().tolist()}
        yield (
            f"palette {bits} bit, entries of {16 if scale > 1 else 8} bit",
            values,
            options,
            table[values[..., 0]].astype(np.uint8),
            0,
        )


def _others() -> Iterator[Samples]:
    rng = np.random.default_rng(4)
    values = np.stack([rng.integers(60, 200, (H, W)) for _ in range(3)], axis=2).astype("u1")
    y, cb, cr = (values[..., n].astype(float) for n in range(3))
    rgb = np.stack(
        [y + 1.402 * (cr - 128), y - 0.344136 * (cb - 128) - 0.714136 * (cr - 128), y + 1.772 * (cb - 128)], axis=2
    )
    options = {"photometric": t.YCBCR, "bits": 8, "tags": {530: (3, [1, 1])}}
    yield "YCbCr 8 bit, 1 x 1", values, options, np.rint(rgb.clip(0, 255)).astype(np.uint8), 2
    lab = np.stack([levels(shares(1)[..., 0], 8), np.zeros((H, W)), np.zeros((H, W))], axis=2).astype("u1")
    lightness = lab[..., 0] / 255 * 100
    fy = (lightness + 16) / 116
    linear = np.where(fy > 6 / 29, fy**3, (fy - 4 / 29) * 3 * (6 / 29) ** 2)
    srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 1e-9) ** (1 / 2.4) - 0.055)
    yield "CIELab 8 bit", lab, {"photometric": t.CIELAB, "bits": 8}, grey(srgb), 3


def samples() -> Iterator[Samples]:
    """Yield all kinds of samples: name, values, options of `tiff.page`, pixels, and by how much they may differ."""
    for part in (_greys, _grey_alphas, _colours, _inks, _palettes, _others):
        yield from part()


def tiffs() -> Iterator[Layout]:
    """Yield every kind of samples in every arrangement."""
    arrangements = itertools.product("<>", (1, 2), t.CODECS, (1, 2, 3), (0, 16), (1, 2))
    for order, planar, compression, predictor, tile, fill_order in arrangements:
        for name, values, given, shown, by in samples():
            options = dict(given)
            photometric = options.pop("photometric")
            bits, real = options["bits"], options.get("sample_format") == t.FLOAT
            if planar == 2 and values.shape[2] == 1:
                continue
            if predictor > 1 and (compression not in (t.DEFLATE, t.LZW, t.ZSTD, t.LZMA)):
                continue
            if (predictor == 2 and (real or bits not in (8, 16, 32))) or (predictor == 3 and not real):
                continue
            if fill_order == 2 and (bits > 8 or compression != t.NONE or predictor > 1):
                continue
            arrangement = (
                f"{'little' if order == '<' else 'big'} endian, {('chunky', 'planar')[planar - 1]}, "
                f"compression {compression}, predictor {predictor}, {'tiles' if tile else 'strips'}, fill {fill_order}"
            )
            data = t.tiff(
                values, photometric, order=order, planar=planar, compression=compression, predictor=predictor,
                tile=tile, fill_order=fill_order, **options,
            )  # fmt: skip
            yield Layout(f"TIFF {name}; {arrangement}", f"TIFF {name}", data, shown, by)
