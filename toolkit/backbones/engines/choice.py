"""What runs a network: OpenVINO on processors, torch on GPUs, or torch anywhere."""

import importlib.util
import logging
from typing import Literal, Protocol

from toolkit.backbones.base import Pixels, Rows
from toolkit.errors import OptionError

logger = logging.getLogger(__name__)

EngineName = Literal["auto", "torch", "openvino"]
Precision = Literal["auto", "fp32", "bf16", "fp16", "int8"]


class Engine(Protocol):
    """A network on a device, in one precision.

    Attributes
    ----------
    batch_size, in_flight, pads
        See `toolkit.backbones.base.Backbone`.
    """

    batch_size: int
    in_flight: int
    pads: bool

    def forward(self, batch: Pixels) -> Rows:
        """Return rows (B, D) float32 of a batch (B, H, W, 3) uint8; called from several threads."""


def choose_engine(engine: str, device: str) -> Literal["torch", "openvino"]:
    """Return the engine for a device: OpenVINO on processors (4 times torch eager in bf16), else torch.

    Raises
    ------
    OptionError
        The engine is not known, not installed, or not for this device.
    """
    installed = importlib.util.find_spec("openvino") is not None
    if engine == "auto":
        if device == "cpu" and not installed:
            logger.warning("openvino is not installed: torch does the pass, several times slower")
        return "openvino" if device == "cpu" and installed else "torch"
    if engine == "openvino":
        if device != "cpu":
            raise OptionError(f"--engine openvino runs on the processor, not on {device}; use --engine torch")
        if not installed:
            raise OptionError(
                "--engine openvino is not installed; pip install openvino, or give --engine torch"
            )
        return "openvino"
    if engine == "torch":
        return "torch"
    raise OptionError(f"--engine got {engine!r}; allowed are auto, torch, openvino")


def device_for(device: str, engine: str, precision: str) -> str:
    """Return what ``--device`` got; ``auto`` is the processor where engine or precision run nowhere else."""
    only_there = engine == "openvino" or precision.startswith("int8")
    return "cpu" if device == "auto" and only_there else device
