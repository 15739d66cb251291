"""Torch networks without their classifier, and functions for building them."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pkgutil import resolve_name
from typing import Any

import numpy as np
import torch
from torch import nn

from toolkit.backbones.families import family_of
from toolkit.backbones.graphs import NetworkFacts
from toolkit.backbones.preprocessing import CELL, Recipe
from toolkit.backbones.weights import State, random_seed
from toolkit.errors import WeightsError


@dataclass(frozen=True, eq=False)
class Network:
    """A frozen network and the recipe of its weights.

    Attributes
    ----------
    module : torch.nn.Module
        In eval mode; normalised pixels (B, 3, H, W) float32 to rows (B, D) float32.
    recipe : Recipe
    weights_sha256, pooling : str
        See `toolkit.store.spec.EmbeddingSpec`.
    """

    module: nn.Module
    recipe: Recipe
    weights_sha256: str
    pooling: str = "avg"


class FromBytes(nn.Module):
    """(B, H, W, 3) uint8 to (B, D). Normalises on the device, so that batches are copied to it as bytes."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.module = network.module
        for name in ("mean", "std"):
            self.register_buffer(name, torch.tensor(getattr(network.recipe, name)) * 255)
        self.eval()

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        """Return rows. (B, H, W, 3) seen as (B, 3, H, W) is channels_last already, so nothing is copied."""
        x = (batch.to(torch.float32) - self.get_buffer("mean")) / self.get_buffer("std")
        rows: torch.Tensor = self.module(x.permute(0, 3, 1, 2))
        return rows


def build_network(name: str, weights: str) -> Network:
    """Build a network by the function of its family."""
    network: Network = resolve_name(family_of(name))(name, weights)
    network.module.eval().requires_grad_(False)
    return replace(network, recipe=replace(network.recipe, any_size=_takes_any_size(network)))


def facts_of(network: Network, name: str, weights: str) -> NetworkFacts:
    """Return the facts of a network, which is run once to measure the length of a row."""
    side = network.recipe.crop_size
    with torch.inference_mode():
        dim = network.module(torch.zeros(1, 3, side, side)).shape[1]
    return NetworkFacts(
        backbone=name,
        weights=weights,
        weights_sha256=network.weights_sha256,
        pooling=network.pooling,
        dim=dim,
        recipe=network.recipe,
    )


def _takes_any_size(network: Network) -> bool:
    side = network.recipe.crop_size
    try:
        with torch.inference_mode():
            network.module(torch.zeros(1, 3, side, side + CELL))
    except (RuntimeError, AssertionError, ValueError):  # libraries differ in what they raise
        return False
    return True


def seeded(weights: str, make: Callable[[], nn.Module]) -> nn.Module:
    """Make a module, its random tensors by ``random:SEED`` without changing torch's generator."""
    seed = random_seed(weights)
    if seed is None:
        return make()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


def load_weights(module: nn.Module, state: State, *, name: str, weights: str, classifier: str) -> None:
    """Copy `state` without its `classifier` into `module`; `WeightsError` if names or shapes differ."""
    wanted, dropped = module.state_dict(), f"{classifier}."
    usable = {key: value for key, value in state.items() if not key.startswith(dropped)}
    wrong = [
        key
        for key in wanted
        if key not in usable and not (key.startswith(dropped) or key.endswith("num_batches_tracked"))
    ]
    wrong += [key for key, value in usable.items() if key not in wanted or value.shape != wanted[key].shape]
    if wrong:
        raise WeightsError(f"{weights} does not fit {name}: {len(wrong)} tensors differ, first {wrong[0]!r}")
    odd = [key for key, value in usable.items() if value.is_complex() or value.layout != torch.strided]
    if odd:
        raise WeightsError(f"{weights} holds no plain numbers in {odd[0]!r} ({usable[odd[0]].dtype})")
    tensors = {key: value.to(torch.float32) for key, value in usable.items()}
    endless = [key for key, value in tensors.items() if not value.isfinite().all()]
    if endless:
        raise WeightsError(f"{weights} holds NaN or infinity in {len(endless)} tensors, first {endless[0]!r}")
    module.load_state_dict(tensors, strict=False)


def drop_classifier(module: nn.Module) -> str:
    """Replace the last linear layer by the identity and return its name."""
    linear = [name for name, layer in module.named_modules() if isinstance(layer, nn.Linear)]
    parent, _, leaf = linear[-1].rpartition(".")
    holder: Any = module.get_submodule(parent)
    setattr(holder, leaf, nn.Identity())
    return str(linear[-1])


def digest(module: nn.Module) -> str:
    """Return the SHA-256 (hex) of a network's tensors by name; it does not depend on the file format."""
    sha = hashlib.sha256()
    for key, value in sorted(module.state_dict().items()):
        tensor = value.detach().cpu().contiguous()
        sha.update(f"{key} {tuple(tensor.shape)} float32\n".encode())
        sha.update(np.ascontiguousarray(tensor.to(torch.float32).numpy()).tobytes())
    return sha.hexdigest()
