"""Resizing against torchvision's transform; the text and the options of a preprocessing."""

import numpy as np
import pytest
from PIL import Image
from torchvision.models import ConvNeXt_Tiny_Weights, ResNet50_Weights
from torchvision.transforms import functional as F

from tests.backbones.conftest import photo
from toolkit.backbones.options import NetworkOptions
from toolkit.backbones.preprocessing import Preprocessing, full_size
from toolkit.backbones.torchvision_models import _recipe

V1 = _recipe(ResNet50_Weights.IMAGENET1K_V1.transforms())
SIZES = [(500, 375), (375, 500), (256, 256), (257, 300), (40, 900), (1, 1), (333, 224)]


def prepare(recipe, **options):
    return Preprocessing.of(recipe, NetworkOptions(**options))


def preset_pixels(image, *, resize_size, crop_size):
    resized = F.resize(image, resize_size, F.InterpolationMode.BILINEAR)
    return np.asarray(F.center_crop(resized, crop_size))


@pytest.mark.parametrize("weights", ["IMAGENET1K_V1", "IMAGENET1K_V2"])
@pytest.mark.parametrize("size", SIZES)
def test_crop__is_torchvisions_preset(weights, size):
    recipe = _recipe(ResNet50_Weights[weights].transforms())
    image = photo(*size)
    got = prepare(recipe, resize="crop")(image).astype(int)
    want = preset_pixels(image, resize_size=recipe.resize_size, crop_size=recipe.crop_size)
    # only what ends up in the crop is resized, from the same places; rounding may fall the other way
    assert got.shape == want.shape and np.abs(got - want).max() <= 2
    assert np.abs(got - want).mean() < 0.05


def test_recipe__is_read_off_the_weights():
    assert (V1.resize_size, V1.crop_size, V1.interpolation) == (256, 224, "bilinear")
    assert V1.mean == (0.485, 0.456, 0.406) and V1.std == (0.229, 0.224, 0.225)
    assert _recipe(ConvNeXt_Tiny_Weights.IMAGENET1K_V1.transforms()).resize_size == 236


def test_squash__takes_the_whole_image():
    image = photo(448, 112)
    np.testing.assert_array_equal(
        prepare(V1, resize="squash")(image),
        np.asarray(image.resize((224, 224), Image.Resampling.BILINEAR)),
    )


@pytest.mark.parametrize(
    ("size", "want"),
    [
        ((256, 256), (224, 224)),
        ((640, 480), (256, 192)),
        ((480, 640), (192, 256)),
        ((3000, 2000), (288, 192)),
        ((1920, 1080), (288, 160)),
        ((9000, 100), (384, 128)),
        ((1, 1), (224, 224)),
    ],
)
def test_full__keeps_the_shape_in_cells_of_32(size, want):
    assert full_size(*size, 224) == want
    assert prepare(V1, resize="full")(photo(*size)).shape == (want[1], want[0], 3)


def test_full__loses_no_corner():
    image = np.zeros((300, 400, 3), np.uint8)
    image[:40, :40] = image[-40:, -40:] = 255
    pixels = prepare(V1, resize="full")(Image.fromarray(image))
    assert pixels[0, 0, 0] == pixels[-1, -1, 0] == 255 and pixels[0, -1, 0] == pixels[-1, 0, 0] == 0


@pytest.mark.parametrize("resize", ["crop", "squash"])
def test_input_size__is_what_the_network_sees(resize):
    image = photo(130, 70)
    pixels = prepare(V1, resize=resize, input_size=96)(image)
    assert pixels.shape == (96, 96, 3)
    if resize == "crop":  # 256 / 224 of 96
        want = preset_pixels(image, resize_size=110, crop_size=96)
        assert np.abs(pixels.astype(int) - want).max() <= 1


@pytest.mark.parametrize("resize", ["crop", "squash", "full"])
@pytest.mark.parametrize("size", [(4000, 3000), (3000, 4000), (700, 5000), (1000, 1000)])
def test_least_side__leaves_twice_what_is_needed(resize, size):
    preprocessing = prepare(V1, resize=resize)
    (width, height), box = preprocessing.plan(*size)
    shrunk = preprocessing.least_side(*size) / min(size)
    assert (box[2] - box[0]) * shrunk >= 2 * width - 1e-6
    assert (box[3] - box[1]) * shrunk >= 2 * height - 1e-6
    assert prepare(V1, resize=resize, decode="exact").least_side(*size) is None


@pytest.mark.parametrize(
    "options",
    [
        {"resize": "squash", "input_size": 256, "flip": True},
        {"resize": "crop"},
        {"resize": "full", "decode": "exact"},
        {"resize": "crop", "decode": "device", "flip": True},
    ],
)
def test_options__make_the_same_preprocessing_again(options):
    preprocessing = prepare(V1, **options)
    assert preprocessing.options == {"input_size": 224, "decode": "scaled", "flip": False} | options
    assert prepare(V1, **preprocessing.options) == preprocessing


def test_text__differs_where_pixels_do():
    ways = [
        {"resize": resize, "decode": decode, "flip": flip, "input_size": size}
        for resize in ("crop", "squash", "full")
        for decode in ("scaled", "exact", "device")
        for flip in (True, False)
        for size in (224, 256)
    ]
    assert len({str(prepare(V1, **way)) for way in ways}) == len(ways)
