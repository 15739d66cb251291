"""Every layout of samples gives the pixels that were written, or an error that says what it is."""

import numpy as np
import PIL
import pytest

from tests.layouts import bmp, grid, tiff
from toolkit.errors import ImageError
from toolkit.images.decode import decode_image

SHORT, LONG = 3, 4

# kinds that nothing here reads; all others must be right in at least one arrangement
REFUSED = (
    *(f"TIFF grey signed {bits}, white is zero" for bits in (8, 16, 32)),
    *(f"TIFF grey 16 bit, {word} is zero, extra {n}" for word in ("black", "white") for n in (1, 2)),
    "TIFF grey 8 bit, white is zero, extra 1",
    *(f"TIFF RGB {kind}" for kind in ("4 bit", "12 bit", "32 bit", "float 32", "float 64", "signed 16")),
    *(f"TIFF {n} bands of {bits} bit, black is zero" for n, bits in ((3, 16), (4, 8), (5, 16))),
    *(f"TIFF palette 16 bit, entries of {bits} bit" for bits in (8, 16)),
    *(f"BMP palette 2 bit, 4 {word}" for word in ("colours", "greys", "greys that count", "greys backwards")),
    *(f"BMP bitfields 16 bit f00 f0 f {alpha}" for alpha in ("0", "f000")),
    "BMP bitfields 16 bit 7c00 3e0 1f 8000",
    *(f"BMP bitfields 32 bit {masks} 0" for masks in ("ff ff00 ff0000", "3ff00000 ffc00 3ff")),
)


@pytest.mark.parametrize("family", grid.FAMILIES)
def test_pixels_are_those_written_or_the_kind_is_named(family):
    right = set()
    kinds = set()
    for layout in grid.FAMILIES[family]():
        kinds.add(layout.kind)
        try:
            got = np.asarray(decode_image(layout.data).rgb).astype(int)
        except ImageError as error:
            assert str(error).startswith(f"not supported: a {family} of "), layout.name
            continue
        assert layout.shown is not None, layout.name
        assert got.shape == layout.shown.shape, layout.name
        assert np.abs(got - layout.shown).max() <= layout.by, layout.name
        right.add(layout.kind)
    refused = {kind for kind in REFUSED if kind.startswith(family)}
    if tuple(map(int, PIL.__version__.split(".")[:2])) >= (13, 0):
        assert kinds - right == refused
    else:  # reads fewer, and refuses the others
        assert kinds - right >= refused


# ---------------------------------------------------------------------- what is said


@pytest.mark.parametrize(
    ("layout", "text"),
    [
        ("5 bands of 16 bit", "a TIFF of 5 bands of unsigned 16 bits, grey; choose its bands and scale them"),
        ("RGB float 32", "a TIFF of 3 bands of float 32 bits, RGB; choose its bands and scale them"),
        ("RGB signed 16", "a TIFF of 3 bands of signed 16 bits, RGB; choose"),
        ("palette 16 bit, entries of 16", "a TIFF of 1 band of unsigned 16 bits, palette; choose"),
        (
            "grey 8 bit, white is zero, extra 1",
            "a TIFF of 2 bands of unsigned 8 bits, white-is-zero grey; save",
        ),
    ],
)
def test_tiff__what_is_not_supported(layout, text):
    data = next(each.data for each in grid.tiffs() if layout in each.kind)
    with pytest.raises(ImageError) as caught:
        decode_image(data)
    assert text in str(caught.value)
    assert str(caught.value).endswith("save it as PNG or JPEG with 8 bits a channel")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"bits": 2}, "2 bits a pixel; save it as PNG"),
        (
            {"bits": 16, "compression": bmp.BITFIELDS, "masks": (0xF00, 0xF0, 0xF)},
            "16 bits a pixel under the masks f00 f0 f;",
        ),
        ({"bits": 24, "compression": bmp.JPEG}, "24 bits a pixel, compressed by JPEG;"),
        (
            {"bits": 32, "compression": bmp.ALPHA_BITFIELDS, "masks": (255, 1, 2, 3)},
            "under the masks ff 1 2 3;",
        ),
    ],
)
def test_bmp__what_is_not_supported(options, text):
    with pytest.raises(ImageError, match=f"^not supported: a BMP of .*{text}"):
        decode_image(bmp.bmp(bytes(4 * 4 * 4), 4, 4, **options))


def test_tiff__damaged_is_still_damaged():
    sound = tiff.tiff(grid.levels(grid.shares(5), 16), tiff.BLACK_IS_ZERO, bits=16)
    with pytest.raises(ImageError, match="not supported"):
        decode_image(sound)
    for cut in (40, len(sound) - 60):  # the pixels, or the end of the directory
        with pytest.raises(ImageError, match=r"^damaged: begins like TIFF, but its header cannot be read"):
            decode_image(sound[:cut])


@pytest.mark.parametrize("compression", [34712, 50002, 12345])
def test_tiff__compression_is_named(compression):
    data = tiff.tiff(
        grid.levels(grid.shares(3), 8), tiff.RGB, bits=8, compression=compression, codec=lambda data: data
    )
    name = {34712: "JPEG 2000", 50002: "JPEG XL"}.get(compression, f"method {compression}")
    with pytest.raises(ImageError, match=f"3 bands of unsigned 8 bits, RGB, compressed by {name}; save it"):
        decode_image(data)


def test_tiff__a_tile_larger_than_memory_is_refused_before_it_is_made():
    options = {
        "bits": 8,
        "tile": 16,
        "compression": tiff.DEFLATE,
        "tags": {322: (LONG, [2**15]), 323: (LONG, [2**15])},
    }
    with pytest.raises(ImageError, match=r"may take 2,0\d\d MB of memory, over the limit of 2,048"):
        decode_image(tiff.tiff(grid.levels(grid.shares(1), 8), tiff.BLACK_IS_ZERO, **options))


def test_tiff__packbits_with_a_predictor_is_refused():
    data = tiff.tiff(
        grid.levels(grid.shares(1), 8), tiff.BLACK_IS_ZERO, bits=8, compression=tiff.PACKBITS, predictor=2
    )
    with pytest.raises(ImageError, match="a TIFF of .*, with predictor 2, compressed by PackBits; save it"):
        decode_image(data)


# ---------------------------------------------------------------------- previews and camera raw files


PICTURE = grid.levels(grid.shares(3), 8)
THUMB = np.full((4, 5, 3), 200, np.uint8)


def camera_file(thumb_tags, below, *, order="<"):
    """Write a thumbnail whose SubIFD is another picture (samples, photometric, options)."""
    start = 4096
    samples, photometric, options = below
    part, directory = tiff.page(samples, photometric, at=start, order=order, **options)
    tags = {330: (LONG, [directory]), **thumb_tags}
    return tiff.tiff(THUMB, tiff.RGB, bits=8, order=order, tags=tags).ljust(start, b"\0") + part


CFA = (grid.levels(grid.shares(1), 16), tiff.CFA, {"bits": 16})
RAW = "not an image Pillow can read: looks like a camera raw file; develop it to JPEG first"


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("tags", "below"),
    [
        ({254: (LONG, [1]), 271: (2, b"NIKON\0")}, CFA),
        ({254: (LONG, [1])}, CFA),
        ({254: (LONG, [1]), 50706: (1, b"\1\4\0\0")}, (PICTURE, tiff.RGB, {"bits": 8})),
        ({}, (PICTURE, tiff.LINEAR_RAW, {"bits": 8})),
        ({254: (LONG, [1]), 271: (2, b"SONY\0")}, (PICTURE, tiff.RGB, {"bits": 8})),
    ],
    ids=["nef", "mosaic below", "dng", "linear raw", "a maker's preview"],
)
def test_camera_raw_is_refused(tags, below, order):
    with pytest.raises(ImageError) as caught:
        decode_image(camera_file(tags, below, order=order))
    assert str(caught.value) == RAW


def test_camera_raw__mosaic_in_the_first_directory():
    with pytest.raises(ImageError, match="camera raw"):
        decode_image(tiff.tiff(CFA[0], tiff.CFA, bits=16))


@pytest.mark.parametrize(
    "head", [b"II*\0\x10\0\0\0CR\2\0", b"IIRO\x08\0\0\0", b"IIU\0\x08\0\0\0", b"FUJIFILMCCD-RAW "]
)
def test_camera_raw__by_first_bytes(head):
    data = head + bytes(64)
    if head.startswith(b"II*"):  # the thumbnail's directory
        data = head + bytes(4) + tiff.ifd({256: (SHORT, [4]), 257: (SHORT, [4])}, 16, "<")
    with pytest.raises(ImageError) as caught:
        decode_image(data)
    assert str(caught.value) == RAW


def test_pixels_that_spell_a_camera_are_pixels():
    samples = np.frombuffer(b"CR\2\0" * 5, np.uint8).reshape(4, 5, 1)
    data = tiff.tiff(samples, tiff.BLACK_IS_ZERO, bits=8)
    assert data[8:12] == b"CR\2\0"
    assert np.array_equal(np.asarray(decode_image(data).rgb)[..., :1], samples)


def test_preview_before_the_picture_is_passed_over():
    pages = [
        ((THUMB, tiff.RGB), {"bits": 8, "tags": {254: (LONG, [1])}}),
        ((THUMB[..., :1], tiff.BLACK_IS_ZERO), {"bits": 8, "tags": {254: (LONG, [4])}}),
        ((PICTURE, tiff.RGB), {"bits": 8, "tags": {254: (LONG, [0])}}),
    ]
    for order in "<>":
        assert np.array_equal(np.asarray(decode_image(tiff.document(pages, order)).rgb), PICTURE)
    # nothing else is there: it is the picture
    assert np.array_equal(np.asarray(decode_image(tiff.document(pages[:1])).rgb), THUMB)


def test_first_page_is_taken_and_a_preview_below_it_is_harmless():
    below = (THUMB, tiff.RGB, {"bits": 8, "tags": {254: (LONG, [1])}})
    data = camera_file({254: (LONG, [0]), 271: (2, b"Canon\0")}, below)
    assert np.array_equal(np.asarray(decode_image(data).rgb), THUMB)


def test_preview_of_a_picture_in_no_page_is_refused():
    with pytest.raises(
        ImageError, match="not supported: a TIFF that begins with a preview; the picture itself"
    ):
        decode_image(camera_file({254: (LONG, [1])}, (PICTURE, tiff.RGB, {"bits": 8})))


# ---------------------------------------------------------------------- GIF


@pytest.mark.parametrize("key", [None, 3])
def test_gif__around_its_first_frame_is_white(key):
    rng = np.random.default_rng(0)
    table, indices = rng.integers(0, 200, (128, 3)), rng.integers(0, 128, (3, 4))
    data = grid.gif(indices, table, (8, 6), (2, 1), key=key, background=7)
    wanted = np.full((6, 8, 3), 255)
    wanted[1:4, 2:6] = table[indices]
    if key is not None:
        wanted[1:4, 2:6][indices == key] = 255
    assert np.array_equal(np.asarray(decode_image(data).rgb), wanted)
