"""The CUDA path without a GPU: torch's fake tensors know where they would be, and refuse to mix places."""

import contextlib
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from tests.backbones.conftest import load
from toolkit.backbones.base import DeviceMemoryError
from toolkit.backbones.engines import torch as engines
from toolkit.backbones.network import build_network
from toolkit.backbones.options import NetworkOptions
from toolkit.backbones.preprocessing import Preprocessing
from toolkit.backbones.registry import device_for
from toolkit.backbones.resizing import resize
from toolkit.errors import OptionError
from toolkit.verbs.info import info

GPU = "cuda:0"
EACH = 1_000_000  # bytes a picture takes on the made-up GPU


class FakeEngine(engines.TorchEngine):
    """All but what only a driver can do: streams, pinned memory, and numbers out of a fake tensor."""

    held: int = 0

    def _stream(self):
        return contextlib.nullcontext()

    def _upload(self, batch):
        return torch.from_numpy(batch).to(self._device)

    def _download(self, rows):
        assert str(rows.device) == GPU and rows.shape[1] == 512
        FakeEngine.held = max(FakeEngine.held, len(rows) * EACH)
        return np.ones(rows.shape, np.float32)


def move(module, device, memory_format):
    """Do as `torch.nn.Module.to` does, which cannot put a fake tensor into the place of a real one."""
    assert memory_format is torch.channels_last
    for part in module.modules():
        for held in (part._parameters, part._buffers):
            held.update({name: tensor.to(device) for name, tensor in held.items() if tensor is not None})
    return module


@pytest.fixture
def gpu(monkeypatch):
    """One made-up GPU of 8 GB; networks are built before tensors are made up."""
    network = build_network("resnet18", "random:0")
    monkeypatch.setattr(engines, "build_network", lambda *names: network)
    monkeypatch.setattr(engines, "TorchEngine", FakeEngine)
    monkeypatch.setattr("toolkit.runtime.devices.cuda_count", lambda: 1)
    monkeypatch.setattr(FakeEngine, "held", 0)
    for name, made_up in {
        "device": lambda device: contextlib.nullcontext(),
        "get_device_name": lambda index: "made-up GPU",
        "is_bf16_supported": lambda **options: True,
        "memory_allocated": lambda device: 0,
        "max_memory_allocated": lambda device: FakeEngine.held,
        "reset_peak_memory_stats": lambda device: None,
        "empty_cache": lambda: None,
        "get_device_properties": lambda device: SimpleNamespace(total_memory=8 * 100 * EACH),
    }.items():
        monkeypatch.setattr(torch.cuda, name, made_up)
    for flag in ("allow_tf32", "deterministic"):  # set back afterwards
        monkeypatch.setattr(torch.backends.cudnn, flag, getattr(torch.backends.cudnn, flag))
    monkeypatch.setattr(torch.nn.Module, "to", move)
    casts = []

    def autocast(kind, *, dtype, enabled):
        casts.append((kind, dtype, enabled))
        return contextlib.nullcontext()

    monkeypatch.setattr(torch, "autocast", autocast)  # without a driver it would do nothing, and warn
    with FakeTensorMode(allow_non_fake_inputs=True):
        yield SimpleNamespace(network=network, casts=casts)


def test_load__measures_the_precision_and_finds_the_batch_size(gpu):
    backbone = load("resnet18", weights="random:0", device=GPU, input_size=64)
    assert backbone.device == GPU and backbone.spec.dim == 512
    assert backbone.spec.precision == "bf16" and backbone.why.startswith("bf16: cosine to fp32 1.0")
    assert backbone.batch_size == 64  # an eighth of the GPU has room for 100
    assert backbone.in_flight == 2 and backbone.pads
    assert not torch.backends.cudnn.allow_tf32 and torch.backends.cudnn.deterministic
    assert {parameter.device for parameter in gpu.network.module.parameters()} == {torch.device(GPU)}
    assert {(dtype, enabled) for _, dtype, enabled in gpu.casts} == {(torch.bfloat16, True), (None, False)}
    gpu.casts.clear()
    assert backbone.forward(np.zeros((3, 64, 96, 3), np.uint8)).shape == (3, 512)
    assert gpu.casts == [("cuda", torch.bfloat16, True)]


def test_load__with_no_room_for_the_smallest_batch_leaves_the_halving_to_the_pass(gpu, monkeypatch):
    def full(self, rows):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(FakeEngine, "_download", full)
    backbone = load("resnet18", weights="random:0", device=GPU, input_size=64, precision="fp32")
    assert backbone.batch_size == engines.SMALLEST_BATCH
    with pytest.raises(DeviceMemoryError, match="3 pictures do not fit on cuda:0"):
        backbone.forward(np.zeros((3, 64, 64, 3), np.uint8))


def test_info__names_the_gpu_and_what_auto_takes(gpu, monkeypatch, tmp_path):
    monkeypatch.setenv("TOOLKIT_CACHE", str(tmp_path))
    monkeypatch.setattr("toolkit.verbs.info.cuda_count", lambda: 1)
    load("resnet18", weights="random:0", device=GPU, input_size=64)
    machine = info(artifacts=tmp_path)["machine"]
    assert (machine["device"], machine["processor"], machine["gpus"]) == (GPU, "made-up GPU", 1)
    assert (machine["engine"], machine["fast_precisions"]) == ("torch", ["bf16", "fp16"])
    (network,) = machine["networks"]
    assert (network["backbone"], network["weights"], network["graph"]) == ("resnet18", "random:0", False)
    (fidelity,) = network["fidelity"]
    assert (fidelity["precision"], fidelity["faithful"]) == ("bf16", True)
    assert fidelity["what"] == "torch on made-up GPU at 64"


@pytest.mark.parametrize("precision", ["auto", "fp32"])
def test_load__where_not_even_the_network_fits_is_one_line(gpu, monkeypatch, precision):
    def full(module, device, memory_format):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch.nn.Module, "to", full)
    text = "the network does not fit on cuda:0; free some of its memory, or give another --device"
    with pytest.raises(OptionError, match=text):
        load("resnet18", weights="random:0", device=GPU, input_size=64, precision=precision)


def test_load__where_precisions_cannot_be_measured_is_one_line(gpu, monkeypatch, tmp_path):
    monkeypatch.setenv("TOOLKIT_CACHE", str(tmp_path))  # nothing is remembered

    def full(self, rows):
        raise RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED")

    monkeypatch.setattr(FakeEngine, "_download", full)
    with pytest.raises(OptionError, match="4 pictures do not fit on cuda:0; free some of its memory"):
        load("resnet18", weights="random:0", device=GPU, input_size=64)


def test_auto__is_the_cpu_if_engine_or_precision_run_nowhere_else(gpu):
    assert load("resnet18", weights="random:0", input_size=64, precision="fp32").device == GPU
    assert device_for("auto", "openvino", "auto") == device_for("auto", "auto", "int8-0123") == "cpu"
    assert (
        device_for("auto", "torch", "bf16") == "auto" and device_for("cuda:1", "openvino", "auto") == "cuda:1"
    )


@pytest.mark.parametrize("mode", ["crop", "squash", "full"])
def test_resize__stays_on_the_device(gpu, mode):
    preprocessing = Preprocessing.of(gpu.network.recipe, NetworkOptions(resize=mode))
    pixels = resize(torch.zeros((5, 3, 375, 500), dtype=torch.uint8, device=GPU), preprocessing)
    assert str(pixels.device) == GPU and pixels.dtype == torch.uint8
    assert pixels.shape == ((5, 192, 256, 3) if mode == "full" else (5, 224, 224, 3))
