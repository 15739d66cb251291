"""Frozen backbones, by name. Values are import strings, so nothing heavy is imported until one is used."""

import importlib
from typing import Any

from toolkit.backbones.base import Backbone, ResizeMode
from toolkit.errors import OptionError

BACKBONES: dict[str, str] = {"resnet50": "toolkit.backbones.resnet:ResNet50"}

__all__ = ["BACKBONES", "Backbone", "ResizeMode", "load_backbone"]


def load_backbone(name: str, **options: Any) -> Backbone:
    """Build the backbone `name` with its constructor's options; `OptionError` lists the names there are."""
    if name not in BACKBONES:
        raise OptionError(f"there is no backbone {name!r}; choose one of: {', '.join(sorted(BACKBONES))}")
    module, _, attribute = BACKBONES[name].partition(":")
    backbone: Backbone = getattr(importlib.import_module(module), attribute)(**options)
    return backbone
