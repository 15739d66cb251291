"""Which devices are meant, on machines that are made up."""

import pytest

import toolkit.runtime.devices as module
from toolkit.errors import OptionError
from toolkit.runtime.devices import resolve_device, resolve_devices


def machine(monkeypatch, *, gpus=0, mps=False):
    monkeypatch.setattr(module, "cuda_count", lambda: gpus)
    monkeypatch.setattr(module, "has_mps", lambda: mps)


@pytest.mark.parametrize(
    ("gpus", "mps", "text", "want"),
    [
        (0, False, "auto", ("cpu",)),
        (2, False, "auto", ("cuda:0",)),
        (0, True, "auto", ("mps",)),
        (3, False, "all", ("cuda:0", "cuda:1", "cuda:2")),
        (2, False, "cuda:1, cuda", ("cuda:1", "cuda:0")),
        (2, False, "cpu", ("cpu",)),
    ],
)
def test_resolve(monkeypatch, gpus, mps, text, want):
    machine(monkeypatch, gpus=gpus, mps=mps)
    assert resolve_devices(text) == want


@pytest.mark.parametrize(
    ("gpus", "text", "message"),
    [
        (0, "mps", "--device mps: this machine has no Metal GPU"),
        (2, "cuda:2", "--device cuda:2: this machine's GPUs are cuda:0 to cuda:1"),
        (0, "all", "--device all: this machine has no usable CUDA GPU"),
        (1, "cuda:0,", "--device got 'cuda:0,'; allowed are"),
        (1, "cuda:x", "--device got 'cuda:x'; allowed are"),
    ],
)
def test_resolve__errors(monkeypatch, gpus, text, message):
    machine(monkeypatch, gpus=gpus)
    with pytest.raises(OptionError, match=message):
        resolve_devices(text)


def test_resolve_device__is_one(monkeypatch):
    machine(monkeypatch, gpus=2)
    assert resolve_device("cuda:1") == "cuda:1"
    with pytest.raises(OptionError, match="got 'all'; only embed takes several devices"):
        resolve_device("all")
    with pytest.raises(OptionError, match="got 'tpu'; allowed are auto, cpu, cuda, cuda:N, mps$"):
        resolve_device("tpu")
