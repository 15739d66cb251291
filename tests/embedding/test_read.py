"""Files to pixels: how much of them is held at once."""

import tracemalloc

import numpy as np
import pytest
from PIL import Image

from tests.embedding.test_run import MeanBackbone, expected, picture
from toolkit.embedding import read
from toolkit.embedding.options import ReadOptions
from toolkit.embedding.read import Reader
from toolkit.images import reading
from toolkit.images.files import digest_of, digest_of_file
from toolkit.images.manifest import Entry


class Recording(MeanBackbone):
    """Writes down how many files each call of `decode` gets."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def decode(self, files, max_pixels):
        self.calls.append(len(files))
        return super().decode(files, max_pixels)


def read_images(entries, backbone, options):
    with Reader(backbone, options) as reader:
        return reader.read(entries)


def sparse(path, size, head=b""):
    with path.open("wb") as file:
        file.write(head)
        file.truncate(size)
    return Entry(path.name, path)


@pytest.mark.parametrize(
    ("head", "text"),
    [
        (b"", "not an image Pillow can read: named .jpg but looks like nothing but zero bytes"),
        (b"\0\0\0\x20ftypisom", "looks like a video; extract its frames"),
        (b"\x89PNG\r\n\x1a\n", "damaged: begins like PNG, but its header cannot be read (400,000,000 bytes)"),
    ],
)
def test_a_large_file_that_is_no_image_is_not_read(tmp_path, head, text):
    entry = sparse(tmp_path / "film.jpg", 400_000_000, head)
    tracemalloc.start()
    (image,) = read_images([entry], MeanBackbone(), ReadOptions())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert text in image and peak < 10_000_000


@pytest.mark.parametrize("suffix", ["bmp", "tif", "png"])
def test_a_large_image_is_read(tmp_path, suffix):
    path = tmp_path / f"large.{suffix}"
    pixels = np.random.default_rng(0).integers(0, 256, (2000, 3000, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, compress_level=0)
    assert path.stat().st_size > reading.LARGE
    (image,) = read_images([Entry(path.name, path)], MeanBackbone(), ReadOptions())
    assert (image.row.width, image.row.height, image.row.bytes) == (3000, 2000, path.stat().st_size)
    assert image.row.digest == digest_of(path.read_bytes()) == digest_of_file(path)


@pytest.mark.parametrize(("large", "calls"), [(2**24, [5]), (1, [1] * 5), (1500, [2, 2, 1])])
def test_files_are_held_together_up_to_a_limit(tmp_path, monkeypatch, large, calls):
    monkeypatch.setattr(read, "LOT_BYTES", large)
    pictures = [picture(tmp_path / f"{number}.png", number) for number in range(5)]
    assert all(800 < path.stat().st_size < 1400 for path in tmp_path.iterdir())
    entries = [Entry(f"{number}.png", tmp_path / f"{number}.png") for number in range(5)]
    entries.insert(2, Entry("gone.png", tmp_path / "gone.png"))
    backbone = Recording()
    images = read_images(entries, backbone, ReadOptions())
    assert [count for count in backbone.calls if count] == calls
    assert images.pop(2) == "file not found"
    for one, pixels in zip(images, pictures, strict=True):
        rows = backbone.forward(one.pixels[0][None])[0]
        np.testing.assert_allclose(rows, expected(pixels), rtol=1e-6)
