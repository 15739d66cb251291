"""Tensors that torch or safetensors has saved, as an ``.npy``: read in a process of its own."""

import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.errors import StoreError
from toolkit.files.regular import open_regular
from toolkit.runtime.children import Channel
from toolkit.runtime.messages import named
from toolkit.store.foreign import ID_NAMES, chosen

FILES = (".pt", ".pth", ".safetensors")


def save_array(channel: Channel, path: Path, key: str | None, target: Path) -> tuple[list[str] | None, str]:
    """Write the features of `path` to the ``.npy`` `target`; return the names beside them, and their key.

    Nothing but tensors and plain values is unpickled. `StoreError` if that is not enough.
    """
    import torch

    loaded = _loaded(path)
    if isinstance(loaded, torch.Tensor):
        if key is not None:
            raise StoreError(f"--key got {key!r}, but {named(path)} holds one tensor only; leave --key out")
        tensor, names, where = loaded, None, ""
    else:
        named_values = loaded if isinstance(loaded, dict) else {}
        tensors = {
            str(name): value for name, value in named_values.items() if isinstance(value, torch.Tensor)
        }
        where = chosen({name: tuple(value.shape) for name, value in tensors.items()}, key, path, "tensor")
        tensor = tensors[where]
        names = _names(named_values, len(tensor) if tensor.ndim else 0)
    if tensor.is_sparse or tensor.is_quantized or tensor.is_complex():
        raise StoreError(
            f"{named(path)} holds a {tensor.dtype} tensor that is not plain; save a dense one of floats"
        )
    if tensor.dtype == torch.bfloat16 or (tensor.dtype.itemsize < 2 and tensor.is_floating_point()):
        tensor = tensor.float()
    np.save(target, tensor.detach().contiguous().numpy(), allow_pickle=False)
    return names, where


def _names(values: dict[Any, Any], n: int) -> list[str] | None:
    """Return the only list of `n` texts among the values, or the one with a usual name."""
    lists = {
        str(key): [*value]
        for key, value in values.items()
        if isinstance(value, list | tuple)
        and len(value) == n
        and all(isinstance(each, str) for each in value)
    }
    usual = [key for key in lists if key.casefold() in ID_NAMES]
    keys = [*lists] if len(lists) == 1 else usual
    return lists[keys[0]] if len(keys) == 1 else None


def _loaded(path: Path) -> Any:
    import torch

    try:
        with open_regular(path) as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch: how slow a check is, which protocol a pickle has
            if path.suffix.lower() == ".safetensors":
                from safetensors.torch import load

                return load(file.read())
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise StoreError(
            f"{named(path)} is damaged, or holds more than tensors and could run code, and is not loaded; "
            "save the tensor alone, or its array with numpy.save"
        ) from error
    except OSError:
        raise
    except Exception as error:  # both readers raise many types on a damaged or hostile file
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise StoreError(
            f"{named(path)} cannot be read as tensors ({reason}); save its array with numpy.save"
        ) from error
