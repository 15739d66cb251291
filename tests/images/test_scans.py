"""Counting a JPEG's scans, and refusing many of many pixels."""

import io

import numpy as np
import pytest
from PIL import Image

from toolkit.errors import ImageError
from toolkit.images.decode import decode_image
from toolkit.images.options import ImagePolicy
from toolkit.images.scans import MOST_SCANS, count_scans

SCAN = b"\xff\xda"


def jpeg(mode="RGB", **options):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(stream, "JPEG", **options)
    return stream.getvalue()


def with_scans(data, n):
    """Repeat the last scan of a progressive JPEG until it has `n`, as nothing forbids."""
    start = data.rindex(SCAN)
    return data[:start] + data[start:-2] * (n - count_scans(data) + 1) + data[-2:]


@pytest.mark.parametrize(
    ("options", "scans"),
    # libjpeg's own script: 6 scans for grey, 10 for colour, 18 for four channels
    [({}, 1), ({"mode": "L", "progressive": True}, 6), ({"progressive": True}, 10),
     ({"mode": "CMYK", "progressive": True}, 18)],
)  # fmt: skip
def test_scans_of_the_usual_files(options, scans):
    assert count_scans(jpeg(**options)) == scans


def test_scans_elsewhere_do_not_count():
    thumbnail = jpeg(progressive=True)
    exif = Image.Exif()
    assert count_scans(jpeg(exif=exif.tobytes() + thumbnail)) == 1
    assert count_scans(jpeg() + thumbnail) == 1  # after the end, as phones append pictures


@pytest.mark.parametrize(
    "data", [b"\xff\xd8", b"\xff\xd8" + SCAN * 3, b"\xff\xd8\xff\xe0\0\0" + SCAN * 2, SCAN * 9]
)
def test_damaged_files_end(data):
    assert 0 <= count_scans(data) <= len(data) // 2


def test_many_scans_of_many_pixels_are_refused_and_of_few_decoded():
    data = with_scans(jpeg(progressive=True), 60)
    assert count_scans(data) == 60
    assert decode_image(data).rgb.size == (40, 40)
    limit = 40 * 40 * 60 // MOST_SCANS
    assert decode_image(data, ImagePolicy(max_pixels=limit)).width == 40
    text = "^a JPEG of 60 scans of 1,600 pixels, as nothing but an attack has; at most 59 are decoded"
    with pytest.raises(ImageError, match=text):
        decode_image(data, ImagePolicy(max_pixels=limit - 1))


def test_the_usual_number_of_scans_is_never_too_many():
    assert decode_image(jpeg(progressive=True), ImagePolicy(max_pixels=1600)).width == 40
