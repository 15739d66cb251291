"""Decoding and resizing where the network runs, on the processor, against Pillow."""

import contextlib
import io
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.io import decode_jpeg

from tests.backbones.conftest import load, photo
from tests.backbones.test_preprocessing import V1, prepare
from toolkit.backbones.jpeg import AT_ONCE, DeviceDecoder
from toolkit.backbones.resizing import resize_picture
from toolkit.errors import OptionError
from toolkit.images.decode import decode_image


def decode_on(files, preprocessing, *, max_pixels):
    return DeviceDecoder("cpu", preprocessing)(files, max_pixels=max_pixels)


def jpeg(image, **options):
    data = io.BytesIO()
    image.save(data, "JPEG", **{"quality": 90} | options)
    return data.getvalue()


@pytest.mark.parametrize("resize", ["crop", "squash", "full"])
@pytest.mark.parametrize("size", [(500, 375), (375, 500), (230, 300), (300, 100)])
def test_decode__looks_like_pillows(resize, size):
    preprocessing = prepare(V1, resize=resize, decode="device")
    data = jpeg(photo(*size))
    ((pixels, width, height),) = decode_on([data], preprocessing, max_pixels=10**6)
    want = preprocessing(Image.open(io.BytesIO(data)))
    assert (width, height) == size and pixels.dtype == np.uint8 and pixels.shape == want.shape
    difference = np.abs(pixels.astype(int) - want)
    assert difference.mean() < 1.0 and difference.max() <= 8


def test_decode__leaves_to_pillow_what_needs_more_than_pixels():
    preprocessing = prepare(V1, resize="crop", decode="device")
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
    assert decode_on(others, preprocessing, max_pixels=10**6) == [None] * len(others)
    assert decode_on([whole], preprocessing, max_pixels=300 * 200 - 1) == [None]
    assert decode_on([whole], preprocessing, max_pixels=300 * 200) != [None]


def test_decode__many_files_give_what_each_gives_alone(monkeypatch):
    preprocessing = prepare(V1, resize="full", decode="device")
    files = [jpeg(photo(*size, seed)) for seed, size in enumerate([(300, 200), (200, 300)] * 3)]
    damaged = bytearray(files[0])
    damaged[2:200] = bytes(198)  # nothing is left of its tables, start and end are
    files[3:3] = [bytes(damaged), b""]
    alone = [decode_on([data], preprocessing, max_pixels=10**6)[0] for data in files]
    assert [one is None for one in alone] == [False] * 3 + [True, True] + [False] * 3
    for most in (2**25, 2 * 300 * 200, 1):  # files of one call
        monkeypatch.setattr("toolkit.backbones.jpeg.MOST_PIXELS", most)
        together = decode_on(files, preprocessing, max_pixels=10**6)
        assert [one is None for one in together] == [one is None for one in alone]
        for got, want in zip(together, alone, strict=True):
            if want is not None:
                np.testing.assert_array_equal(got[0], want[0])
                assert got[1:] == want[1:]


def test_decode__one_the_decoder_refuses_spoils_no_other(monkeypatch):
    preprocessing = prepare(V1, resize="full", decode="device")
    files = [jpeg(photo(300, 200, seed)) for seed in range(3)]
    calls = []

    def refuse_the_second(raw, **options):
        calls.append(len(raw))
        if any(bytes(one.numpy()) == files[1] for one in raw):
            raise RuntimeError("nvjpegDecode failed")
        return decode_jpeg(raw, **options)

    monkeypatch.setattr("toolkit.backbones.jpeg.decode_jpeg", refuse_the_second)
    decoded = decode_on(files, preprocessing, max_pixels=10**6)
    assert [one is None for one in decoded] == [False, True, False] and calls == [3, 1, 1, 1]


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        # torchvision makes one kind of all that goes wrong in nvJPEG
        RuntimeError("Error while decoding JPEG images: CUDA out of memory. Tried to allocate 20 MiB"),
    ],
)
def test_decode__full_memory_is_said_and_not_left_to_pillow(monkeypatch, error):
    def full(raw, **options):
        raise error

    monkeypatch.setattr("toolkit.backbones.jpeg.decode_jpeg", full)
    preprocessing = prepare(V1, resize="full", decode="device")
    files = [jpeg(photo(300, 200, seed)) for seed in range(2)]
    with pytest.raises(OptionError, match="--decode device: the memory of cpu is full; give --decode scaled"):
        decode_on(files, preprocessing, max_pixels=10**6)


class Stream:
    """A made-up CUDA stream that knows who is on it and whether its work was waited for."""

    made: ClassVar[list["Stream"]] = []

    def __init__(self, device):
        self.users, self.most, self.waited, self.calls = 0, 0, 0, 0
        Stream.made.append(self)

    def synchronize(self):
        self.waited += 1


def test_decode__a_call_has_a_stream_of_the_gpu_to_itself_and_waits_for_it(monkeypatch):
    preprocessing = prepare(V1, resize="full", decode="device")
    files = [jpeg(photo(300, 200, seed)) for seed in range(3)]
    want = decode_on(files, preprocessing, max_pixels=10**6)

    @contextlib.contextmanager
    def on_stream(device, stream):
        stream.users += 1
        stream.most, stream.calls = max(stream.most, stream.users), stream.calls + 1
        yield
        stream.users -= 1

    def decode(raw, *, mode, device):
        assert str(device) == "cuda:0"
        time.sleep(0.005)
        return decode_jpeg(raw, mode=mode)

    monkeypatch.setattr(Stream, "made", [])
    monkeypatch.setattr("torch.cuda.Stream", Stream)
    monkeypatch.setattr("toolkit.backbones.jpeg.on_stream", on_stream)
    monkeypatch.setattr("toolkit.backbones.jpeg.decode_jpeg", decode)
    decoder = DeviceDecoder("cuda:0", preprocessing)
    with ThreadPoolExecutor(12) as pool:
        decoded = list(pool.map(lambda _: decoder(files, max_pixels=10**6), range(24)))
    for got in decoded:
        for one, other in zip(got, want, strict=True):
            np.testing.assert_array_equal(one[0], other[0])
    assert len(Stream.made) == AT_ONCE and sum(stream.calls for stream in Stream.made) == 24
    assert all(stream.most == 1 and stream.waited == stream.calls for stream in Stream.made)


def test_decode__a_header_that_lies_is_left_to_pillow():
    preprocessing = prepare(V1, resize="full", decode="device")
    bomb = bytearray(jpeg(photo(300, 200)))
    frame = bomb.index(b"\xff\xc0")
    bomb[frame + 5 : frame + 9] = b"\xff\xff\xff\xff"  # 65,535 x 65,535 pixels
    assert decode_on([bytes(bomb)], preprocessing, max_pixels=10**6) == [None]


def test_backbone__decodes_on_the_device_only_where_asked_to():
    options = {"weights": "random:0", "device": "cpu", "input_size": 64}
    files = [jpeg(photo(300, 200)), b""]
    on_device = load("resnet18", decode="device", **options)
    assert on_device.decode(files, 10**6)[0][1:] == (300, 200) and on_device.lot > 4
    backbone = load("resnet18", decode="scaled", precision="fp32", **options)
    assert backbone.decode(files, 10**6) == [None, None]


@pytest.mark.parametrize("resize", ["crop", "squash", "full"])
@pytest.mark.parametrize("size", [(500, 375), (230, 300), (900, 100), (32, 32), (1, 700)])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_resize__by_torch_is_pillows(resize, size, interpolation):
    recipe = replace(V1, interpolation=interpolation)
    preprocessing = prepare(recipe, resize=resize)
    image = photo(*size)
    got, want = resize_picture(image, preprocessing), preprocessing(image)
    assert got.dtype == np.uint8 and got.shape == want.shape and got.flags.c_contiguous
    assert np.abs(got.astype(int) - want).max() <= (2 if resize != "crop" else 6)
    assert np.abs(got.astype(int) - want).mean() < 0.1


@pytest.mark.parametrize("turn", [1, 6])
def test_scaled__a_large_jpeg_is_shrunk_while_decoded_and_keeps_its_size(turn):
    preprocessing = prepare(V1, resize="crop")
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
    preprocessing = prepare(V1, resize="crop")
    data = jpeg(photo(500, 400))
    scaled, whole = (decode_image(data, least_side=side) for side in (preprocessing.least_side, None))
    np.testing.assert_array_equal(np.asarray(scaled.rgb), np.asarray(whole.rgb))
    png = io.BytesIO()
    photo(2400, 1600).save(png, "PNG")
    assert decode_image(png.getvalue(), least_side=preprocessing.least_side).rgb.size == (2400, 1600)
