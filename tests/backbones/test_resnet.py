"""ResNet50 against torchvision's own transform and forward, and every way its weights can be wrong."""

import urllib.error

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torchvision.models import ResNet50_Weights, resnet50

from toolkit.backbones import load_backbone
from toolkit.backbones.base import options_of, preprocessing_of
from toolkit.backbones.resnet import ResNet50
from toolkit.backbones.weights import digest_of
from toolkit.errors import OptionError, WeightsError


@pytest.fixture(scope="module")
def backbone():
    return load_backbone("resnet50", weights="random:0", device="cpu")


def photo(width, height, seed=0):
    coarse = np.random.default_rng(seed).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


@pytest.mark.parametrize("weights", ["IMAGENET1K_V1", "IMAGENET1K_V2"])
@pytest.mark.parametrize(
    "size", [(500, 375), (375, 500), (256, 256), (257, 300), (40, 900), (1, 1), (333, 224)]
)
def test_preprocess__is_torchvisions_preset(weights, size):
    preset = ResNet50_Weights[weights].transforms()
    ours = preprocessing_of(preset, "crop")
    image = photo(*size)
    pixels = torch.from_numpy(ours(image).copy()).permute(2, 0, 1).float() / 255
    mean, std = (torch.tensor(values)[:, None, None] for values in (ours.mean, ours.std))
    torch.testing.assert_close((pixels - mean) / std, preset(image), rtol=1e-5, atol=1e-5)


def test_preprocess__squash_takes_the_whole_image(backbone):
    preprocessing = preprocessing_of(ResNet50_Weights.IMAGENET1K_V1.transforms(), "squash")
    image = photo(448, 112)
    np.testing.assert_array_equal(
        preprocessing(image), np.asarray(image.resize((224, 224), Image.Resampling.BILINEAR))
    )
    assert str(preprocessing) != str(preprocessing_of(ResNet50_Weights.IMAGENET1K_V1.transforms(), "crop"))


def test_forward__is_torchvisions_network_without_its_classifier(backbone):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = resnet50(weights=None)
    network.fc = torch.nn.Identity()
    network.eval()
    images = [photo(300, 250, seed) for seed in range(3)]
    preset = ResNet50_Weights.IMAGENET1K_V1.transforms()
    with torch.inference_mode():
        want = network(torch.stack([preset(image) for image in images])).numpy()
    got = backbone.forward(np.stack([backbone.preprocess(image) for image in images]))
    assert got.shape == (3, 2048) and got.dtype == np.float32
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def test_forward__a_row_does_not_depend_on_its_batch(backbone):
    images = np.stack([backbone.preprocess(photo(300, 250, seed)) for seed in range(4)])
    together = backbone.forward(images)
    np.testing.assert_array_equal(backbone.forward(images[::-1].copy())[::-1], together)
    alone = np.concatenate([backbone.forward(image[None]) for image in images])
    np.testing.assert_allclose(alone, together, rtol=1e-5, atol=1e-5 * np.abs(together).max())


def test_random_weights__seeded_and_leave_the_global_generator_alone(backbone):
    state = torch.random.get_rng_state()
    again = load_backbone("resnet50", weights="random:0", device="cpu")
    assert torch.equal(torch.random.get_rng_state(), state)
    assert again.spec == backbone.spec
    assert (
        load_backbone("resnet50", weights="random:1", device="cpu").spec.weights_sha256
        != again.spec.weights_sha256
    )


def test_files__pth_and_safetensors_of_the_same_tensors_have_one_spec(tmp_path):
    state = {
        key: value for key, value in resnet50(weights=None).state_dict().items() if not key.startswith("fc.")
    }
    torch.save({"state_dict": {f"module.{key}": value for key, value in state.items()}}, tmp_path / "w.pth")
    save_file(state, tmp_path / "w.safetensors")
    specs = [
        load_backbone("resnet50", weights=str(tmp_path / name), device="cpu").spec
        for name in ("w.pth", "w.safetensors")
    ]
    assert specs[0].difference(specs[1]) is None


def test_digest__depends_on_values_and_names():
    one = {"a": torch.zeros(2), "b": torch.ones(2)}
    assert digest_of(one) == digest_of(dict(reversed(one.items())))
    assert digest_of(one) != digest_of({"a": torch.ones(2), "b": torch.zeros(2)})


def test_weights__not_reachable_names_three_remedies(monkeypatch, tmp_path):
    def refuse(*args, **kwargs):
        raise urllib.error.URLError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", refuse)
    with pytest.raises(
        WeightsError, match=r"put the file at .*resnet50-0676ba61.pth, or give --weights FILE .*random:0"
    ):
        load_backbone("resnet50", weights="imagenet1k-v1")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("imagenet", "--weights got 'imagenet'; allowed are imagenet1k-v1"),
        ("gone.pth", "there is no weights file gone.pth"),
    ],
)
def test_weights__unknown(name, text):
    with pytest.raises(WeightsError, match=text):
        load_backbone("resnet50", weights=name)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_weights__damaged_file(tmp_path, suffix):
    path = tmp_path / f"w{suffix}"
    path.write_bytes(b"junk" * 10)
    with pytest.raises(WeightsError, match="cannot be read as weights"):
        load_backbone("resnet50", weights=str(path))


def test_weights__a_pickle_with_code_is_never_run(tmp_path):
    marker = tmp_path / "ran"

    class Bomb:
        def __reduce__(self):
            return (marker.write_text, ("x",))

    torch.save({"state_dict": Bomb()}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="cannot be read as weights"):
        load_backbone("resnet50", weights=str(tmp_path / "w.pth"))
    assert not marker.exists()


def test_weights__of_another_network(tmp_path):
    save_file({"conv1.weight": torch.zeros(3, 3)}, tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match="does not fit resnet50: .* tensors differ"):
        load_backbone("resnet50", weights=str(tmp_path / "w.safetensors"))


@pytest.mark.parametrize("device", ["gpu", "meta"])
def test_device__unknown(device):
    with pytest.raises(
        OptionError, match=f"--device got '{device}'; allowed are auto, cpu, cuda, cuda:N, mps"
    ):
        load_backbone("resnet50", weights="random:0", device=device)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA GPU")
def test_device__cuda_without_one():
    with pytest.raises(OptionError, match="no usable CUDA GPU; use --device cpu"):
        load_backbone("resnet50", weights="random:0", device="cuda")


def test_backbone__unknown_name():
    with pytest.raises(OptionError, match="no backbone 'vgg'; choose one of: resnet50"):
        load_backbone("vgg")


def test_flip__is_the_mean_with_the_mirror_image():
    plain, flipped = ResNet50(weights="random:0"), ResNet50(weights="random:0", flip=True)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8)
    want = (plain.forward(pixels) + plain.forward(np.ascontiguousarray(pixels[:, :, ::-1]))) / 2
    np.testing.assert_allclose(flipped.forward(pixels), want, rtol=1e-4, atol=1e-5)
    assert flipped.spec.difference(plain.spec) == "preprocessing"


@pytest.mark.parametrize("resize", ["crop", "squash"])
def test_input_size__is_what_the_network_sees(resize):
    network = ResNet50(weights="random:0", resize=resize, input_size=96)
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (70, 130, 3), dtype=np.uint8))
    pixels = network.preprocess(image)
    assert pixels.shape == (96, 96, 3) and network.forward(pixels[None].copy()).shape == (1, 2048)
    if resize == "crop":  # 256 / 224 of 96
        np.testing.assert_array_equal(pixels, preset_pixels(image, resize_size=110, crop_size=96))


def preset_pixels(image, *, resize_size, crop_size):
    from torchvision.transforms import functional as F

    resized = F.resize(image, resize_size, F.InterpolationMode.BILINEAR)
    return np.asarray(F.center_crop(resized, crop_size))


@pytest.mark.parametrize(
    "options", [{"resize": "squash", "input_size": 256, "flip": True}, {"resize": "crop"}]
)
def test_options__can_be_read_off_the_spec(options):
    network = ResNet50(weights="random:0", **options)
    want = {"resize": "crop", "input_size": 224, "flip": False} | options
    assert options_of(network.spec.preprocessing) == want
    again = ResNet50(weights="random:0", **options_of(network.spec.preprocessing))
    assert again.spec == network.spec


def test_input_size__too_small():
    with pytest.raises(OptionError, match="--input-size got 8; give 32 or more"):
        ResNet50(weights="random:0", input_size=8)
