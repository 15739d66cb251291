"""Frozen backbones: what pictures have to look like, which network, on which engine.

`load_backbone` puts them together; `toolkit.backbones.families` is where a new family of networks is entered.
"""

from toolkit.backbones.base import Backbone, DeviceMemoryError
from toolkit.backbones.families import FAMILIES
from toolkit.backbones.frozen import FrozenBackbone, load_backbone
from toolkit.backbones.preprocessing import Decode, ResizeMode

__all__ = [
    "FAMILIES",
    "Backbone",
    "Decode",
    "DeviceMemoryError",
    "FrozenBackbone",
    "ResizeMode",
    "load_backbone",
]
