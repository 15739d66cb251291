"""Find and read ResNet weights: torchvision's by name, a file, or seeded random ones for tests."""

import hashlib
import os
import re
import urllib.error
from pathlib import Path
from typing import Any

import numpy as np
import torch

from toolkit.errors import WeightsError

State = dict[str, torch.Tensor]

DEFAULT_WEIGHTS = "imagenet1k-v1"  # its frozen features transfer better than v2's (Kornblith et al. 2021)
TORCHVISION = {"imagenet1k-v1": "IMAGENET1K_V1", "imagenet1k-v2": "IMAGENET1K_V2"}
ALLOWED = f"{', '.join(TORCHVISION)}, a .pth or .safetensors file, or random:SEED"


def read_weights(name: str, weights_enum: Any) -> State | None:
    """Return the state dict that `name` stands for; None for ``random:SEED``.

    Raises
    ------
    WeightsError
        An unknown name, an unreadable file, or weights that are neither cached nor to be fetched.
    """
    if name in TORCHVISION:
        return _torchvision(name, weights_enum)
    if random_seed(name) is not None:
        return None
    return _file(Path(name))


def random_seed(name: str) -> int | None:
    """Return SEED of ``random:SEED``, else None."""
    match = re.fullmatch(r"random:(\d+)", name)
    return int(match[1]) if match else None


def digest_of(state: State) -> str:
    """Return the SHA-256 (hex) of all tensors by name, so that it does not depend on the file format."""
    sha = hashlib.sha256()
    for key in sorted(state):
        tensor = state[key].detach().cpu().contiguous()
        sha.update(f"{key} {tuple(tensor.shape)} float32\n".encode())
        sha.update(np.ascontiguousarray(tensor.to(torch.float32).numpy()).tobytes())
    return sha.hexdigest()


def _torchvision(name: str, weights_enum: Any) -> State:
    entry = weights_enum[TORCHVISION[name]]
    try:
        state: State = entry.get_state_dict(progress=False, check_hash=True)
    except (urllib.error.URLError, OSError, RuntimeError) as error:
        cache = _cache_of(entry)
        raise WeightsError(
            f"weights {name} are not cached and cannot be fetched ({error}): put the file at {cache}, or "
            "give --weights FILE (.pth or .safetensors), or try the pipeline with --weights random:0"
        ) from error
    return state


def cached_file(name: str, weights_enum: Any) -> Path:
    """Return where torchvision keeps the weights `name` once it has fetched them."""
    return _cache_of(weights_enum[TORCHVISION[name]])


def _cache_of(entry: Any) -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(entry.url).name


def _file(path: Path) -> State:
    if path.suffix not in (".pth", ".pt", ".safetensors"):
        raise WeightsError(f"--weights got {os.fspath(path)!r}; allowed are {ALLOWED}")
    if not path.is_file():
        raise WeightsError(f"there is no weights file {path}; allowed are {ALLOWED}")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # both readers raise many types on a damaged or hostile file
        raise WeightsError(f"{path} cannot be read as weights ({str(error).splitlines()[0]})") from error
    state = loaded.get("state_dict", loaded) if isinstance(loaded, dict) else None
    if not state or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise WeightsError(f"{path} does not hold a state dict (names to tensors) of a resnet50")
    return {key.removeprefix("module."): value for key, value in state.items()}
