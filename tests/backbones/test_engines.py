"""Engines against torchvision's own forward, and against each other."""

import json
import os
import subprocess
import sys
import weakref
from dataclasses import replace
from pkgutil import resolve_name

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from tests.backbones.conftest import load, photo
from toolkit.backbones import registry
from toolkit.backbones.base import DeviceMemoryError
from toolkit.backbones.engines.openvino import fast_precisions
from toolkit.backbones.engines.torch import TorchEngine, batch_size_within
from toolkit.backbones.fidelity import cosines
from toolkit.backbones.graphs import NetworkFacts, cache_folder, write_facts
from toolkit.backbones.network import build_network
from toolkit.backbones.options import NetworkOptions
from toolkit.backbones.preprocessing import Recipe
from toolkit.backbones.registry import ENGINES, EngineEntry, choose_engine, engine_choices
from toolkit.errors import OptionError

SMALL = {"weights": "random:0", "input_size": 64, "device": "cpu"}


def pixels(n=5, side=64):
    return np.random.default_rng(0).integers(0, 256, (n, side, side, 3), dtype=np.uint8)


@pytest.mark.parametrize("engine", ["openvino", "torch"])
def test_forward__is_torchvisions_network_without_its_classifier(engine):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = torchvision.models.resnet50(weights=None)
    network.fc = torch.nn.Identity()
    network.eval()
    images = [photo(300, 250, seed) for seed in range(3)]
    preset = torchvision.models.ResNet50_Weights.IMAGENET1K_V1.transforms()
    with torch.inference_mode():
        want = network(torch.stack([preset(image) for image in images])).numpy()
    options = {"weights": "random:0", "device": "cpu", "precision": "fp32", "resize": "crop"}
    backbone = load("resnet50", engine=engine, **options)
    got = backbone.forward(np.stack([backbone.preprocess(image) for image in images]))
    assert got.shape == (3, 2048) and got.dtype == np.float32 and backbone.spec.dim == 2048
    assert backbone.spec.engine == engine
    assert cosines(got, want).min() > 0.99999
    assert np.abs(got - want).max() < 5e-3 * np.abs(want).max()  # pixels may be rounded the other way


@pytest.mark.parametrize("precision", ["fp32", *fast_precisions()])
def test_openvino__a_row_has_the_same_bits_in_any_batch(precision):
    backbone = load("resnet18", engine="openvino", precision=precision, **SMALL)
    batch = pixels()
    together = backbone.forward(batch)
    np.testing.assert_array_equal(backbone.forward(batch[::-1].copy())[::-1], together)
    np.testing.assert_array_equal(np.concatenate([backbone.forward(one[None]) for one in batch]), together)
    assert not backbone.pads


def test_torch__a_row_does_not_depend_on_its_batch():
    backbone = load("resnet18", engine="torch", **SMALL)
    batch = pixels()
    together = backbone.forward(batch)
    np.testing.assert_array_equal(backbone.forward(batch[::-1].copy())[::-1], together)
    alone = np.concatenate([backbone.forward(one[None]) for one in batch])
    np.testing.assert_allclose(alone, together, rtol=1e-5, atol=1e-5 * np.abs(together).max())
    assert backbone.pads and backbone.spec.precision == "fp32"


@pytest.mark.parametrize("engine", ["openvino", "torch"])
def test_flip__is_the_mean_with_the_mirror_image(engine):
    plain, flipped = (
        load("resnet18", engine=engine, precision="fp32", flip=flip, **SMALL) for flip in (False, True)
    )
    batch = pixels(2)
    want = (plain.forward(batch) + plain.forward(np.ascontiguousarray(batch[:, :, ::-1]))) / 2
    np.testing.assert_allclose(flipped.forward(batch), want, rtol=1e-5, atol=1e-6)
    assert flipped.spec.difference(plain.spec) == "preprocessing"


def test_full__any_shape_goes_through_one_graph():
    options = SMALL | {"input_size": 128, "resize": "full", "precision": "fp32"}
    ours, theirs = (load("resnet18", engine=engine, **options) for engine in ("openvino", "torch"))
    for size in ((200, 150), (90, 200)):
        batch = ours.preprocess(photo(*size))[None].copy()
        assert batch.shape[1] != batch.shape[2]
        np.testing.assert_allclose(ours.forward(batch), theirs.forward(batch), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", ["convnext_tiny", "vit_b_16", "mobilenet_v3_small", "timm:resnet10t"])
def test_other_families__are_the_network_before_its_last_layer(name):
    network = build_network(name, "random:0")
    side = 224
    if name.startswith("timm:"):
        import timm

        with torch.random.fork_rng():
            torch.manual_seed(0)
            whole = timm.create_model("resnet10t", pretrained=False, num_classes=0).eval()
        last = torch.nn.Identity()
    else:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            whole = torchvision.models.get_model(name, weights=None).eval()
        last = [layer for layer in whole.modules() if isinstance(layer, torch.nn.Linear)][-1]
    x = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        torch.testing.assert_close(last(network.module(x)), whole(x), rtol=1e-4, atol=1e-5)


def test_other_families__through_the_door_on_both_engines():
    ours, theirs = (
        load("timm:resnet10t", engine=engine, precision="fp32", **SMALL) for engine in ("openvino", "torch")
    )
    assert ours.spec.difference(theirs.spec) == "engine" and ours.spec.dim == 512
    assert "bicubic" in ours.spec.preprocessing and ours.spec.pooling == "timm"
    np.testing.assert_allclose(ours.forward(pixels()), theirs.forward(pixels()), rtol=1e-3, atol=1e-5)


def test_start__with_a_graph_in_the_cache_needs_no_torch(resnet50):
    code = (
        "import sys, numpy\n"
        "from toolkit.backbones.frozen import load_backbone\n"
        "from toolkit.backbones.options import NetworkOptions\n"
        "options = NetworkOptions(weights='random:0', precision='fp32', device='cpu')\n"
        "backbone = load_backbone(options)\n"
        "backbone.forward(numpy.zeros((1, 64, 64, 3), numpy.uint8))\n"
        "print(sorted({'torch', 'torchvision', 'faiss', 'sklearn'} & set(sys.modules)))"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert process.stdout.strip() == "[]"


TWO_AT_ONCE = """
import threading, numpy
from toolkit.backbones.frozen import load_backbone
from toolkit.backbones.options import NetworkOptions
options = {"backbone": "resnet18", "weights": "random:0", "input_size": 64, "device": "cpu"}
backbone = load_backbone(NetworkOptions(**options, precision="fp32"))
together = threading.Barrier(2)
def first():
    together.wait()
    backbone.forward(numpy.zeros((1, 64, 64, 3), numpy.uint8))
threads = [threading.Thread(target=first) for _ in range(2)]
for thread in threads:
    thread.start()
"""


def test_start__concurrent_first_calls_do_not_deadlock():
    load("resnet18", engine="openvino", precision="fp32", **SMALL)
    for _ in range(8):  # hung about every fourth time when the first call was not made alone
        subprocess.run([sys.executable, "-c", TWO_AT_ONCE], check=True, timeout=60)


def test_convert__sends_no_telemetry(tmp_path):
    """OpenVINO would count its imports and conversions in ~/intel and send them away."""
    environment = os.environ | {"HOME": str(tmp_path), "TOOLKIT_CACHE": str(tmp_path / "cache")}
    code = (
        "from toolkit.backbones.frozen import load_backbone\n"
        "from toolkit.backbones.options import NetworkOptions\n"
        "options = {'backbone': 'resnet18', 'weights': 'random:0', 'device': 'cpu'}\n"
        "load_backbone(NetworkOptions(**options, precision='fp32'))"
    )
    environment.pop("CI", None)  # there it would hold back by itself
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


def test_cache__that_cannot_be_written_is_said_so(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TOOLKIT_CACHE", str(tmp_path / "file"))
    with pytest.raises(OptionError, match="cannot be written .*; name another folder with TOOLKIT_CACHE"):
        load("resnet18", engine="openvino", **SMALL)


def _flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 64
    path.write_bytes(data)


def _without_digests(folder):
    document = json.loads((folder / "graph.json").read_text())
    del document["digests"]
    (folder / "graph.json").write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("harm", "text"),
    [
        (lambda folder: (folder / "graph.json").write_text("{}"), "object missing required field"),
        (lambda folder: (folder / "graph.json").write_text("[" * 10**6), "expected object, got array"),
        (lambda folder: _flip(folder / "graph.bin"), "graph.bin differs from when it was made"),
        (lambda folder: _flip(folder / "graph.xml"), "graph.xml differs from when it was made"),
        (lambda folder: (folder / "graph.bin").unlink(), "No such file"),
        (lambda folder: os.truncate(folder / "graph.bin", 1000), "graph.bin differs from when it was made"),
        (_without_digests, "graph.xml has no known digest"),
    ],
)
def test_cache__a_damaged_graph_is_made_again(harm, text, monkeypatch, tmp_path, caplog):
    """With a flipped bit OpenVINO computed features that were off by 10^36, without an error."""
    monkeypatch.setenv("TOOLKIT_CACHE", str(tmp_path))
    monkeypatch.setattr("toolkit.backbones.graphs.run_apart", _tiny)
    options = {"engine": "openvino", "precision": "fp32", **SMALL}
    batch = np.full((1, 64, 64, 3), 200, np.uint8)
    want = load("resnet18", **options).forward(batch)
    (facts,) = tmp_path.glob("graphs/*/graph.json")
    caplog.clear()
    assert np.array_equal(load("resnet18", **options).forward(batch), want) and not caplog.records
    harm(facts.parent)
    np.testing.assert_array_equal(load("resnet18", **options).forward(batch), want)
    (record,) = caplog.records
    assert text in record.getMessage() and record.getMessage().endswith(": it is made again")
    assert "\n" not in record.getMessage()
    caplog.clear()
    load("resnet18", **options)
    assert not caplog.records


def _tiny(function, backbone, *arguments):
    """Write a graph that averages pixels, as quickly as converting a network is slow."""
    *_, folder = arguments
    ops, openvino = pytest.importorskip("openvino.opset13"), pytest.importorskip("openvino")
    pixels = ops.parameter([-1, -1, -1, 3], np.uint8)
    means = ops.reduce_mean(ops.convert(pixels, np.float32), ops.constant([1, 2]), False)
    rows = ops.matmul(means, np.random.default_rng(0).random((3, 512), np.float32), False, False)
    openvino.save_model(openvino.Model([rows], [pixels]), folder / "graph.xml", compress_to_fp16=False)
    recipe = Recipe(resize_size=64, crop_size=64, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    facts = dict(backbone="resnet18", weights="random:0", weights_sha256="0", pooling="avg", dim=512)
    write_facts(folder, NetworkFacts(**facts, recipe=recipe))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"engine": "tensorrt"}, "--engine got 'tensorrt'; allowed are auto, openvino, torch"),
        ({"precision": "fp8"}, "--precision got 'fp8'; allowed are auto, fp32, bf16, fp16, int8"),
        ({"resize": "pad"}, "--resize got 'pad'; allowed are full, crop, squash"),
        ({"decode": "fast"}, "--decode got 'fast'; allowed are scaled, exact, device"),
        ({"input_size": 8}, "--input-size got 8; give 32 to 4,096"),
        ({"input_size": 100_000}, "--input-size got 100000; give 32 to 4,096"),
        (
            {"precision": "int8", "engine": "torch"},
            "int8 runs on CPUs by OpenVINO, not on cpu by torch",
        ),
        (
            {"decode": "device", "engine": "openvino"},
            "device does not work with --engine openvino; use --engine torch",
        ),
        ({"precision": "int8"}, "int8 needs a folder to keep its calibrated graph in"),
        ({"device": "gpu"}, "--device got 'gpu'; allowed are auto, cpu, cuda, cuda:N, mps"),
        ({"device": "cpu,cpu"}, "only embed takes several devices, name one"),
    ],
)
def test_options__not_allowed(options, text):
    with pytest.raises(OptionError, match=text):
        load("resnet18", **{"weights": "random:0", "device": "cpu"} | options)


def test_precision__the_name_of_a_graph_is_allowed_but_not_listed():
    assert NetworkOptions(precision="int8-0123").precision == "int8-0123"
    with pytest.raises(OptionError, match="--precision got 'fp8'; allowed are auto, fp32, bf16, fp16, int8$"):
        NetworkOptions(precision="fp8")


def test_engines__a_new_one_is_a_line_in_the_registry(monkeypatch):
    class Constant:
        pads, in_flight = False, 1

        def batch_size(self, side):
            return 7

        def forward(self, batch):
            return np.ones((len(batch), 512), np.float32)

    def load_constant(options, **_):
        network = resolve_name(ENGINES["torch"].load)(replace(options, engine="torch"), **_)
        return replace(network, options=options, start=lambda precision: Constant())

    monkeypatch.setattr(sys.modules[__name__], "load_constant", load_constant, raising=False)
    entry = EngineEntry(f"{__name__}:load_constant", ("cpu",))
    monkeypatch.setattr(registry, "ENGINES", {"json": entry, **ENGINES})  # an engine has its package's name
    monkeypatch.setattr("toolkit.backbones.frozen.ENGINES", registry.ENGINES)
    assert engine_choices() == ("auto", "json", "openvino", "torch")
    assert choose_engine("auto", "cpu") == "json" and choose_engine("auto", "mps") == "torch"
    backbone = load("resnet18", engine="json", **SMALL)
    assert backbone.spec.engine == "json" and backbone.batch_size == 7
    assert backbone.forward(pixels(2)).sum() == 1024


def test_choose_engine(monkeypatch, caplog):
    assert choose_engine("auto", "cpu") == "openvino" and choose_engine("auto", "cuda:1") == "torch"
    with pytest.raises(OptionError, match="--engine openvino does not run on mps; use --engine torch"):
        choose_engine("openvino", "mps")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert choose_engine("auto", "cpu") == "torch"
    assert "openvino is not installed: torch does the pass" in caplog.text
    with pytest.raises(OptionError, match="--engine openvino is not installed; pip install openvino"):
        choose_engine("openvino", "cpu")


@pytest.mark.skipif("bf16" in fast_precisions(), reason="this processor computes in bf16")
def test_precision__this_processor_has_not():
    with pytest.raises(OptionError, match="--precision bf16: .* does not compute in it"):
        load("resnet18", engine="openvino", precision="bf16", **SMALL)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("MPS backend out of memory (MPS allocated: 5.00 GiB, ...)"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    ],
)
def test_torch_engine__reports_full_memory_and_lets_go_of_it(error):
    engine = TorchEngine(build_network("resnet18", "random:0"), "cpu", "fp32")
    held = []

    def refuse(batch):
        activations = torch.zeros(3)
        held.append(weakref.ref(activations))
        raise error

    engine._module = refuse
    with pytest.raises(DeviceMemoryError, match="5 pictures do not fit on cpu") as raised:
        engine.forward(pixels())
    error.__traceback__ = None  # ours: it is raised by hand, and again
    assert raised.value.__context__ is None and raised.value.__cause__ is None
    assert held[0]() is None


def test_torch_engine__other_errors_are_not_taken_for_full_memory():
    engine = TorchEngine(build_network("resnet18", "random:0"), "cpu", "fp32")
    with pytest.raises(RuntimeError, match="size of tensor a .5. must match"):
        engine.forward(np.zeros((2, 64, 64, 5), np.uint8))


@pytest.mark.parametrize(
    ("room", "want"),
    [(10_000, 256), (256 * 10, 256), (256 * 10 - 1, 128), (700, 64), (320, 32), (8, 32)],
)
def test_batch_size__is_the_largest_that_fits(room, want):
    assert batch_size_within(room, 10.0) == want


@pytest.mark.slow
def test_real_weights__auto_is_faithful(shared_weights, shared_data):
    options = {"weights": str(shared_weights), "device": "cpu", "resize": "crop"}
    auto, exact = (load("resnet50", precision=name, **options) for name in ("auto", "fp32"))
    if fast_precisions():
        assert auto.spec.precision == "bf16" and "cosine to fp32" in auto.why
    files = sorted((shared_data / "coco_small" / "images").glob("*.jpg"))[:24]
    batch = np.stack([exact.preprocess(Image.open(path).convert("RGB")) for path in files])
    cosine = cosines(auto.forward(batch), exact.forward(batch))
    assert cosine.mean() >= 0.9995 and cosine.min() >= 0.998


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA GPU")
@pytest.mark.parametrize("device", ["cuda", "cuda:1", "all"])
def test_device__cuda_without_one(device):
    with pytest.raises(OptionError, match="no usable CUDA GPU; use --device cpu"):
        load("resnet18", weights="random:0", device=device)


@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_one_size_only__is_squashed_by_default_and_refuses_other_sizes(engine):
    options = {"weights": "random:0", "device": "cpu", "engine": engine, "precision": "fp32"}
    backbone = load("timm:vit_tiny_patch16_224", **options)
    assert backbone.spec.preprocessing.startswith("squash 224 bicubic")
    image = photo(300, 200)
    assert backbone.forward(backbone.preprocess(image)[None].copy()).shape == (1, 192)
    with pytest.raises(OptionError, match="--resize full: this network takes pictures of 224 x 224 only"):
        load("timm:vit_tiny_patch16_224", resize="full", **options)
    with pytest.raises(OptionError, match="--input-size 256: this network takes pictures of 224 x 224 only"):
        load("timm:vit_tiny_patch16_224", input_size=256, **options)


def test_cache_folder__is_the_tests_own():
    assert "pytest" in str(cache_folder())
