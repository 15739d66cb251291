"""What the embedding pass needs of a backbone, and a backbone of its engine."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from PIL import Image

from toolkit.arrays.types import Float32Array, Pixels
from toolkit.backbones.graphs import NetworkFacts
from toolkit.backbones.options import NetworkOptions
from toolkit.backbones.preprocessing import Preprocessing
from toolkit.store.spec import EmbeddingSpec

Decoded = tuple[Pixels, int, int]
"""Pixels for the network, and the width and height of the picture in its file."""


class DeviceMemoryError(Exception):
    """A batch does not fit into the device's memory; a smaller one may."""


class Engine(Protocol):
    """A network on a device, in one precision.

    Attributes
    ----------
    in_flight : int
        Calls of `forward` worth running side by side: the device computes one batch while the rows of another
        are written or the next one is stacked.
    pads : bool
        Whether the last bits of a row depend on how many images share its batch. Such batches are padded to
        one size, so that a pass that was killed and resumed equals an undisturbed one bit by bit.
    """

    in_flight: int
    pads: bool

    def batch_size(self, side: int) -> int:
        """Return how many pictures of about `side` x `side` pixels suit a forward pass."""

    def forward(self, batch: Pixels) -> Float32Array:
        """Return embeddings (B, D) of a batch (B, H, W, 3), without gradients; safe to call from threads.

        Raises
        ------
        DeviceMemoryError
            The device cannot hold that many.
        """


@dataclass(frozen=True, kw_only=True)
class LoadedNetwork:
    """A network as its engine's ``load`` returns it.

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
        See `Backbone.decode`.
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


class Backbone(Protocol):
    """A frozen network that turns pictures into embeddings.

    `preprocess` runs in decoding threads and returns bytes. `forward` normalises them, so batches stay four
    times smaller until they reach the device.

    Attributes
    ----------
    spec : EmbeddingSpec
    batch_size : int
        Images a forward pass by default.
    in_flight, pads
        See `Engine`.
    lot : int
        Files worth passing to one call of `decode`.
    """

    spec: EmbeddingSpec
    batch_size: int
    in_flight: int
    lot: int
    pads: bool

    def preprocess(self, image: Image.Image) -> Pixels:
        """Return one RGB image as (H, W, 3), as the weights ask for."""

    def least_side(self, width: int, height: int) -> int | None:
        """Return how many pixels the shorter side of a `width` x `height` picture must keep.

        A decoder that can shrink while it decodes may do so down to that side; None forbids it.
        """

    def decode(self, files: Sequence[bytes], max_pixels: int) -> list[Decoded | None]:
        """Decode and preprocess, on the device, those of `files` that are plain RGB JPEGs.

        One answer a file, in order; None leaves it to Pillow and `preprocess`, as a picture of more than
        `max_pixels` is.

        Raises
        ------
        OptionError
            The device's memory is full.
        """

    def forward(self, batch: Pixels) -> Float32Array:
        """Return embeddings, as `Engine.forward` does."""
