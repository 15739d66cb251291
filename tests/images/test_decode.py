"""Policy, reasons, threads, and the collection of odd files."""

import csv
import io
import struct
import sys
import tracemalloc
import types
import warnings
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile, ImageOps, PngImagePlugin

from toolkit.errors import ImageError, OptionError
from toolkit.images import decode as images
from toolkit.images.decode import DecodedImage, check_header, configure_pillow, decode_image
from toolkit.images.options import ImagePolicy


@pytest.fixture(autouse=True)
def pillow_knobs() -> Iterator[None]:
    limit, truncated = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
    yield
    Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = limit, truncated


def encode(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def noise(width: int = 64, height: int = 64, seed: int = 0) -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


def reason(data: bytes, policy: ImagePolicy | None = None, name: str = "") -> str:
    with pytest.raises(ImageError) as caught:
        decode_image(data, policy or ImagePolicy(), name=name)
    message = str(caught.value)
    assert "\n" not in message
    assert "0x" not in message
    return message


# ---------------------------------------------------------------------- policy


def test_policy_refuses_values_out_of_range() -> None:
    with pytest.raises(OptionError, match="--max-pixels got 0; give 1 or more"):
        ImagePolicy(max_pixels=0)
    with pytest.raises(OptionError, match="--truncated got 'maybe'; allowed are fail, keep"):
        ImagePolicy(truncated="maybe")  # type: ignore[arg-type]


def test_content_decides_not_the_name() -> None:
    assert decode_image(encode(noise(), "PNG"), name="picture.jpg").rgb.size == (64, 64)


# ---------------------------------------------------------------------- pixel limit


def test_pixel_limit_is_exact() -> None:
    data = encode(Image.new("RGB", (10, 10)))
    assert decode_image(data, ImagePolicy(max_pixels=100)).rgb.size == (10, 10)
    assert reason(data, ImagePolicy(max_pixels=99)) == "10 x 10 pixels is over the limit of 99 (--max-pixels)"


def declared_png(width: int, height: int) -> bytes:
    """Write a PNG that declares a size and holds two bytes of pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0\0")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("width", "height"), [(13378, 13378), (65536, 65536), (2**31 - 1, 2**31 - 1)])
def test_bomb_is_refused_before_pixels_are_allocated(
    width: int, height: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*args: object) -> None:
        raise AssertionError("pixels were allocated")

    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load_prepare", never)
    assert reason(declared_png(width, height)) == (
        f"{width} x {height} pixels is over the limit of 178,956,970 (--max-pixels)"
    )


def gif_with_frame(width: int, height: int) -> bytes:
    """Write a 1 x 1 GIF whose first frame claims to be larger."""
    screen = b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    return screen + b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\2\2\x44\1\0;"


def icon_with(png: bytes) -> bytes:
    return struct.pack("<HHHBBBBHHII", 0, 1, 1, 16, 16, 0, 0, 1, 32, len(png), 22) + png


def test_bombs_inside_of_pictures() -> None:
    assert "4,294,836,225 pixels is over the limit of" in reason(gif_with_frame(65535, 65535))
    assert "80000 x 50000 pixels is over the limit of" in reason(icon_with(declared_png(80_000, 50_000)))
    assert "200 x 100 pixels is over the limit of 19,999" in reason(
        gif_with_frame(200, 100), ImagePolicy(max_pixels=19_999)
    )


@pytest.mark.parametrize("limit", [1, None])
def test_the_policy_counts_not_pillows_own_limit(limit: int | None) -> None:
    data = encode(Image.new("RGB", (3, 3)))
    Image.MAX_IMAGE_PIXELS = limit
    assert decode_image(data).rgb.size == (3, 3)
    Image.MAX_IMAGE_PIXELS = limit
    assert "3 x 3 pixels is over the limit of 8" in reason(data, ImagePolicy(max_pixels=8))


def test_smaller_limit_after_a_larger() -> None:
    data = encode(Image.new("RGB", (30, 30)))
    decode_image(data, ImagePolicy(max_pixels=10**9))
    assert "30 x 30 pixels is over the limit of 100" in reason(data, ImagePolicy(max_pixels=100))
    assert decode_image(data).width == 30


# ---------------------------------------------------------------------- truncated files


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "TIFF", "BMP", "WEBP", "PPM"])
def test_truncated_file_fails(format: str) -> None:
    data = encode(noise(), format)
    cut = data[: len(data) * 2 // 3]
    assert reason(cut) == f"truncated: the file ends before the picture does ({len(cut):,} bytes)"


def test_truncated_file_is_kept_on_request() -> None:
    smooth = Image.radial_gradient("L").convert("RGB")
    data = encode(smooth, "JPEG", quality=95)
    whole = np.asarray(decode_image(data).rgb)
    kept = np.asarray(decode_image(data[: len(data) // 2], ImagePolicy(truncated="keep")).rgb)
    assert kept.shape == whole.shape
    assert np.array_equal(kept[:64], whole[:64])
    assert not np.array_equal(kept[-64:], whole[-64:])
    assert "truncated" in reason(data[: len(data) // 2])


def test_headers_alone_are_no_picture_even_on_request() -> None:
    data = encode(noise(), "JPEG")[:300]
    assert reason(data, ImagePolicy(truncated="keep")) == reason(data)


# ---------------------------------------------------------------------- shrinking


@pytest.mark.parametrize(("orientation", "size"), [(1, (640, 320)), (3, (640, 320)), (6, (320, 640))])
def test_shrunk_jpeg_keeps_the_size_of_the_file(orientation: int, size: tuple[int, int]) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    data = encode(Image.new("RGB", (640, 320), (200, 10, 10)), "JPEG", exif=exif)
    decoded = decode_image(data, least_side=lambda width, height: 100)
    assert (decoded.width, decoded.height) == size
    assert decoded.rgb.size == (size[0] // 2, size[1] // 2)  # a quarter would be shorter than 100


# ---------------------------------------------------------------------- reasons


def test_reasons_without_an_image() -> None:
    assert reason(b"") == "empty file (0 bytes)"
    assert reason(b"<!DOCTYPE html><p>404", name="a.jpg") == (
        "not an image Pillow can read: named .jpg but looks like HTML, "
        "often the error page of a failed download; fetch it again"
    )
    assert reason(b"\xff\xd8\xff" + b"\0" * 40) == (
        "damaged: begins like JPEG, but its header cannot be read (43 bytes)"
    )


def test_postscript_is_never_handed_to_ghostscript() -> None:
    data = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n"
    assert reason(data) == ("not an image Pillow can read: looks like a PostScript drawing; export it as PNG")


def test_damaged_pixels() -> None:
    data = bytearray(encode(noise()))
    middle = len(data) // 2
    data[middle : middle + 50] = bytes(50)
    assert reason(bytes(data)) == (
        "damaged: this PNG cannot be decoded (broken data stream when reading image file)"
    )


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError("decoder error -2"), "damaged: this PNG cannot be decoded (decoder error -2)"),
        (SyntaxError("bad\n chunk"), "damaged: this PNG cannot be decoded (bad chunk)"),
        (struct.error("unpack requires a buffer of 4 bytes"), "truncated: the file ends before"),
        (zlib.error("Error -3"), "damaged: this PNG cannot be decoded (Error -3)"),
        (EOFError(), "truncated: the file ends before"),
        (KeyError("x"), "damaged: this PNG cannot be decoded ('x')"),
        (IndexError(), "damaged: this PNG cannot be decoded (IndexError)"),
        (OverflowError("too large"), "damaged: this PNG cannot be decoded (too large)"),
        (
            ValueError("in <_io.BytesIO object at 0x7f01ab>"),
            "damaged: this PNG cannot be decoded (in the file)",
        ),
        (MemoryError(), "not enough memory to decode it"),
        (RecursionError("deep"), "damaged: this PNG cannot be decoded (deep)"),
    ],
)
def test_no_exception_of_pillow_escapes(
    error: Exception, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: object) -> None:
        raise error

    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", fail)
    assert reason(encode(noise(4, 4))).startswith(message)


def test_interrupt_is_not_swallowed(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(self: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", interrupt)
    with pytest.raises(KeyboardInterrupt):
        decode_image(encode(noise(4, 4)))


def test_damaged_files_of_all_kinds_end_in_an_image_error() -> None:
    """300 files cut off, overwritten or padded at random: a picture or an ImageError, nothing else."""
    rng = np.random.default_rng(7)
    formats = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "ICO", "AVIF", "PPM")
    whole = [encode(noise(24, 24), name) for name in formats]
    failed = 0
    for number in range(300):
        data = bytearray(whole[number % len(whole)])
        if number % 3 == 0:
            del data[int(rng.integers(len(data))) :]
        else:
            for place in rng.integers(0, len(data) if number % 3 == 1 else 60, 5):
                data[place] = rng.integers(256)
        try:
            assert decode_image(bytes(data), ImagePolicy(max_pixels=10**6)).rgb.mode == "RGB"
        except ImageError as error:
            failed += 1
            assert len(str(error)) < 250
    assert failed > 100


# ---------------------------------------------------------------------- headers alone


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF", "ICO", "PPM", "TGA"])
def test_check_header__passes_every_picture(format: str) -> None:
    data = encode(noise(), format)
    check_header(io.BytesIO(data))


@pytest.mark.parametrize(
    "data",
    [
        *(b"%PDF-1.7\n", b"just some words\n", b"\0\0\0\x20ftypisom\0\0", b"\1\2\3\xfe", b"\xff\xd8\xff\0"),
        *(declared_png(65536, 65536), gif_with_frame(65535, 65535)),
        b"\0" * 200_000,
        b"\xff\xd8\xff\xe0" + b"\1" * 199_996,
    ],
)
def test_check_header__says_what_decode_image_says(data: bytes) -> None:
    with pytest.raises(ImageError) as caught:
        check_header(io.BytesIO(data), name="a.jpg")
    assert str(caught.value) == reason(data, name="a.jpg")


def test_check_header__reads_next_to_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    with path.open("wb") as file:
        file.write(b"\0\0\0\x20ftypisom")
        file.truncate(2**30)
    tracemalloc.start()
    with path.open("rb") as file, pytest.raises(ImageError, match="looks like a video; extract"):
        check_header(file, name="a.jpg")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**21


# ---------------------------------------------------------------------- Pillow's process-wide state


def test_configure_pillow_sets_the_knobs() -> None:
    configure_pillow(ImagePolicy(max_pixels=1000, truncated="keep"))
    assert (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES) == (500, True)
    configure_pillow(ImagePolicy())
    assert (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES) == (89_478_485, False)


def test_nothing_is_warned_about() -> None:
    Image.MAX_IMAGE_PIXELS = 500  # Pillow warns above and fails above twice that
    corrupt_exif = encode(noise(40, 20), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff\0\0")
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        decode_image(corrupt_exif, ImagePolicy(max_pixels=1000))
    assert seen == []


def test_warnings_as_errors_do_not_fail_a_picture() -> None:
    corrupt_exif = encode(noise(40, 20), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff\0\0")
    Image.MAX_IMAGE_PIXELS = 500
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert decode_image(corrupt_exif, ImagePolicy(max_pixels=1000)).width == 40


def test_threads_of_one_policy_then_of_another() -> None:
    """Every decode obeys the policy in use, whole and truncated files side by side."""
    whole = encode(Image.radial_gradient("L").convert("RGB"), "JPEG")
    cut = whole[: len(whole) // 2]

    def job(data: bytes, policy: ImagePolicy) -> bytes | str:
        try:
            return decode_image(data, policy).rgb.tobytes()
        except ImageError as error:
            return str(error)[:9]

    for truncated, limit in (("keep", 10**6), ("fail", 10**6), ("keep", 100), ("keep", 10**6)):
        policy = ImagePolicy(truncated=truncated, max_pixels=limit)  # type: ignore[arg-type]
        serial = [job(data, policy) for data in (whole, cut)]
        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(job, [whole, cut] * 50, [policy] * 100)) == serial * 50
        assert (serial[1] == "truncated") == (truncated == "fail")
        assert (serial[0] == serial[1] == "256 x 256") == (limit == 100)


def test_heif_reader_is_used_where_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    called = []
    module = types.SimpleNamespace(register_heif_opener=lambda: called.append(True))
    monkeypatch.setitem(sys.modules, "pillow_heif", module)
    assert images._formats.__wrapped__()[:2] == ("JPEG", "PNG")
    assert called == [True]


# ---------------------------------------------------------------------- the odd files

ODD = Path(__file__).resolve().parents[3] / "shared" / "data" / "odd_images"
needs_odd = pytest.mark.skipif(not ODD.is_dir(), reason="shared/data/odd_images is not there")

ODD_FAILURES = {
    "avif-heif__pillow__hopper.heif": "HEIF/HEIC",
    "corrupt__pillow__broken.png": "damaged: begins like PNG",
    "corrupt__pillow__broken_data_stream.png": "damaged: this PNG cannot be decoded",
    "derived__html_named.jpg": "named .jpg but looks like HTML",
    "derived__jpeg_header_only.jpg": "truncated: the file ends before the picture does (300 bytes)",
    "huge__pillow__decompression_bomb.gif": "4,364,696,535 pixels is over the limit of 178,956,970",
    "huge__pillow__decompression_bomb.ico": "65535 x 32767 pixels is over the limit of 178,956,970",
    "huge__sharp__65536-uint32-limit.png": "65536 x 65536 pixels is over the limit of 178,956,970",
    "huge__sharp__giant-image.jpg": "20000 x 14000 pixels is over the limit of 178,956,970",
    "nonraster__vips__blankpage.pdf": "looks like PDF",
    "nonraster__vips__blankpage.svg": "looks like SVG",
    "truncated__pillow__truncated_image.png": "truncated: the file ends before the picture does (81,920",
    "truncated__sharp__truncated.jpg": "truncated: the file ends before the picture does (10,000 bytes)",
    "truncated__sharp__truncated.png": "truncated: the file ends before the picture does (10,000 bytes)",
}


def odd(name: str) -> DecodedImage:
    return decode_image((ODD / "files" / name).read_bytes(), name=name)


@needs_odd
def test_odd_files__every_one_is_a_picture_or_has_a_reason() -> None:
    with (ODD / "manifest.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 75
    failed = {}
    for row in rows:
        try:
            decoded = odd(row["file"])
        except ImageError as error:
            failed[row["file"]] = str(error)
            continue
        width, height = (int(side) for side in row["size"].split("x"))
        turned = row["exif_orientation"] in ("5", "6", "7", "8")
        assert decoded.rgb.size == ((height, width) if turned else (width, height)), row["file"]
        assert (decoded.rgb.mode, decoded.mode) == ("RGB", row["pillow_mode"]), row["file"]
        Image.Image.load(decoded.rgb)
    assert failed.keys() == ODD_FAILURES.keys()
    for name, text in ODD_FAILURES.items():
        assert text in failed[name]


@needs_odd
@pytest.mark.parametrize(
    "name", ["truncated__sharp__truncated.jpg", "truncated__pillow__truncated_image.png"]
)
def test_odd_files__truncated_kept(name: str) -> None:
    data = (ODD / "files" / name).read_bytes()
    kept = np.asarray(decode_image(data, ImagePolicy(truncated="keep")).rgb)
    assert kept[:20].std() > 1  # there is a picture at the top


@needs_odd
def test_odd_files__all_orientations_show_the_same_scene() -> None:
    """The examples are one photograph stored in eight ways; the number painted on it differs."""
    small = []
    for number in (0, 2, 4, 6):
        rgb = odd(f"exif__exif__Landscape_{number}.jpg").rgb
        small.append(np.asarray(rgb.resize((90, 60)), dtype=float))
    for other in small[1:]:
        assert np.abs(other - small[0]).mean() < 4
        assert np.abs(other[:, ::-1] - small[0]).mean() > 20  # mirrored it would not


@needs_odd
def test_odd_files__cmyk_profile_agrees_with_littlecms() -> None:
    from PIL import ImageCms

    name = "cmyk__sharp__fogra-0-100-100-0.tif"
    with Image.open(ODD / "files" / name) as stored:
        profile = io.BytesIO(stored.info["icc_profile"])
        wanted = ImageCms.profileToProfile(stored, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
    assert np.array_equal(np.asarray(odd(name).rgb), np.asarray(wanted))
    red, green, blue = odd(name).rgb.getpixel((500, 500))
    assert red > 200 and green < 40 and blue < 40  # magenta and yellow ink are a print red, not (255, 0, 0)


@needs_odd
def test_odd_files__xyb_looks_like_the_same_photo_as_a_palette_png() -> None:
    xyb = np.asarray(odd("jpeg-variant__vips__sample-xyb.jpg").rgb, dtype=float)
    same = np.asarray(odd("palette__vips__indexed.png").rgb, dtype=float)
    assert np.abs(xyb - same).mean() < 12
    with Image.open(ODD / "files" / "jpeg-variant__vips__sample-xyb.jpg") as unconverted:
        assert np.abs(np.asarray(unconverted, dtype=float) - same).mean() > 20


@needs_odd
def test_odd_files__plain_jpeg_is_what_pillow_decodes() -> None:
    name = "exif__sharp__Landscape_9.jpg"
    with Image.open(ODD / "files" / "exif__exif__Landscape_6.jpg") as stored:
        wanted = ImageOps.exif_transpose(stored).convert("RGB")
    assert np.array_equal(np.asarray(odd("exif__exif__Landscape_6.jpg").rgb), np.asarray(wanted))
    assert odd(name).rgb.size == (480, 369)
