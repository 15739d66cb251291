"""Protocols of backbones and engines."""

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
"""Pixels for the network, and the width and height of the picture in the file."""


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
        Whether the last bits of a row depend on the size of its batch. Such batches are padded to one size,
        so that a resumed pass equals an undisturbed one bit by bit.
    """

    in_flight: int
    pads: bool

    def batch_size(self, side: int) -> int:
        """Return how many pictures of about `side` x `side` pixels suit a forward pass."""

    def forward(self, batch: Pixels) -> Float32Array:
        """Return embeddings (B, D) of a batch (B, H, W, 3), without gradients; safe to call from threads.

        `DeviceMemoryError` if the device cannot hold the batch.
        """


@dataclass(frozen=True, kw_only=True)
class LoadedNetwork:
    """A network as its engine's ``load`` returns it.

    Attributes
    ----------
    options : NetworkOptions
        Weights, device and engine are decided; the precision may still be ``auto``.
    fast_precisions : tuple of str
        Precisions faster than fp32, the safest first.
    folder : Path
        Folder for the fidelity of precisions; need not exist.
    start : callable
        Starts the network in a precision.
    resize, decoder : callable
        See `Backbone.preprocess` and `Backbone.decode`.
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
        """Resize and crop one RGB image to (H, W, 3), as the weights require."""

    def least_side(self, width: int, height: int) -> int | None:
        """Return the least length to which a decoder may shrink the shorter side; None forbids shrinking."""

    def decode(self, files: Sequence[bytes], max_pixels: int) -> list[Decoded | None]:
        """Decode and preprocess plain RGB JPEGs of at most `max_pixels` on the device.

        Return None for each other file, which is left to Pillow and `preprocess`. `OptionError` if the
        device's memory is full.
        """

    def forward(self, batch: Pixels) -> Float32Array:
        """See `Engine.forward`."""
