"""Devices of this machine and the names users give them; torch is imported only where that is needed."""

import ctypes
import functools
import os
import platform
import re
import sys
from pathlib import Path

from toolkit.errors import OptionError

ONE = "auto, cpu, cuda, cuda:N, mps"
SEVERAL = f"{ONE}, several joined by commas (cuda:0,cuda:1), or all"


def usable_cores() -> int:
    """Return the number of CPU cores available to this process: fewer than the machine's in a container."""
    if hasattr(os, "process_cpu_count"):
        return os.process_cpu_count() or 1  # also honours PYTHON_CPU_COUNT
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@functools.cache
def cuda_count() -> int:
    """Return the number of GPUs torch can use; it is imported only where a driver is installed."""
    name = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        ctypes.CDLL(name)
    except OSError:
        if not Path("/dev/kfd").exists():  # AMD's: torch calls those devices cuda too
            return 0
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


@functools.cache
def has_mps() -> bool:
    """Return whether this is a Mac whose GPU torch can use."""
    if sys.platform != "darwin" or platform.machine() != "arm64":
        return False
    import torch

    return torch.backends.mps.is_available()


def resolve_devices(text: str, *, allowed: str = SEVERAL) -> tuple[str, ...]:
    """Return the devices that ``--device`` names: ``cpu``, ``mps`` or ``cuda:N``, one or several.

    Raises
    ------
    OptionError
        The value names no device (the message lists those `allowed`), or one that this machine lacks.
    """
    if text == "auto":
        return ("cuda:0",) if cuda_count() else ("mps",) if has_mps() else ("cpu",)
    if text == "all":
        if not cuda_count():
            raise OptionError("--device all: this machine has no usable CUDA GPU; use --device cpu")
        return tuple(f"cuda:{number}" for number in range(cuda_count()))
    return tuple(_one(part.strip(), text, allowed) for part in text.split(","))


def resolve_device(text: str) -> str:
    """Return the one device that `text` names; `OptionError` if it names several."""
    devices = resolve_devices(text, allowed=ONE)
    if len(devices) > 1:
        raise OptionError(f"--device got {text!r}; only embed takes several devices, name one")
    return devices[0]


def _one(part: str, text: str, allowed: str) -> str:
    if not re.fullmatch(r"cpu|mps|cuda(:\d+)?", part):
        raise OptionError(f"--device got {text!r}; allowed are {allowed}")
    if part == "mps" and not has_mps():
        raise OptionError("--device mps: this machine has no Metal GPU; use --device cpu")
    if part.startswith("cuda"):
        number = int(part.partition(":")[2] or 0)
        if not cuda_count():
            raise OptionError(f"--device {part}: this machine has no usable CUDA GPU; use --device cpu")
        if number >= cuda_count():
            last = cuda_count() - 1
            raise OptionError(f"--device {part}: this machine's GPUs are cuda:0 to cuda:{last}")
        return f"cuda:{number}"
    return part
