"""Decoding where the network runs, on the processor, against Pillow."""

import io

import numpy as np
import pytest
from PIL import Image

from tests.backbones.conftest import photo
from tests.backbones.test_preprocessing import V1
from toolkit.backbones import load_backbone
from toolkit.backbones.jpeg import decode_on
from toolkit.backbones.preprocessing import Preprocessing
from toolkit.images import decode_image


def jpeg(image, **options):
    data = io.BytesIO()
    image.save(data, "JPEG", **{"quality": 90} | options)
    return data.getvalue()


@pytest.mark.parametrize("resize", ["crop", "squash", "full"])
@pytest.mark.parametrize("size", [(500, 375), (375, 500), (230, 300), (900, 100)])
def test_decode__looks_like_pillows(resize, size):
    preprocessing = Preprocessing.of(V1, resize=resize, decode="device")
    data = jpeg(photo(*size))
    pixels, width, height = decode_on("cpu", data, preprocessing, max_pixels=10**6)
    want = preprocessing(Image.open(io.BytesIO(data)))
    assert (width, height) == size and pixels.dtype == np.uint8 and pixels.shape == want.shape
    difference = np.abs(pixels.astype(int) - want)
    assert difference.mean() < 1.0 and difference.max() <= 8


def test_decode__leaves_to_pillow_what_needs_more_than_pixels():
    preprocessing = Preprocessing.of(V1, resize="crop", decode="device")
    image = photo(300, 200)
    exif = Image.Exif()
    exif[0x0112] = 6
    whole = jpeg(image)
    png = io.BytesIO()
    image.save(png, "PNG")
    for data in (
        jpeg(image, exif=exif),
        jpeg(image.convert("CMYK")),
        jpeg(image.convert("L")),
        jpeg(image, icc_profile=b"profile"),
        whole[: len(whole) // 2],
        png.getvalue(),
        b"\xff\xd8 no picture \xff\xd9",
        b"",
    ):
        assert decode_on("cpu", data, preprocessing, max_pixels=10**6) is None
    assert decode_on("cpu", whole, preprocessing, max_pixels=300 * 200 - 1) is None
    assert decode_on("cpu", whole, preprocessing, max_pixels=300 * 200) is not None


def test_backbone__decodes_on_the_device_only_where_asked_to():
    options = {"weights": "random:0", "device": "cpu", "input_size": 64}
    data = jpeg(photo(300, 200))
    assert load_backbone("resnet18", decode="device", **options).decode(data, 10**6)[1:] == (300, 200)
    backbone = load_backbone("resnet18", decode="scaled", precision="fp32", **options)
    assert backbone.decode(data, 10**6) is None


@pytest.mark.parametrize("turn", [1, 6])
def test_scaled__a_large_jpeg_is_shrunk_while_decoded_and_keeps_its_size(turn):
    preprocessing = Preprocessing.of(V1, resize="crop")
    exif = Image.Exif()
    exif[0x0112] = turn
    data = jpeg(photo(2400, 1600), exif=exif)
    scaled = decode_image(data, least_side=preprocessing.least_side)
    whole = decode_image(data)
    assert (scaled.width, scaled.height, scaled.mode) == (whole.width, whole.height, whole.mode)
    assert min(scaled.rgb.size) == 800 and min(whole.rgb.size) == 1600
    difference = np.abs(preprocessing(scaled.rgb).astype(int) - preprocessing(whole.rgb))
    assert difference.mean() < 1.0


def test_scaled__small_pictures_and_other_formats_are_left_alone():
    preprocessing = Preprocessing.of(V1, resize="crop")
    for data in (jpeg(photo(500, 400)),):
        scaled, whole = (decode_image(data, least_side=side) for side in (preprocessing.least_side, None))
        np.testing.assert_array_equal(np.asarray(scaled.rgb), np.asarray(whole.rgb))
    png = io.BytesIO()
    photo(2400, 1600).save(png, "PNG")
    assert decode_image(png.getvalue(), least_side=preprocessing.least_side).rgb.size == (2400, 1600)
