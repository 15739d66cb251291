"""Names and files of weights. torch is imported only when tensors are read."""

import hashlib
import os
import pickle
import re
import urllib.error
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.errors import WeightsError

if TYPE_CHECKING:
    import torch

State = dict[str, "torch.Tensor"]

DEFAULT_WEIGHTS = "imagenet1k-v1"  # its frozen features transfer better than v2's (Kornblith et al. 2021)
TORCHVISION = {"imagenet1k-v1": "IMAGENET1K_V1", "imagenet1k-v2": "IMAGENET1K_V2"}
RESNET50_FILE = "resnet50-0676ba61.pth"  # torchvision's name for resnet50's imagenet1k-v1
PRETRAINED = "pretrained"  # timm's weights for the model's name
FILES = (".pth", ".pt", ".safetensors")
ALLOWED = f"{', '.join(TORCHVISION)}, a .pth or .safetensors file, or random:SEED"


def identity(name: str) -> str:
    """Return a text that identifies weights without reading tensors: the name, or the digest of a file."""
    if name in TORCHVISION or name == PRETRAINED or random_seed(name) is not None:
        return name
    with weights_file(name).open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


def random_seed(name: str) -> int | None:
    """Return SEED of ``random:SEED``, else None."""
    match = re.fullmatch(r"random:(\d+)", name)
    return int(match[1]) if match else None


def weights_file(name: str) -> Path:
    """Return `name` as a path; `WeightsError` if it does not end like a weights file or does not exist."""
    path = Path(name)
    if path.suffix not in FILES:
        raise WeightsError(f"--weights got {os.fspath(path)!r}; allowed are {ALLOWED}")
    if not path.is_file():
        raise WeightsError(f"there is no weights file {path}; allowed are {ALLOWED}")
    return path


def file_state(weights: str) -> State | None:
    """Return the tensors of a weights file, unpickling only tensors, or None for ``random:SEED``."""
    import torch

    if random_seed(weights) is not None:
        return None
    path = weights_file(weights)
    try:
        loaded = _loaded(path)
    except Exception as error:  # both readers raise many types on a damaged or hostile file
        raise WeightsError(
            f"{path} cannot be read as weights ({_plain(error)}); give a .safetensors file, or a state dict "
            "that torch.save wrote"
        ) from error
    state = loaded.get("state_dict", loaded) if isinstance(loaded, dict) else None
    named = isinstance(state, dict) and all(isinstance(key, str) for key in state)
    if not state or not named or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise WeightsError(f"{path} does not hold a state dict (names to tensors)")
    return {key.removeprefix("module."): value for key, value in state.items()}


def _loaded(path: Path) -> Any:
    import torch

    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)  # checks its header against the file's size
    return torch.load(path, map_location="cpu", weights_only=True)


def _plain(error: Exception) -> str:
    """Return the reason in one line; torch's own message says how to load the file unsafely."""
    if isinstance(error, pickle.UnpicklingError):
        return "it is damaged, or holds more than tensors and could run code"
    lines = str(error).splitlines()
    if not lines or isinstance(error, LookupError):  # its message is but a key
        return f"{type(error).__name__} {''.join(lines[:1])}".strip()
    return lines[0]


def fetch(name: str, entry: Any) -> State:
    """Return the weights of torchvision's `entry`, which torchvision fetches if they are not cached."""
    try:
        state: State = entry.get_state_dict(progress=False, check_hash=True)
    except (urllib.error.URLError, OSError, RuntimeError) as error:
        raise WeightsError(
            f"weights {name} are not cached and cannot be fetched ({error}): put the file at "
            f"{torch_cache() / Path(entry.url).name}, or give --weights FILE (.pth or .safetensors), or try "
            "the pipeline with --weights random:0"
        ) from error
    return state


def torch_cache() -> Path:
    """Return torchvision's folder of weights, that of ``torch.hub``, without importing torch."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return Path(os.environ.get("TORCH_HOME", cache / "torch")).expanduser() / "hub" / "checkpoints"
