"""Engines: the libraries that run networks. To add one: a module with a class and one line in `ENGINES`.

An engine has the name of the package it needs. Its module has a `toolkit.backbones.base.Engine` and a
function ``load(options, *, graphs, calibration, progress)`` that returns a
`toolkit.backbones.base.LoadedNetwork` (the arguments are those of `toolkit.backbones.frozen.load_backbone`,
with weights, device and engine decided). This module imports nothing heavy.
"""

import importlib.util
import logging
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from toolkit.errors import OptionError

logger = logging.getLogger(__name__)


class EngineEntry(NamedTuple):
    """Facts of an engine that is not imported yet.

    `load` is the import string of its function; `devices` are the kinds it runs on. `int8`: it runs int8
    graphs; `decodes`: it decodes JPEGs on its device. `describe` is the import string of a function that
    returns, for a device, the name of its processor and the precisions faster than fp32.
    """

    load: str
    devices: tuple[str, ...]
    int8: bool = False
    decodes: bool = False
    describe: str = ""


ENGINES: Mapping[str, EngineEntry] = MappingProxyType(
    {
        # on CPUs 4 times as fast as torch (bf16)
        "openvino": EngineEntry(
            "toolkit.backbones.engines.openvino:load",
            ("cpu",),
            int8=True,
            describe="toolkit.backbones.engines.openvino:describe",
        ),
        "torch": EngineEntry(
            "toolkit.backbones.engines.torch:load",
            ("cuda", "mps", "cpu"),
            decodes=True,
            describe="toolkit.backbones.torch_devices:describe",
        ),
    }
)
"""Engines by name, the preferred ones first."""


def engine_choices() -> tuple[str, ...]:
    """Return the values of ``--engine``."""
    return ("auto", *ENGINES)


def choose_engine(engine: str, device: str, *, precision: str = "auto", decode: str = "scaled") -> str:
    """Return the engine for a device; ``auto`` is the first installed one.

    `OptionError` if the engine is not installed, or not for this device, precision or way to decode.
    """
    kind = device.partition(":")[0]
    able = [
        name
        for name, entry in ENGINES.items()
        if kind in entry.devices and (entry.decodes or decode != "device")
    ]
    if engine == "auto":
        engine = next((name for name in able if _is_installed(name)), able[-1])
        if engine != able[0]:
            logger.warning("%s is not installed: %s does the pass, several times slower", able[0], engine)
    elif kind not in ENGINES[engine].devices:
        raise OptionError(f"--engine {engine} does not run on {device}; use --engine {able[0]}")
    elif not _is_installed(engine):
        raise OptionError(f"--engine {engine} is not installed; pip install {engine}, or use --engine auto")
    if decode == "device" and not ENGINES[engine].decodes:
        raise OptionError(f"--decode device does not work with --engine {engine}; use --engine {able[0]}")
    if precision.startswith("int8") and not ENGINES[engine].int8:
        raise OptionError(f"--precision int8 runs on CPUs by OpenVINO, not on {device} by {engine}")
    return engine


def _is_installed(engine: str) -> bool:
    return importlib.util.find_spec(engine) is not None


def device_for(device: str, engine: str, precision: str) -> str:
    """Return `device`, or the CPU for ``auto`` if engine or precision run nowhere else."""
    able = [
        entry
        for name, entry in ENGINES.items()
        if engine in ("auto", name) and (entry.int8 or not precision.startswith("int8"))
    ]
    return "cpu" if device == "auto" and all(entry.devices == ("cpu",) for entry in able) else device
