"""The layouts that are tried: for each a file, and the pixels that a viewer shows."""

import itertools
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from tests.layouts import bmp as b
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
    samples: np.ndarray | None = field(default=None, repr=False)  # as stored in a TIFF

    @property
    def stretched(self) -> bool:
        """Whether the values have no agreed white, and are stretched from the least to the greatest."""
        return any(word in self.kind for word in ("signed", "float", "32 bit")) and "TIFF" in self.kind


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
            yield (
                f"grey {bits} bit, {word} is zero",
                values,
                {"photometric": photometric, "bits": bits},
                shown,
                1,
            )
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
        [y + 1.402 * (cr - 128), y - 0.344136 * (cb - 128) - 0.714136 * (cr - 128), y + 1.772 * (cb - 128)],
        axis=2,
    )
    options = {"photometric": t.YCBCR, "bits": 8, "tags": {530: (3, [1, 1])}}
    yield "YCbCr 8 bit, 1 x 1", values, options, np.rint(rgb.clip(0, 255)).astype(np.uint8), 2
    lab = np.stack([levels(shares(1)[..., 0], 8), np.zeros((H, W)), np.zeros((H, W))], axis=2).astype("u1")
    lightness = lab[..., 0] / 255 * 100
    fy = (lightness + 16) / 116
    linear = np.where(fy > 6 / 29, fy**3, (fy - 4 / 29) * 3 * (6 / 29) ** 2)
    srgb = np.where(
        linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 1e-9) ** (1 / 2.4) - 0.055
    )
    yield "CIELab 8 bit", lab, {"photometric": t.CIELAB, "bits": 8}, grey(srgb), 3


def samples() -> Iterator[Samples]:
    """Yield all kinds of samples: name, values, options of `tiff.page`, pixels, and their tolerance."""
    for part in (_greys, _grey_alphas, _colours, _inks, _palettes, _others):
        yield from part()


def tiffs() -> Iterator[Layout]:
    """Yield every kind of samples in every arrangement."""
    arrangements = itertools.product("<>", (1, 2), t.CODECS, (1, 2, 3), (0, 16), (1, 2))
    kinds = list(samples())
    for order, planar, compression, predictor, tile, fill_order in arrangements:
        for name, values, given, shown, by in kinds:
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
                f"{'little' if order == '<' else 'big'} endian, "
                f"{('chunky', 'planar')[planar - 1]}, "
                f"compression {compression}, predictor {predictor}, "
                f"{'tiles' if tile else 'strips'}, fill {fill_order}"
            )
            data = t.tiff(
                values, photometric, order=order, planar=planar, compression=compression, predictor=predictor,
                tile=tile, fill_order=fill_order, **options,
            )  # fmt: skip
            yield Layout(f"TIFF {name}; {arrangement}", f"TIFF {name}", data, shown, by, values)


# ---------------------------------------------------------------------- BMP


def _bmp(
    name: str, values: np.ndarray, bits: int, shown: np.ndarray | None, by: int = 0, **options: object
) -> Layout:
    top_down = bool(options.get("top_down"))
    rle = options.get("compression") in (b.RLE4, b.RLE8)
    pixels = b.rle(values, bits) if rle else b.rows_of(values, bits, top_down=top_down)
    arrangement = f"header {options.get('header', 40)}, {'top down' if top_down else 'bottom up'}"
    return Layout(
        f"BMP {name}; {arrangement}", f"BMP {name}", b.bmp(pixels, W, H, bits, **options), shown, by
    )


def _bmp_palettes() -> Iterator[Layout]:
    rng = np.random.default_rng(6)
    for bits, count in ((1, 2), (2, 4), (4, 16), (4, 7), (4, 2), (8, 256), (8, 16), (8, 2)):
        ramp = np.linspace(0, 255, count).round()
        tables = {
            "colours": rng.integers(0, 256, (count, 3)),
            "greys": np.repeat(ramp[:, None], 3, axis=1),
            "greys that count": np.repeat(np.arange(count)[:, None], 3, axis=1),
            "greys backwards": np.repeat(ramp[::-1, None], 3, axis=1),
        }
        for (word, table), header, top_down in itertools.product(
            tables.items(), (12, 40, 108, 124), (False, True)
        ):
            if header == 12 and (top_down or count != 2**bits):
                continue
            values = rng.integers(0, count, (H, W)).astype("u1")
            values[0, 0], values[-1, -1] = 0, count - 1
            shown = table[values].astype(np.uint8)
            name = f"palette {bits} bit, {count} {word}"
            yield _bmp(name, values, bits, shown, header=header, palette=table, top_down=top_down)
            if bits >= 4 and not top_down and header == 40:
                kind = b.RLE4 if bits == 4 else b.RLE8
                yield _bmp(
                    f"{name}, runs", values, bits, shown, header=header, palette=table, compression=kind
                )


def _bmp_colours() -> Iterator[Layout]:
    picture, alpha = shares(3), shares(1, seed=5)[..., 0]
    channels = [picture[..., n] for n in range(3)]
    plain = np.rint(picture * 255).astype(np.uint8)
    usual = {16: (0x7C00, 0x3E0, 0x1F), 24: (0xFF0000, 0xFF00, 0xFF), 32: (0xFF0000, 0xFF00, 0xFF)}
    for (bits, masks), header, top_down in itertools.product(
        usual.items(), (12, 40, 108, 124), (False, True)
    ):
        if header == 12 and (bits != 24 or top_down):
            continue
        by = 8 if bits == 16 else 1
        yield _bmp(
            f"RGB {bits} bit", b.masked(channels, masks), bits, plain, by, header=header, top_down=top_down
        )
    several = (
        (16, (0xF800, 0x7E0, 0x1F), 0), (16, (0x7C00, 0x3E0, 0x1F), 0), (16, (0xF00, 0xF0, 0xF), 0),
        (16, (0xF00, 0xF0, 0xF), 0xF000), (16, (0x7C00, 0x3E0, 0x1F), 0x8000),
        (32, (0xFF0000, 0xFF00, 0xFF), 0), (32, (0xFF, 0xFF00, 0xFF0000), 0),
        (32, (0xFF000000, 0xFF0000, 0xFF00), 0),
        (32, (0xFF0000, 0xFF00, 0xFF), 0xFF000000), (32, (0xFF, 0xFF00, 0xFF0000), 0xFF000000),
        (32, (0xFF000000, 0xFF0000, 0xFF00), 0xFF), (32, (0x3FF00000, 0xFFC00, 0x3FF), 0),
        (32, (0xFF000000, 0xFF00, 0xFF), 0xFF0000), (32, (0xFF000000, 0xFF00, 0xFF), 0),
    )  # fmt: skip
    for (bits, masks, mask), header in itertools.product(several, (40, 52, 56, 108, 124)):
        if mask and header in (40, 52):
            continue
        values = b.masked([*channels, alpha] if mask else channels, [*masks, mask] if mask else masks)
        shown = on_white(picture, alpha[..., None]) if mask else plain
        if mask == 0x8000:
            shown = on_white(picture, np.rint(alpha)[..., None])
        name = f"bitfields {bits} bit {' '.join(f'{value:x}' for value in (*masks, mask))}"
        fields = [*masks, mask] if header > 52 else masks
        by = 18 if bits == 16 else 2
        yield _bmp(name, values, bits, shown, by, header=header, compression=b.BITFIELDS, masks=fields)


def bmps() -> Iterator[Layout]:
    """Yield BMPs of all depths, headers, palettes and masks."""
    yield from _bmp_palettes()
    yield from _bmp_colours()


# ---------------------------------------------------------------------- PNG


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


_PASSES = ((0, 8, 0, 8), (0, 8, 4, 8), (4, 8, 0, 4), (0, 4, 2, 4), (2, 4, 0, 2), (0, 2, 1, 2), (1, 2, 0, 1))


def png(
    samples: np.ndarray, bits: int, colour: int, *chunks: tuple[bytes, bytes], interlaced: bool = False
) -> bytes:
    """Return a PNG of samples (H, W, n), unfiltered; interlaced by Adam7 if asked for."""
    passes = [samples]
    if interlaced:
        passes = [samples[top::down, left::right] for top, down, left, right in _PASSES]
    rows = b""
    for part in passes:
        if part.size:
            lines = t.packed(part.reshape(len(part), -1), bits, ">")
            size = len(lines) // len(part)
            rows += b"".join(b"\0" + lines[start : start + size] for start in range(0, len(lines), size))
    header = struct.pack(">IIBBBBB", samples.shape[1], samples.shape[0], bits, colour, 0, 0, int(interlaced))
    body = [chunk(b"IHDR", header), *(chunk(*part) for part in chunks)]
    return b"\x89PNG\r\n\x1a\n" + b"".join([*body, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")])


def pngs() -> Iterator[Layout]:
    """Yield PNGs of all colour types and depths, with and without transparency, interlaced or not."""
    rng = np.random.default_rng(8)
    for interlaced in (False, True):
        end = "; interlaced" if interlaced else "; plain"
        for bits in (1, 2, 4, 8, 16):
            picture = shares(1)
            values = levels(picture, bits)
            shown = grey(values[..., 0] / (2.0**bits - 1))
            yield Layout(
                f"PNG grey {bits}{end}",
                f"PNG grey {bits}",
                png(values, bits, 0, interlaced=interlaced),
                shown,
            )
            key = int(values[5, 5, 0])
            clear = np.where(values == key, 255, shown).astype(np.uint8)
            name = f"PNG grey {bits}, transparent colour"
            chunk = (b"tRNS", struct.pack(">H", key))
            yield Layout(name + end, name, png(values, bits, 0, chunk, interlaced=interlaced), clear)
            if bits == 16:
                continue
            table = rng.integers(0, 256, (2**bits, 3))
            indices = rng.integers(0, 2**bits, (H, W, 1)).astype("u1")
            palette = (b"PLTE", table.astype("u1").tobytes())
            shown = table[indices[..., 0]].astype(np.uint8)
            yield Layout(
                f"PNG palette {bits}{end}",
                f"PNG palette {bits}",
                png(indices, bits, 3, palette, interlaced=interlaced),
                shown,
            )
            alpha = rng.integers(0, 256, (2**bits, 1))
            name, chunk = f"PNG palette {bits}, transparent entries", (b"tRNS", alpha.astype("u1").tobytes())
            mixed = on_white((table / 255)[indices[..., 0]], (alpha / 255)[indices[..., 0]])
            yield Layout(
                name + end, name, png(indices, bits, 3, palette, chunk, interlaced=interlaced), mixed
            )
        for bits, (colours, alphas, colour) in itertools.product((8, 16), ((3, 0, 2), (1, 1, 4), (3, 1, 6))):
            picture, alpha = shares(colours), shares(1, seed=5)
            values = levels(np.concatenate([picture, alpha], axis=2) if alphas else picture, bits)
            shown = on_white(picture, alpha if alphas else np.ones_like(alpha))
            name = f"PNG colour type {colour}, {bits} bit"
            yield Layout(name + end, name, png(values, bits, colour, interlaced=interlaced), shown, 2)
            if colour == 2:
                key = values[5, 5]
                clear = np.where((values == key).all(axis=2, keepdims=True), 255, shown).astype(np.uint8)
                chunk = (b"tRNS", struct.pack(">3H", *map(int, key)))
                name += ", transparent colour"
                yield Layout(name + end, name, png(values, bits, 2, chunk, interlaced=interlaced), clear, 2)


# ---------------------------------------------------------------------- GIF


def gif(
    indices: np.ndarray,
    table: np.ndarray,
    screen: tuple[int, int],
    place: tuple[int, int],
    *,
    key: int | None = None,
    local: bool = False,
    interlaced: bool = False,
    background: int = 0,
) -> bytes:
    """Return a GIF of one frame at `place` of its screen, its codes not compressed; 128 colours."""
    height, width = indices.shape
    if interlaced:
        starts = ((0, 8), (4, 8), (2, 4), (1, 2))
        indices = np.concatenate([indices[first::step] for first, step in starts])
    # a clear code before every 100 indices keeps all codes at 8 bits
    codes: list[int] = []
    for number, index in enumerate(indices.ravel().tolist()):
        codes += [128] * (number % 100 == 0) + [index]
    data = bytes([*codes, 129])
    blocks = b"".join(bytes([len(data[n : n + 255])]) + data[n : n + 255] for n in range(0, len(data), 255))
    colours = table.astype("u1").tobytes()
    other = (255 - table).astype("u1").tobytes()
    control = b"" if key is None else b"!\xf9\4\1\0\0" + bytes([key, 0])
    flags = (0x86 if local else 0) | (0x40 if interlaced else 0)
    frame = b"," + struct.pack("<4HB", *place, width, height, flags) + (colours if local else b"")
    head = b"GIF89a" + struct.pack("<2HBBB", *screen, 0xF6, background, 0) + (other if local else colours)
    return head + control + frame + b"\7" + blocks + b"\0;"


def gifs() -> Iterator[Layout]:
    """Yield GIFs: frames that fill the screen or not, keys, tables of their own, interlacing."""
    rng = np.random.default_rng(12)
    table = rng.integers(0, 256, (128, 3))
    for key, local, interlaced in itertools.product((None, 3), (False, True), (False, True)):
        indices = rng.integers(0, 128, (H, W))
        indices[2, 2] = 3
        shown = table[indices].astype(np.uint8)
        if key is not None:
            shown[indices == key] = 255
        name = f"GIF {'own' if local else 'common'} table, {'a key' if key else 'no key'}"
        data = gif(indices, table, (W, H), (0, 0), key=key, local=local, interlaced=interlaced)
        yield Layout(f"{name}; {'interlaced' if interlaced else 'plain'}", name, data, shown, 0)


# ---------------------------------------------------------------------- what is tried


FAMILIES = {"TIFF": tiffs, "BMP": bmps, "PNG": pngs, "GIF": gifs}
