"""Known pixel values through every mode; the oracles are computed by hand or by numpy."""

import io
import logging
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from toolkit.images import pixels as imagepixels
from toolkit.images.decode import decode_image
from toolkit.images.pixels import to_grey8, to_rgb

Pixels = list[tuple[int, int, int]]


def encode(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def pixels(data: bytes) -> Pixels:
    return rows_of(decode_image(data).rgb)


def rows_of(image: Image.Image) -> Pixels:
    assert image.mode == "RGB"
    return [tuple(int(v) for v in pixel) for pixel in np.asarray(image).reshape(-1, 3)]


def grey(*values: int) -> Pixels:
    return [(value, value, value) for value in values]


def png(width: int, height: int, depth: int, colour: int, rows: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """Write a PNG by hand: Pillow cannot write 2- and 4-bit grey or 16-bit RGB."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = b"".join(chunk(*part) for part in chunks)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + body
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


# ---------------------------------------------------------------------- ICC profiles made by hand


def icc(space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    """Write an ICC version 2 profile (ICC.1:2001-04, 6.1)."""
    d50 = struct.pack(">3i", 63190, 65536, 54061)
    table, bodies = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for name, unpadded in tags.items():
        body = unpadded + b"\0" * (-len(unpadded) % 4)
        table += name + struct.pack(">2I", start + len(bodies), len(body))
        bodies += body
    header = struct.pack(">I4sI4s4s4s12s4s", 0, b"lcms", 0x02100000, b"mntr", space, connection, b"", b"acsp")
    header = header.ljust(68, b"\0") + d50
    profile = header.ljust(128, b"\0") + table + bodies
    return struct.pack(">I", len(profile)) + profile[4:]


def xyz(x: float, y: float, z: float) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(v * 65536) for v in (x, y, z)))


IDENTITY_CURVE = b"curv\0\0\0\0\0\0\0\0"
# sRGB's primaries adapted to D50 (IEC 61966-2-1, Bradford)
PRIMARIES = {
    b"rXYZ": xyz(0.43607, 0.22249, 0.01392),
    b"gXYZ": xyz(0.38515, 0.71687, 0.09708),
    b"bXYZ": xyz(0.14307, 0.06061, 0.71410),
}
CURVES = {b"rTRC": IDENTITY_CURVE, b"gTRC": IDENTITY_CURVE, b"bTRC": IDENTITY_CURVE}
LINEAR_RGB = icc(b"RGB ", b"XYZ ", {b"wtpt": xyz(0.9642, 1, 0.8249), **PRIMARIES, **CURVES})
LINEAR_GREY = icc(b"GRAY", b"XYZ ", {b"wtpt": xyz(0.9642, 1, 0.8249), b"kTRC": IDENTITY_CURVE})


def only_black_ink_prints() -> bytes:
    """Return a CMYK profile in which cyan, magenta and yellow leave the paper white."""
    ramp = bytes(range(256))
    corners = b"".join(
        bytes((0 if corner & 1 else 255, 128, 128)) for corner in range(16)
    )  # K varies fastest
    identity = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    lut = b"mft1\0\0\0\0" + bytes((4, 3, 2, 0)) + identity + ramp * 4 + corners + ramp * 3
    return icc(b"CMYK", b"Lab ", {b"wtpt": xyz(0.9642, 1, 0.8249), b"A2B0": lut})


def srgb_of_linear(value: int) -> int:
    """Return the sRGB encoding (IEC 61966-2-1) of a linear 8-bit value."""
    share = value / 255
    return round(255 * (12.92 * share if share <= 0.0031308 else 1.055 * share ** (1 / 2.4) - 0.055))


def assert_close(got: Pixels, wanted: Pixels, by: int = 1) -> None:
    assert np.abs(np.array(got, dtype=int) - np.array(wanted, dtype=int)).max() <= by, (got, wanted)


# ---------------------------------------------------------------------- 8 bits and fewer


def test_rgb_is_untouched() -> None:
    values = np.random.default_rng(0).integers(0, 256, (7, 5, 3), dtype=np.uint8)
    decoded = decode_image(encode(Image.fromarray(values)))
    assert np.array_equal(np.asarray(decoded.rgb), values)
    assert (decoded.width, decoded.height, decoded.mode) == (5, 7, "RGB")


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF", "GIF", "PPM", "TGA"])
def test_grey_has_three_equal_channels(format: str) -> None:
    image = Image.fromarray(np.array([[0, 1, 127, 255]], dtype=np.uint8))
    assert pixels(encode(image, format)) == grey(0, 1, 127, 255)


def test_one_bit_is_black_and_white() -> None:
    image = Image.new("1", (2, 1))
    image.putpixel((1, 0), 1)
    data = encode(image)
    assert pixels(data) == grey(0, 255)
    assert decode_image(data).mode == "1"


def palette_image() -> Image.Image:
    image = Image.new("P", (3, 1))
    image.putpalette([10, 20, 30, 200, 100, 0, 0, 0, 255])
    for x in range(3):
        image.putpixel((x, 0), x)
    return image


def test_palette() -> None:
    data = encode(palette_image())
    assert pixels(data) == [(10, 20, 30), (200, 100, 0), (0, 0, 255)]
    assert decode_image(data).mode == "P"


@pytest.mark.parametrize("format", ["PNG", "GIF"])
def test_palette__one_transparent_entry_is_white(format: str) -> None:
    assert pixels(encode(palette_image(), format, transparency=1)) == [
        (10, 20, 30),
        (255, 255, 255),
        (0, 0, 255),
    ]


def test_palette__entries_of_any_alpha() -> None:
    # 255 * (1 - a) + c * a for a = 0, 51 / 255 = .2 and 1
    data = encode(palette_image(), transparency=bytes((0, 51, 255)))
    assert pixels(data) == [(255, 255, 255), (244, 224, 204), (0, 0, 255)]


# ---------------------------------------------------------------------- alpha


def test_rgba_is_composited_on_white() -> None:
    image = Image.new("RGBA", (4, 1))
    for x, alpha in enumerate((0, 51, 204, 255)):
        image.putpixel((x, 0), (100, 0, 255, alpha))
    # 100 -> 255 - 155 a, 0 -> 255 - 255 a
    assert pixels(encode(image)) == [(255, 255, 255), (224, 204, 255), (131, 51, 255), (100, 0, 255)]


@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF"])
def test_transparent_rgba_is_white_whatever_colour_it_hides(format: str) -> None:
    options = {"lossless": True} if format == "WEBP" else {}
    assert pixels(encode(Image.new("RGBA", (1, 1), (90, 10, 200, 0)), format, **options)) == grey(255)


def test_la_is_composited_on_white() -> None:
    image = Image.new("LA", (3, 1))
    for x, alpha in enumerate((0, 51, 255)):
        image.putpixel((x, 0), (55, alpha))
    assert pixels(encode(image)) == grey(255, 215, 55)


def test_premultiplied_modes() -> None:
    straight = Image.new("RGBA", (1, 1), (100, 0, 250, 51))
    assert_close(rows_of(to_rgb(straight.convert("RGBa"))), [(224, 204, 254)], by=2)
    assert_close(rows_of(to_rgb(Image.new("LA", (1, 1), (55, 51)).convert("La"))), grey(215), by=2)


def test_palette_with_alpha_channel() -> None:
    image = Image.merge("PA", (palette_image(), Image.fromarray(np.array([[0, 51, 255]], dtype=np.uint8))))
    image.putpalette([10, 20, 30, 200, 100, 0, 0, 0, 255])
    assert rows_of(to_rgb(image)) == [(255, 255, 255), (244, 224, 204), (0, 0, 255)]


def test_transparent_colour__grey_and_rgb() -> None:
    image = Image.fromarray(np.array([[7, 8]], dtype=np.uint8))
    assert pixels(encode(image, transparency=7)) == grey(255, 8)
    image = Image.new("RGB", (2, 1), (1, 2, 3))
    image.putpixel((1, 0), (1, 2, 4))
    assert pixels(encode(image, transparency=(1, 2, 3))) == [(255, 255, 255), (1, 2, 4)]


def test_transparent_colour__one_bit() -> None:
    image = Image.new("1", (2, 1), 0)
    image.putpixel((1, 0), 1)
    assert pixels(encode(image, transparency=0)) == grey(255, 255)


@pytest.mark.parametrize(
    ("depth", "row", "shown"),
    [
        (4, b"\0\x3f", (255, 255)),
        (4, b"\0\x24", (34, 68)),
        (2, b"\0\xc0", (255, 0)),
        (2, b"\0\x60", (85, 170)),
    ],
)
def test_transparent_colour__two_and_four_bit_grey(depth: int, row: bytes, shown: tuple[int, int]) -> None:
    # the transparent grey is 3: white paper in 4 bits; in 2 bits 3 is white anyway
    assert pixels(png(2, 1, depth, 0, row, (b"tRNS", b"\0\3"))) == grey(*shown)


def test_transparent_colour__black_of_two_bit_grey() -> None:
    assert pixels(png(2, 1, 2, 0, b"\0\x10", (b"tRNS", b"\0\1"))) == grey(0, 255)


def test_transparent_colour__sixteen_bit_rgb() -> None:
    row = b"\0" + struct.pack(">6H", 0x1234, 0x80FF, 0xFFFF, 0x1334, 0x80FF, 0xFFFF)
    data = png(2, 1, 16, 2, row, (b"tRNS", struct.pack(">3H", 0x1234, 0x80FF, 0xFFFF)))
    assert pixels(data) == [(255, 255, 255), (0x13, 0x80, 0xFF)]


def test_transparent_colour__sixteen_bit_grey() -> None:
    row = b"\0" + struct.pack(">3H", 1000, 1001, 65535)
    data = png(3, 1, 16, 0, row, (b"tRNS", struct.pack(">H", 1000)))
    assert pixels(data) == grey(255, 4, 255)


# ---------------------------------------------------------------------- more than 8 bits


SIXTEEN = [0, 1, 128, 129, 257, 385, 386, 32896, 65406, 65407, 65535]


@pytest.mark.parametrize("format", ["PNG", "TIFF", "PPM"])
def test_sixteen_bit_grey_is_divided_by_257(format: str) -> None:
    image = Image.fromarray(np.array([SIXTEEN], dtype=np.uint16))
    data = encode(image, format)
    assert decode_image(data).mode in ("I;16", "I")  # Pillow reads a 16-bit PGM as I
    assert pixels(data) == grey(*(round(value / 257) for value in SIXTEEN))


def test_sixteen_bit_grey__big_endian() -> None:
    image = Image.frombytes("I;16B", (2, 1), struct.pack(">2H", 257, 65535))
    assert rows_of(to_rgb(image)) == grey(1, 255)


def test_sixteen_bit_colour_keeps_the_high_byte() -> None:
    assert pixels(png(1, 1, 16, 2, b"\0" + struct.pack(">3H", 0, 0x80FF, 0xFFFF))) == [(0, 128, 255)]


def test_integers_within_16_bits_are_16_bit_grey() -> None:
    image = Image.fromarray(np.array([[0, 257, 25700]], dtype=np.int32))
    assert pixels(encode(image, "TIFF")) == grey(0, 1, 100)


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([0, 65536, 131072], [0, 128, 255]),
        ([-100, 0, 100], [0, 128, 255]),
        ([70000, 70000, 70000], [0, 0, 0]),
        ([-(2**31), 0, 2**31 - 1], [0, 128, 255]),
    ],
)
def test_other_integers_are_stretched(values: list[int], shown: list[int]) -> None:
    assert pixels(encode(Image.fromarray(np.array([values], dtype=np.int32)), "TIFF")) == grey(*shown)


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([0.0, 0.2, 1.0], [0, 51, 255]),
        ([0.0, 0.1, 0.2], [0, 26, 51]),
        ([0.0, 1.4, 255.0], [0, 1, 255]),
        ([-1.0, 0.0, 4.0], [0, 51, 255]),
        ([0.0, 500.0, 1000.0], [0, 128, 255]),
        ([np.nan, np.inf, -np.inf], [0, 255, 0]),
        ([np.nan, 0.2, np.inf], [0, 51, 255]),
        ([-7.0, -7.0, np.inf], [0, 0, 0]),
    ],
)
def test_floats(values: list[float], shown: list[int]) -> None:
    image = Image.fromarray(np.array([values], dtype=np.float32))
    assert pixels(encode(image, "TIFF")) == grey(*shown)


def test_to_grey8__every_16_bit_value() -> None:
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    assert np.array_equal(to_grey8(values), np.rint(values / 257.0))


# ---------------------------------------------------------------------- colour


def test_cmyk_without_profile_is_converted_plainly() -> None:
    image = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    data = encode(image, "JPEG", quality=100)
    assert decode_image(data).mode == "CMYK"
    assert_close(pixels(data), [(255, 0, 0)] * 256, by=2)


@pytest.mark.parametrize("format", ["JPEG", "TIFF"])
def test_cmyk_goes_through_its_profile(format: str) -> None:
    profile = only_black_ink_prints()
    for ink, shown in (((255, 0, 0, 0), 255), ((0, 200, 30, 0), 255), ((0, 0, 0, 255), 0)):
        data = encode(Image.new("CMYK", (8, 8), ink), format, icc_profile=profile, quality=100)
        assert_close(pixels(data), grey(shown) * 64, by=2)


def test_rgb_goes_through_its_profile() -> None:
    levels = (0, 10, 64, 128, 200, 255)
    values = np.array([[(v, 0, 255 - v) for v in levels]], dtype=np.uint8)
    wanted = [(srgb_of_linear(v), 0, srgb_of_linear(255 - v)) for v in levels]
    assert_close(pixels(encode(Image.fromarray(values), icc_profile=LINEAR_RGB)), wanted)


def test_palette_goes_through_the_profile() -> None:
    wanted = [tuple(srgb_of_linear(v) for v in rgb) for rgb in ((10, 20, 30), (200, 100, 0), (0, 0, 255))]
    assert_close(pixels(encode(palette_image(), icc_profile=LINEAR_RGB)), wanted)


def test_alpha_is_composited_after_the_profile() -> None:
    image = Image.new("RGBA", (1, 1), (64, 64, 64, 51))
    wanted = round(255 * 0.8 + srgb_of_linear(64) * 0.2)
    assert_close(pixels(encode(image, icc_profile=LINEAR_RGB)), grey(wanted))


def test_grey_and_grey_alpha_go_through_a_grey_profile() -> None:
    image = Image.fromarray(np.array([[0, 20, 128, 255]], dtype=np.uint8))
    wanted = [srgb_of_linear(v) for v in (0, 20, 128, 255)]
    assert_close(pixels(encode(image, icc_profile=LINEAR_GREY)), grey(*wanted))
    assert_close(
        pixels(encode(Image.new("LA", (1, 1), (128, 255)), icc_profile=LINEAR_GREY)), grey(wanted[2])
    )


def test_sixteen_bit_grey_goes_through_a_grey_profile() -> None:
    image = Image.fromarray(np.array([[128 * 257]], dtype=np.uint16))
    assert_close(pixels(encode(image, icc_profile=LINEAR_GREY)), grey(srgb_of_linear(128)))


def srgb_profile() -> bytes:
    from PIL import ImageCms

    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def test_srgb_profile_changes_nothing_and_costs_no_transform(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(1).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    data = encode(Image.fromarray(values), icc_profile=srgb_profile())
    decode_image(data)

    def never(*args: object, **kwargs: object) -> None:
        raise AssertionError("a transform was applied")

    monkeypatch.setattr(imagepixels.ImageCms, "applyTransform", never)
    assert np.array_equal(np.asarray(decode_image(data).rgb), values)


def test_transforms_are_built_once_and_the_oldest_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    built = []

    def build(source: object, target: object, mode: str, *rest: object) -> None:
        built.append(mode)
        raise imagepixels.ImageCms.PyCMSError("never mind")

    imagepixels._transform.cache_clear()
    monkeypatch.setattr(imagepixels.ImageCms, "buildTransform", build)
    for profile, mode in ((LINEAR_RGB, "RGB"), (LINEAR_GREY, "L"), (bytes(bytearray(LINEAR_RGB)), "RGB")):
        imagepixels._transform(profile, mode)
    imagepixels._transform(LINEAR_RGB, "CMYK")
    assert built == ["RGB", "L", "CMYK"]
    for number in range(100):
        imagepixels._transform(b"%d" % number, "RGB")
    imagepixels._transform(LINEAR_RGB, "RGB")
    assert built == ["RGB", "L", "CMYK", "RGB"]
    imagepixels._transform.cache_clear()


def test_threads_share_a_transform() -> None:
    rng = np.random.default_rng(3)
    pictures = [Image.fromarray(rng.integers(0, 256, (50, 50, 3), dtype=np.uint8)) for _ in range(16)]
    data = [encode(picture, icc_profile=LINEAR_RGB) for picture in pictures]
    serial = [np.asarray(decode_image(one).rgb) for one in data]
    with ThreadPoolExecutor(8) as pool:
        parallel = list(pool.map(lambda one: np.asarray(decode_image(one).rgb), data * 4))
    assert all(np.array_equal(got, serial[i % 16]) for i, got in enumerate(parallel))


@pytest.mark.parametrize(
    ("mode", "profile"),
    [
        ("RGB", b"not a profile"),
        ("RGB", LINEAR_RGB[:200]),
        ("RGB", LINEAR_GREY),
        ("L", LINEAR_RGB),
        ("CMYK", LINEAR_RGB),
    ],
    ids=["rubbish", "cut off", "grey for RGB", "RGB for grey", "RGB for CMYK"],
)
def test_unusable_profile_means_plain_conversion(
    mode: str, profile: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    imagepixels._transform.cache_clear()
    image = Image.fromarray(np.random.default_rng(2).integers(0, 256, (4, 4, 3), dtype=np.uint8)).convert(
        mode
    )
    with caplog.at_level(logging.INFO, logger="toolkit.images.pixels"):
        got = pixels(encode(image, "TIFF", icc_profile=profile))
    assert got == rows_of(image.convert("RGB"))
    assert f"a {mode} colour profile cannot be used" in caplog.text


def test_lab() -> None:
    # L* = 128 / 255 * 100, a* = b* = 0: linear Y = ((L* + 16) / 116) ** 3 = .185, sRGB .468 * 255 = 119
    image = Image.new("LAB", (1, 1), (128, 128, 128))  # Pillow keeps a* and b* plus 128
    assert_close(pixels(encode(image, "TIFF")), grey(119), by=1)


@pytest.mark.parametrize("mode", ["YCbCr", "HSV", "RGBX"])
def test_other_colour_spaces(mode: str) -> None:
    image = Image.new("RGB", (1, 1), (200, 40, 90)).convert(mode)
    assert_close(rows_of(to_rgb(image)), [(200, 40, 90)], by=3)


# ---------------------------------------------------------------------- orientation


def turned(values: np.ndarray, orientation: int) -> np.ndarray:
    """Return rows x columns as EXIF says they are to be shown (TIFF 6.0, Orientation)."""
    return {
        1: values,
        2: values[:, ::-1],
        3: values[::-1, ::-1],
        4: values[::-1],
        5: values.transpose(1, 0, 2),
        6: np.rot90(values, -1),
        7: values[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(values, 1),
    }[orientation]


FORMATS = [
    ("PNG", {}),
    ("WEBP", {"lossless": True}),
    ("TIFF", {}),
    ("TIFF", {"compression": "tiff_lzw"}),
    ("AVIF", {"quality": 100, "subsampling": "4:4:4"}),
    ("JPEG", {"quality": 100, "subsampling": 0}),
]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("format", "options"), FORMATS, ids=["png", "webp", "tiff", "tiff-lzw", "avif", "jpeg"]
)
def test_exif_orientation(format: str, options: dict[str, object], orientation: int) -> None:
    values = np.zeros((16, 32, 3), dtype=np.uint8)
    values[:8, :8], values[8:, 16:] = (250, 10, 10), (10, 10, 250)
    exif = Image.Exif()
    exif[274] = orientation
    decoded = decode_image(encode(Image.fromarray(values), format, exif=exif, **options))
    wanted = turned(values, orientation)
    assert (decoded.height, decoded.width) == wanted.shape[:2]
    assert np.abs(np.asarray(decoded.rgb, dtype=int) - wanted).max() <= (
        8 if format in ("AVIF", "JPEG") else 0
    )


def test_turning_twice_is_impossible() -> None:
    from PIL import ImageOps

    exif = Image.Exif()
    exif[274] = 6
    rgb = decode_image(encode(Image.new("RGB", (2, 5)), exif=exif)).rgb
    assert rgb.info == {}
    assert ImageOps.exif_transpose(rgb).size == rgb.size == (5, 2)


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_orientation_out_of_range_is_ignored(value: int) -> None:
    exif = Image.Exif()
    exif[274] = value
    assert decode_image(encode(Image.new("RGB", (2, 5)), exif=exif)).rgb.size == (2, 5)


@pytest.mark.parametrize(
    "block",
    [b"Exif\0\0", b"Exif\0\0rubbish", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff", b"Exif\0\0II*\0\xff\xff\xff\xff"],
)
def test_broken_exif_is_ignored_and_the_picture_kept(block: bytes, recwarn: pytest.WarningsRecorder) -> None:
    data = encode(Image.new("RGB", (8, 8), (200, 0, 0)), "JPEG", exif=block, quality=100)
    assert_close(pixels(data), [(200, 0, 0)] * 64, by=3)
    assert not recwarn.list


# ---------------------------------------------------------------------- first frames


@pytest.mark.parametrize(
    ("format", "options"),
    [("GIF", {}), ("WEBP", {"lossless": True}), ("PNG", {}), ("TIFF", {})],
    ids=["gif", "webp", "apng", "multi-page tiff"],
)
def test_first_frame_of_several(format: str, options: dict[str, object]) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ((255, 0, 0), (0, 255, 0), (0, 0, 255))]
    data = encode(frames[0], format, save_all=True, append_images=frames[1:], **options)
    assert pixels(data) == [(255, 0, 0)] * 16
