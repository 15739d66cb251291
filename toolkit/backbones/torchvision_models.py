"""torchvision's classifiers without their last linear layer, such as ResNet50 with 2048 pooled features."""

import difflib
from typing import Any

import torchvision
from torch import nn
from torchvision.models import get_model, get_model_weights, list_models

from toolkit.backbones.network import Network, digest, drop_classifier, load_weights, seeded
from toolkit.backbones.preprocessing import Recipe
from toolkit.backbones.weights import TORCHVISION, fetch, file_state
from toolkit.errors import OptionError, WeightsError

NEAR = 0.5  # share of a name's letters: vit_xx is near vit_b_16
# by default these two begin with a slow random draw and a warning about it
_ARGUMENTS = {"googlenet": {"init_weights": True}, "inception_v3": {"init_weights": True}}


def build(name: str, weights: str) -> Network:
    """Build the torchvision classifier `name` (``resnet50``, ``convnext_tiny``, ``vit_b_16``, ...)."""
    known = list_models(module=torchvision.models)
    if name not in known:
        near = difflib.get_close_matches(name, known, cutoff=NEAR)
        usual = "give resnet50, or timm:NAME for one of timm's"
        hint = f"did you mean {' or '.join(near)}?" if near else usual
        raise OptionError(f"torchvision {torchvision.__version__} has no classifier {name!r}; {hint}")
    enum = get_model_weights(name)
    entry = _entry(name, weights, enum)
    state = fetch(weights, entry) if weights in TORCHVISION else file_state(weights)
    module: nn.Module = seeded(weights, lambda: get_model(name, weights=None, **_ARGUMENTS.get(name, {})))
    classifier = drop_classifier(module)
    if state is not None:
        load_weights(module, state, name=name, weights=weights, classifier=classifier)
    return Network(module, _recipe(entry.transforms()), digest(module))


def _entry(name: str, weights: str, enum: Any) -> Any:
    """Return the entry of torchvision's enum; for a file or random tensors the first, for its recipe."""
    if weights not in TORCHVISION:
        return next(iter(enum))
    if TORCHVISION[weights] not in enum.__members__:
        known = ", ".join(short for short, long in TORCHVISION.items() if long in enum.__members__)
        raise WeightsError(
            f"torchvision has no weights {weights} for {name}; it has {known or 'none'}, or give a file"
        )
    return enum[TORCHVISION[weights]]


def _recipe(preset: Any) -> Recipe:
    return Recipe(
        resize_size=int(preset.resize_size[0]),
        crop_size=int(preset.crop_size[0]),
        mean=tuple(float(value) for value in preset.mean),
        std=tuple(float(value) for value in preset.std),
        interpolation=str(preset.interpolation.value),
    )
