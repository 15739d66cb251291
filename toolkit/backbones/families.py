"""Families of backbones. To add one: a function ``build(name, weights)`` and one line in `FAMILIES`.

The function returns a `toolkit.backbones.network.Network`: a torch module without its classifier, and the
recipe of its weights. Engines, precisions, resizing and flipping then work for it. Values are import strings,
so nothing heavy is imported until one is used. Other packages add backbones through the entry-point group
``toolkit.backbones``.
"""

import importlib.metadata
import re
from collections.abc import Mapping
from types import MappingProxyType

from toolkit.backbones.weights import DEFAULT_WEIGHTS, PRETRAINED
from toolkit.errors import OptionError

FAMILIES: Mapping[str, str] = MappingProxyType(
    {
        r"timm:.+": "toolkit.backbones.timm_models:build",
        r"[a-z0-9_]+": "toolkit.backbones.torchvision_models:build",
    }
)
"""Patterns of names, tried in order, and the functions that build them."""

ENTRY_POINTS = "toolkit.backbones"


def family_of(name: str) -> str:
    """Return the import string of the function that builds `name`; `OptionError` for an unknown name."""
    for point in importlib.metadata.entry_points(group=ENTRY_POINTS):
        if point.name == name:
            return point.value
    for pattern, function in FAMILIES.items():
        if re.fullmatch(pattern, name):
            return function
    raise OptionError(
        f"there is no backbone {name!r}; give resnet50, another classifier of torchvision, or timm:NAME"
    )


def default_weights(name: str) -> str:
    """Return the default weights of `name`."""
    return PRETRAINED if name.startswith("timm:") else DEFAULT_WEIGHTS
