"""Every way weights can be wrong, and what identifies them."""

import json
import pickle
import struct
import urllib.error

import pytest
import torch
import torchvision
from safetensors.torch import save_file

from tests.backbones.conftest import load
from toolkit.backbones.network import build_network, digest
from toolkit.backbones.torchvision_models import build
from toolkit.backbones.weights import RESNET50_FILE, file_state, identity, torch_cache
from toolkit.errors import OptionError, WeightsError


def tensors():
    state = torchvision.models.resnet18(weights=None).state_dict()
    return {key: value for key, value in state.items() if not key.startswith("fc.")}


def test_files__pth_and_safetensors_of_the_same_tensors_have_one_digest(tmp_path):
    state = tensors()
    torch.save({"state_dict": {f"module.{key}": value for key, value in state.items()}}, tmp_path / "w.pth")
    save_file(state, tmp_path / "w.safetensors")
    one, other = (build("resnet18", str(tmp_path / name)) for name in ("w.pth", "w.safetensors"))
    assert one.weights_sha256 == other.weights_sha256
    assert identity(str(tmp_path / "w.pth")) != identity(str(tmp_path / "w.safetensors"))


def test_random__seeded_and_leaves_the_global_generator_alone():
    state = torch.random.get_rng_state()
    one, again, other = (build("resnet18", f"random:{seed}").weights_sha256 for seed in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert one == again != other


def test_digest__depends_on_values_and_names():
    def module(**tensors):
        return torch.nn.ParameterDict(tensors)

    zeros, ones = torch.zeros(2), torch.ones(2)
    assert digest(module(a=zeros, b=ones)) == digest(module(b=ones, a=zeros))
    assert digest(module(a=zeros, b=ones)) != digest(module(a=ones, b=zeros))


def test_identity__of_a_file_follows_its_content(tmp_path):
    path = tmp_path / "w.pth"
    path.write_bytes(b"one")
    first = identity(str(path))
    path.write_bytes(b"two")
    assert identity(str(path)) != first and identity("imagenet1k-v1") == "imagenet1k-v1"


def test_not_reachable__names_three_remedies(monkeypatch, tmp_path):
    def refuse(*args, **kwargs):
        raise urllib.error.URLError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", refuse)
    with pytest.raises(
        WeightsError, match=r"put the file at .*resnet50-0676ba61.pth, or give --weights FILE .*random:0"
    ):
        load("resnet50", engine="torch")


def test_cache__is_torchvisions(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert str(torch_cache()) == f"{torch.hub.get_dir()}/checkpoints"
    monkeypatch.delenv("TORCH_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "x"))
    assert str(torch_cache()) == f"{torch.hub.get_dir()}/checkpoints"
    assert torchvision.models.ResNet50_Weights.IMAGENET1K_V1.url.endswith(RESNET50_FILE)


@pytest.mark.parametrize("engine", ["torch", "openvino"])
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("imagenet", "--weights got 'imagenet'; allowed are imagenet1k-v1"),
        ("gone.pth", r"there is no weights file /.*/gone.pth; allowed are"),
    ],
)
def test_unknown(engine, name, text):
    with pytest.raises(WeightsError, match=text):
        load("resnet50", weights=name, engine=engine)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_damaged_file(tmp_path, suffix, engine):
    path = tmp_path / f"w{suffix}"
    path.write_bytes(b"junk" * 10)
    with pytest.raises(WeightsError, match="cannot be read as weights"):
        load("resnet18", weights=str(path), engine=engine)


def test_a_pickle_with_code_is_never_run(tmp_path):
    marker = tmp_path / "ran"

    class Bomb:
        def __reduce__(self):
            return (marker.write_text, ("x",))

    torch.save({"state_dict": Bomb()}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="cannot be read as weights"):
        load("resnet18", weights=str(tmp_path / "w.pth"), engine="torch")
    assert not marker.exists()


@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_of_another_network(tmp_path, engine):
    save_file({"conv1.weight": torch.zeros(3, 3)}, tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match="does not fit resnet18: .* tensors differ, first"):
        load("resnet18", weights=str(tmp_path / "w.safetensors"), engine=engine)


def test_names_a_network_has_not():
    with pytest.raises(WeightsError, match="torchvision has no weights imagenet1k-v2 for resnet18; it has "):
        build("resnet18", "imagenet1k-v2")
    with pytest.raises(WeightsError, match="--weights got imagenet1k-v1, torchvision's; for timm:resnet18"):
        build_network("timm:resnet18", "imagenet1k-v1")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ResNet-50", "there is no backbone 'ResNet-50'; give resnet50, another classifier"),
        ("resnet5", "has no classifier 'resnet5'; did you mean resnet50 or "),
        ("vit_xx", r"has no classifier 'vit_xx'; did you mean vit_\w+ or .*\?$"),
        ("zzzz", "has no classifier 'zzzz'; give resnet50, or timm:NAME"),
        ("timm:resnat18", "has no model 'resnat18'"),
    ],
)
def test_backbones_there_are_not(name, text):
    with pytest.raises(OptionError, match=text):
        load(name, weights="random:0")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            lambda tensor: tensor * float("nan"),
            "holds NaN or infinity in 1 tensors, first 'layer1.0.conv1.weight'",
        ),
        (lambda tensor: tensor.to(torch.complex64), "holds no plain numbers in 'layer1.0.conv1.weight'"),
        (lambda tensor: tensor[:1], "does not fit resnet18: 1 tensors differ"),
    ],
)
def test_values_no_network_has(change, text, tmp_path):
    state = torchvision.models.resnet18(weights=None).state_dict()
    state["layer1.0.conv1.weight"] = change(state["layer1.0.conv1.weight"]).contiguous()
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=text):
        build("resnet18", str(tmp_path / "w.pth"))


def test_lying_headers_and_pickles_are_one_line_without_unsafe_advice(tmp_path):
    header = json.dumps({"a": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4 * 10**12]}}).encode()
    contents = {
        "lie.safetensors": struct.pack("<Q", len(header)) + header + bytes(4),
        "huge.safetensors": struct.pack("<Q", 2**60) + b"{}",
        "list.pth": pickle.dumps([1, print], protocol=2),
        "text.pth": b"hello",
        "none.pth": b"",
    }
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(WeightsError, match=f"{name} cannot be read as weights") as caught:
            file_state(str(tmp_path / name))
        assert "\n" not in str(caught.value)
        said = str(caught.value).replace(str(tmp_path), "")
        assert not any(word in said for word in ("weights_only", "pickle", "trusted"))
    torch.save({1: torch.zeros(2)}, tmp_path / "keys.pth")
    with pytest.raises(WeightsError, match="does not hold a state dict"):
        file_state(str(tmp_path / "keys.pth"))
