"""The memory that decoding takes: estimates against what processes held, the budget, and refusals."""

import gc
import io
import json
import os
import struct
import subprocess
import sys
import threading
import time
import weakref
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from tests.layouts import tiff
from tests.layouts.grid import png
from toolkit.errors import ImageError
from toolkit.images import decode as images
from toolkit.images.decode import check_header, decode_image
from toolkit.images.memory import MemoryBudget, bytes_to_open
from toolkit.images.options import ImagePolicy
from toolkit.images.pixels import to_rgb

linux = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peaks are reset on Linux only")

# decodes the files named, one after the other, and prints what each took at most, and the estimate
MEASURE = """
import gc, json, sys
from pathlib import Path
from toolkit.backbones.options import NetworkOptions
from toolkit.backbones.preprocessing import Preprocessing, Recipe
from toolkit.images.decode import decode_image
from toolkit.images.memory import held_already
from toolkit.runtime.memory import peak_mb
recipe = Recipe(resize_size=256, crop_size=224, mean=(0.0,), std=(1.0,))
preprocessing = Preprocessing.of(recipe, NetworkOptions(decode="exact"))
asked = []
def reserve(amount):
    asked.append(amount / 2**20)
    return held_already(amount)
found = {}
for path in map(Path, sys.argv[1:]):
    data = path.read_bytes()
    for time in range(1 + (not found)):  # the first loads code
        gc.collect()
        Path("/proc/self/clear_refs").write_text("5")
        before = peak_mb()
        picture = decode_image(data, reserve=reserve)
        preprocessing(picture.rgb)
        took = peak_mb() - before
        del picture
    found[path.name] = took, asked[-1]
print(json.dumps(found))
"""


def pictures():
    """Yield (name, picture, options of saving) of a megapixel in the formats and modes that differ."""
    rng = np.random.default_rng(0)
    rgb = Image.fromarray(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)).resize((1200, 900))
    grey, rgba = rgb.convert("L"), rgb.copy()
    rgba.putalpha(grey)
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    numbers, whole = (Image.fromarray(np.asarray(grey).astype(kind) * 3) for kind in (np.float32, np.int32))
    turned = Image.Exif()
    turned[274] = 6
    yield "rgb.jpg", rgb, {}
    yield "turned.jpg", rgb, {"exif": turned}
    yield "progressive.jpg", rgb, {"progressive": True, "subsampling": 0}
    yield "ink.jpg", rgb.convert("CMYK"), {"progressive": True}
    for name, picture in {
        "rgb": rgb,
        "rgba": rgba,
        "grey": grey,
        "la": rgb.convert("LA"),
        "deep": deep,
    }.items():
        yield f"{name}.png", picture, {"compress_level": 1}
    yield "turned.png", rgba, {"exif": turned, "compress_level": 1}
    yield "key.png", rgb, {"transparency": (1, 2, 3), "compress_level": 1}
    yield "palette.gif", rgb.quantize(32), {}
    yield "rgb.bmp", rgb, {}
    yield "strip.tif", rgb, {"compression": "tiff_lzw", "tiffinfo": {278: 900}}
    yield "numbers.tif", numbers, {}
    yield "whole.tif", whole, {"compression": "packbits"}
    yield "rgb.webp", rgb, {"quality": 50, "method": 0}
    yield "rgba.webp", rgba, {"lossless": True, "quality": 0, "method": 0}
    if features.check("avif"):
        yield "rgba.avif", rgba, {"speed": 10, "subsampling": "4:4:4"}
    if features.check("jpg_2000"):
        yield "rgba.jp2", rgba, {}
    yield "rgba.tga", rgba, {}


def layouts_in_bulk():
    """Yield (name, file) of layouts that Pillow alone reads wrong, and a PNG with much text."""
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(0, 256, (30, 40), dtype=np.uint8)).resize((1200, 900))
    grey = np.asarray(small)[..., None]
    deep = grey.astype(np.uint16) * 257
    yield "white.tif", tiff.tiff(deep, tiff.WHITE_IS_ZERO, bits=16, rows=50)
    yield "planes.tif", tiff.tiff(np.repeat(deep, 3, axis=2), tiff.RGB, bits=16, planar=2, rows=50)
    yield "veiled.tif", tiff.tiff(np.repeat(grey, 2, axis=2), tiff.WHITE_IS_ZERO, bits=8, extra=[2], rows=50)
    yield "signed.tif", tiff.tiff(grey.view(np.int8), 1, bits=8, sample_format=tiff.SIGNED, rows=50)
    text = (b"tEXt", b"Comment\0" + b"x" * 2**21)
    yield "text.png", png(np.repeat(grey, 3, axis=2), 8, 2, text)


@linux
def test_no_picture_takes_more_than_its_estimate(tmp_path):
    names = []
    for name, picture, options in pictures():
        picture.save(tmp_path / name, **options)
        names.append(name)
    for name, data in layouts_in_bulk():
        (tmp_path / name).write_bytes(data)
        names.append(name)
    icon = (tmp_path / "rgba.png").read_bytes()
    head = struct.pack("<HHHBBBBHHII", 0, 1, 1, 16, 16, 0, 0, 1, 32, len(icon), 22)
    (tmp_path / "icon.ico").write_bytes(head + icon)
    paths = [str(tmp_path / name) for name in [*names, "icon.ico"]]
    done = subprocess.run([sys.executable, "-c", MEASURE, *paths], capture_output=True, check=True, text=True)
    found = json.loads(done.stdout)
    assert len(found) == len(paths)
    pixels = 1200 * 900 / 2**20
    for name, (took, estimate) in found.items():
        assert took <= estimate, (name, took, estimate)
        # not so large that ordinary pictures wait or are refused
        assert estimate <= 40 * pixels + 4, (name, estimate)
    assert sum(took for took, _ in found.values()) > 4 * pixels * len(paths) * 0.8  # something was measured


BUDGETED = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from toolkit.images.decode import decode_image
from toolkit.images.options import ImagePolicy
from toolkit.runtime.memory import peak_mb
data, policy = Path(sys.argv[1]).read_bytes(), ImagePolicy(decode_memory=int(sys.argv[2]))
def decode(_):
    return decode_image(data, policy).width
decode(0)
Path("/proc/self/clear_refs").write_text("5")
before = peak_mb()
with ThreadPoolExecutor(8) as pool:
    assert list(pool.map(decode, range(8))) == [2000] * 8
print(peak_mb() - before)
"""


@linux
def test_eight_threads_stay_within_the_budget(tmp_path):
    path = tmp_path / "large.png"
    Image.radial_gradient("L").resize((2000, 1500)).convert("RGBA").save(path, compress_level=1)

    def peak(megabytes):
        command = [sys.executable, "-c", BUDGETED, str(path), str(megabytes)]
        # one arena, so that what is freed in one thread is not kept from the others
        environment = os.environ | {"MALLOC_ARENA_MAX": "1"}
        return float(subprocess.run(command, env=environment, capture_output=True, check=True).stdout)

    assert peak(64) <= 64  # one at a time
    assert peak(4000) > 64  # without a bound more is held, so the first line says something


# ---------------------------------------------------------------------- the budget


def test_budget_is_never_exceeded_and_a_large_amount_gets_its_turn():
    budget, held, most = MemoryBudget(), [0], [0]
    lock = threading.Lock()

    def work(amount):
        with budget.hold(amount, 100):
            with lock:
                held[0] += amount
                most[0] = max(most[0], held[0] if held[0] != amount or amount <= 100 else 0)
            time.sleep(0.001)
            with lock:
                held[0] -= amount

    amounts = [int(amount) for amount in np.random.default_rng(0).integers(1, 60, 300)]
    amounts[100] = 1000  # more than the budget: alone
    with ThreadPoolExecutor(12) as pool:
        list(pool.map(work, amounts))
    assert 60 < most[0] <= 100 and budget._held == 0


def test_budget_is_given_back_when_decoding_fails():
    budget = MemoryBudget()
    with pytest.raises(ImageError), budget.hold(90, 100):
        raise ImageError("damaged")
    with budget.hold(100, 100):
        assert budget._held == 100


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_bytes_of_a_file_are_not_kept(format, monkeypatch):
    """No reference in a circle keeps them until a garbage collection."""
    kept = []

    class Stream(images._Stream):
        def __init__(self, data):
            super().__init__(data)
            kept.append(weakref.ref(self))

    stream = io.BytesIO()
    Image.new("RGB", (30, 20)).save(stream, format)
    monkeypatch.setattr(images, "_Stream", Stream)
    gc.disable()
    try:
        decoded = decode_image(stream.getvalue())
        assert [each() for each in kept] == [None] and decoded.width == 30
    finally:
        gc.enable()


# ---------------------------------------------------------------------- refusals


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def declared_png(width, height, colour=0):
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0\0")) + chunk(b"IEND", b"")


def declared_webp(width, height, *, extended=False):
    bits = struct.pack("<I", width - 1 | height - 1 << 14)
    chunks = b"VP8L" + struct.pack("<I", 10) + b"\x2f" + bits + b"\0" * 5
    if extended:
        size = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
        chunks = b"VP8X" + struct.pack("<I", 10) + b"\0" * 4 + size + chunks
    return b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WEBP" + chunks


def refusal(data, **options):
    with pytest.raises(ImageError) as caught:
        decode_image(data, ImagePolicy(**options), reserve=never)
    with pytest.raises(ImageError) as again:
        check_header(io.BytesIO(data), ImagePolicy(**options))
    assert str(again.value) == str(caught.value)
    return str(caught.value)


def never(amount):
    raise AssertionError("it was about to be decoded")


@pytest.mark.parametrize("extended", [False, True])
def test_webp_is_refused_before_its_canvases_are_made(extended, monkeypatch):
    monkeypatch.setattr(images, "_open", never)
    assert refusal(declared_webp(16383, 16383, extended=extended)) == (
        "16383 x 16383 pixels is over the limit of 178,956,970 (--max-pixels)"
    )
    text = refusal(declared_webp(13000, 13000, extended=extended))
    assert text == ("decoding it may take 5,208 MB of memory, over the limit of 2,048 (--decode-memory)")


def test_a_column_of_pixels_is_refused():
    text = refusal(declared_png(1, 178_000_000))
    assert text.startswith("decoding it may take ") and text.endswith(
        ", over the limit of 2,048 (--decode-memory)"
    )
    assert decode_image(picture_png(1, 30_000)).rgb.size == (1, 30_000)


def picture_png(width, height):
    stream = io.BytesIO()
    Image.new("RGB", (width, height)).save(stream, "PNG")
    return stream.getvalue()


def test_limit_of_memory_is_the_users():
    data = picture_png(4000, 3000)
    assert "decoding it may take 126 MB of memory, over the limit of 100" in refusal(data, decode_memory=100)
    assert decode_image(data, ImagePolicy(decode_memory=130)).width == 4000


@pytest.mark.parametrize("colour", [0, 2, 3])
def test_the_largest_opaque_picture_is_within_the_default(colour):
    """Grey, RGB and palette pictures as large as `max_pixels` allows need less than `decode_memory`."""
    assert check_header(io.BytesIO(declared_png(13377, 13377, colour))) < ImagePolicy().memory_bytes


def test_file_larger_than_the_memory_is_refused_unread(tmp_path):
    from toolkit.images.reading import read_picture

    path = tmp_path / "padded.png"
    path.write_bytes(picture_png(8, 8))
    with path.open("r+b") as file:
        file.truncate(2**40)  # a hole: a TB that takes no space
    with pytest.raises(
        ImageError, match=r"may take 1,048,576 MB of memory, over the limit of 2,048 \(--decode-m"
    ):
        read_picture(path, ImagePolicy())


@pytest.mark.parametrize(
    ("data", "size"),
    [
        (declared_webp(7, 9), (7, 9)),
        (declared_webp(300, 9, extended=True), (300, 9)),
        (picture_png(5, 5), (0, 0)),
        (b"RIFF\0\0\0\0WEBPVP8L", (0, 0)),
        (b"RIFF\0\0\0\0WEBPJUNK" + bytes(30), (0, 0)),
        (b"\0\0\1\0\xff\xff", (0, 0)),
        (b"", (0, 0)),
    ],
)
def test_bytes_to_open__size_and_position(data, size):
    stream = io.BytesIO(data)
    assert bytes_to_open(stream)[:2] == size and stream.tell() == 0
    assert (bytes_to_open(stream)[2] > 0) == (size != (0, 0))


def test_bytes_to_open__agrees_with_pillow_for_lossy_webp():
    stream = io.BytesIO()
    Image.new("RGB", (123, 45)).save(stream, "WEBP")
    stream.seek(0)
    assert bytes_to_open(stream)[:2] == (123, 45)


# ---------------------------------------------------------------------- fewer copies, the same pixels


def test_compositing_in_place_is_pasting_on_white():
    """Every value of a channel with every alpha."""
    colour, alpha = np.meshgrid(np.arange(256, dtype=np.uint8), np.arange(256, dtype=np.uint8))
    picture = Image.fromarray(np.stack([colour, colour, colour, alpha], axis=-1))
    white = Image.new("RGB", (256, 256), (255, 255, 255))
    white.paste(picture.convert("RGB"), mask=picture.getchannel("A"))
    assert to_rgb(picture).tobytes() == white.tobytes()
