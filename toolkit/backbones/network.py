"""Torch networks without their classifier, as the functions of `toolkit.backbones.families` build them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pkgutil import resolve_name
from typing import Any

import torch
from torch import nn

from toolkit.backbones.graphs import NetworkFacts
from toolkit.backbones.preprocessing import CELL, Recipe
from toolkit.backbones.weights import State, digest_of, random_seed, read_file, weights_file
from toolkit.errors import WeightsError


@dataclass(frozen=True, eq=False)
class Network:
    """A frozen network and the recipe of its weights.

    Attributes
    ----------
    module : torch.nn.Module
        In eval mode, (B, 3, H, W) float32 normalised to (B, D) float32.
    recipe : Recipe
    weights_sha256 : str
        Of the tensors in use.
    pooling : str
        How the last feature map becomes one row.
    """

    module: nn.Module
    recipe: Recipe
    weights_sha256: str
    pooling: str = "avg"


class FromBytes(nn.Module):
    """(B, H, W, 3) uint8 to (B, D). Normalisation is part of the graph, so batches travel as bytes."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.module = network.module
        for name in ("mean", "std"):
            self.register_buffer(name, torch.tensor(getattr(network.recipe, name)) * 255)
        self.eval()

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        """Return rows. (B, H, W, 3) seen as (B, 3, H, W) is channels_last already, so nothing is copied."""
        mean, std = self.get_buffer("mean"), self.get_buffer("std")
        x = (batch.to(torch.float32) - mean) / std
        rows: torch.Tensor = self.module(x.permute(0, 3, 1, 2))
        return rows


def build_network(family: str, name: str, weights: str) -> Network:
    """Call the family's function, an import string, for `name` and `weights`."""
    network: Network = resolve_name(family)(name, weights)
    network.module.eval().requires_grad_(False)
    return replace(network, recipe=replace(network.recipe, any_size=_takes_any_size(network)))


def facts_of(network: Network, name: str, weights: str) -> NetworkFacts:
    """Return the facts a spec needs; the network is run once to see the length of a row."""
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
    """Make a module; ``random:SEED`` decides its tensors and torch's generator stays as it was."""
    seed = random_seed(weights)
    if seed is None:
        return make()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


def load_weights(module: nn.Module, state: State, *, name: str, weights: str, classifier: str) -> None:
    """Copy `state` into `module`; only the `classifier`, which is dropped, may be missing or differ in size.

    Raises
    ------
    WeightsError
        Names or shapes differ.
    """
    wanted = module.state_dict()
    usable = {key: value for key, value in state.items() if not key.startswith(f"{classifier}.")}
    missing = [key for key in wanted if key not in usable and not key.startswith(f"{classifier}.")]
    missing = [key for key in missing if not key.endswith("num_batches_tracked")]
    wrong = [key for key, value in usable.items() if key not in wanted or value.shape != wanted[key].shape]
    if missing or wrong:
        first = (missing + wrong)[0]
        raise WeightsError(
            f"{weights} does not fit {name}: {len(missing + wrong)} tensors differ, first {first!r}"
        )
    module.load_state_dict({key: value.to(torch.float32) for key, value in usable.items()}, strict=False)


def file_state(weights: str) -> State | None:
    """Return the tensors of a weights file, or None for ``random:SEED``."""
    return None if random_seed(weights) is not None else read_file(weights_file(weights))


def drop_classifier(module: nn.Module) -> str:
    """Replace the last linear layer by the identity and return its name."""
    linear = [name for name, layer in module.named_modules() if isinstance(layer, nn.Linear)]
    parent, _, leaf = linear[-1].rpartition(".")
    holder: Any = module.get_submodule(parent)
    setattr(holder, leaf, nn.Identity())
    return str(linear[-1])


def digest(module: nn.Module) -> str:
    """Return the SHA-256 of a network's tensors."""
    return digest_of(module.state_dict())
