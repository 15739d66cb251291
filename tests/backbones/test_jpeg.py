"""Decoding and resizing where the network runs, on the processor, against Pillow."""

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.io import decode_jpeg

from tests.backbones.conftest import photo
from tests.backbones.test_preprocessing import V1
from toolkit.backbones import load_backbone
from toolkit.backbones.jpeg import decode_on
from toolkit.backbones.preprocessing import Preprocessing
from toolkit.backbones.resizing import resize_picture
from toolkit.errors import OptionError
from toolkit.images import decode_image


def jpeg(image, **options):
    data = io.BytesIO()
    image.save(data, "JPEG", **{"quality": 90} | options)
    return data.getvalue()


@pytest.mark.parametrize("resize", ["crop", "squash", "full"])
@pytest.mark.parametrize("size", [(500, 375), (375, 500), (230, 300), (300, 100)])
def test_decode__looks_like_pillows(resize, size):
    preprocessing = Preprocessing.of(V1, resize=resize, decode="device")
    data = jpeg(photo(*size))
    ((pixels, width, height),) = decode_on("cpu", [data], preprocessing, max_pixels=10**6)
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
    others = [
        jpeg(image, exif=exif),
        jpeg(image.convert("CMYK")),
        jpeg(image.convert("L")),
        jpeg(image, icc_profile=b"profile"),
        whole[: len(whole) // 2],
        png.getvalue(),
        b"\xff\xd8 no picture \xff\xd9",
        b"",
        jpeg(photo(800, 200)),  # resized whole it would be four times what the crop keeps
    ]
    assert decode_on("cpu", others, preprocessing, max_pixels=10**6) == [None] * len(others)
    assert decode_on("cpu", [whole], preprocessing, max_pixels=300 * 200 - 1) == [None]
    assert decode_on("cpu", [whole], preprocessing, max_pixels=300 * 200) != [None]


def test_decode__many_files_give_what_each_gives_alone(monkeypatch):
    preprocessing = Preprocessing.of(V1, resize="full", decode="device")
    files = [jpeg(photo(*size, seed)) for seed, size in enumerate([(300, 200), (200, 300)] * 3)]
    damaged = bytearray(files[0])
    damaged[2:200] = bytes(198)  # nothing is left of its tables, start and end are
    files[3:3] = [bytes(damaged), b""]
    alone = [decode_on("cpu", [data], preprocessing, max_pixels=10**6)[0] for data in files]
    assert [one is None for one in alone] == [False] * 3 + [True, True] + [False] * 3
    for most in (2**25, 2 * 300 * 200, 1):  # files of one call
        monkeypatch.setattr("toolkit.backbones.jpeg.MOST_PIXELS", most)
        together = decode_on("cpu", files, preprocessing, max_pixels=10**6)
        assert [one is None for one in together] == [one is None for one in alone]
        for got, want in zip(together, alone, strict=True):
            if want is not None:
                np.testing.assert_array_equal(got[0], want[0])
                assert got[1:] == want[1:]


def test_decode__one_the_decoder_refuses_spoils_no_other(monkeypatch):
    preprocessing = Preprocessing.of(V1, resize="full", decode="device")
    files = [jpeg(photo(300, 200, seed)) for seed in range(3)]
    calls = []

    def refuse_the_second(raw, **options):
        calls.append(len(raw))
        if any(bytes(one.numpy()) == files[1] for one in raw):
            raise RuntimeError("nvjpegDecode failed")
        return decode_jpeg(raw, **options)

    monkeypatch.setattr("toolkit.backbones.jpeg.decode_jpeg", refuse_the_second)
    found = decode_on("cpu", files, preprocessing, max_pixels=10**6)
    assert [one is None for one in found] == [False, True, False] and calls == [3, 1, 1, 1]


def test_decode__full_memory_is_said(monkeypatch):
    def full(raw, **options):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("toolkit.backbones.jpeg.decode_jpeg", full)
    preprocessing = Preprocessing.of(V1, resize="full", decode="device")
    with pytest.raises(OptionError, match="--decode device: the memory of cpu is full; give --decode scaled"):
        decode_on("cpu", [jpeg(photo(300, 200))], preprocessing, max_pixels=10**6)


def test_backbone__decodes_on_the_device_only_where_asked_to():
    options = {"weights": "random:0", "device": "cpu", "input_size": 64}
    files = [jpeg(photo(300, 200)), b""]
    on_device = load_backbone("resnet18", decode="device", **options)
    assert on_device.decode(files, 10**6)[0][1:] == (300, 200) and on_device.lot > 4
    backbone = load_backbone("resnet18", decode="scaled", precision="fp32", **options)
    assert backbone.decode(files, 10**6) == [None, None]


@pytest.mark.parametrize("resize", ["crop", "squash", "full"])
@pytest.mark.parametrize("size", [(500, 375), (230, 300), (900, 100), (32, 32), (1, 700)])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_resize__by_torch_is_pillows(resize, size, interpolation):
    recipe = replace(V1, interpolation=interpolation)
    preprocessing = Preprocessing.of(recipe, resize=resize)
    image = photo(*size)
    got, want = resize_picture(image, preprocessing), preprocessing(image)
    assert got.dtype == np.uint8 and got.shape == want.shape and got.flags.c_contiguous
    assert np.abs(got.astype(int) - want).max() <= (2 if resize != "crop" else 6)
    assert np.abs(got.astype(int) - want).mean() < 0.1


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
