"""A network as the library of its engine loads it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from toolkit.arrays.types import Pixels
from toolkit.backbones.base import Decoded, Engine
from toolkit.backbones.graphs import NetworkFacts
from toolkit.backbones.options import NetworkOptions
from toolkit.backbones.preprocessing import Preprocessing


@dataclass(frozen=True, kw_only=True)
class LoadedNetwork:
    """A network, ready to be started in a precision.

    Attributes
    ----------
    options : NetworkOptions
        Weights, device and engine are decided; the precision may still be ``auto``.
    facts : NetworkFacts
    preprocessing : Preprocessing
    processor : str
        Name of what computes.
    fast_precisions : tuple of str
        Precisions faster than fp32, the safest first.
    folder : Path
        Where the fidelity of precisions is kept; need not exist.
    start : callable
        Takes a precision and returns the network running in it.
    resize : callable
        Resizes and crops an RGB image to (H, W, 3).
    decoder : callable, optional
        See `toolkit.backbones.base.Backbone.decode`.
    """

    options: NetworkOptions
    facts: NetworkFacts
    preprocessing: Preprocessing
    processor: str
    fast_precisions: tuple[str, ...]
    folder: Path
    start: Callable[[str], Engine]
    resize: Callable[[Image.Image], Pixels]
    decoder: Callable[[Sequence[bytes], int], list[Decoded | None]] | None = None
