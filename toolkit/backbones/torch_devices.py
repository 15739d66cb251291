"""Facts of torch's devices."""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch


def fast_precisions(device: str) -> tuple[str, ...]:
    """Return the precisions faster than fp32 on a device, the safest first."""
    if device.startswith("cuda"):
        with torch.cuda.device(device):  # the check is made on the current device
            native = torch.cuda.is_bf16_supported(including_emulation=False)
        return ("bf16", "fp16") if native else ("fp16",)
    if device == "mps":
        return ("fp16",)
    return ()  # a CPU may emulate bf16, slower than fp32, and torch does not report that


def processor(device: str) -> str:
    """Return the driver's name of a GPU, or torch's name of another device."""
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else device


def describe(device: str) -> tuple[str, tuple[str, ...]]:
    """Return the name of a device's processor and the precisions faster than fp32."""
    return processor(device), fast_precisions(device)


def is_out_of_memory(error: RuntimeError) -> bool:
    """Return whether a device's memory was full, which Metal, cuDNN and nvJPEG report only in the text."""
    text = str(error).lower()
    return isinstance(error, torch.OutOfMemoryError) or "out of memory" in text or "alloc_failed" in text


@contextlib.contextmanager
def on_stream(device: torch.device, stream: Any) -> Iterator[None]:
    """Make `stream` of a CUDA device the current one.

    The device is entered first: else leaving the stream would return to the device current before, and open a
    context of some hundred MB on it.
    """
    with torch.cuda.device(device), torch.cuda.stream(stream):
        yield
