"""What the pass needs of a backbone."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from toolkit.store.spec import EmbeddingSpec

Pixels = NDArray[np.uint8]
Rows = NDArray[np.float32]
Decoded = tuple[Pixels, int, int]
"""What goes into the network, and the picture's width and height in its file."""


class DeviceMemoryError(Exception):
    """A batch did not fit into the device's memory; a smaller one may."""


class Backbone(Protocol):
    """A frozen network that turns pictures into embeddings.

    `preprocess` runs in decoding threads and returns bytes; `forward` does the normalisation, so that batches
    stay four times smaller until they reach the device. `forward` is called from `in_flight` threads at once,
    so that the device is never idle while rows are written or the next batch is stacked.

    Attributes
    ----------
    spec : EmbeddingSpec
    batch_size : int
        Images a forward pass where the user names no number.
    in_flight : int
        Calls of `forward` worth running side by side.
    lot : int
        Files worth giving to one call of `decode`.
    pads : bool
        Whether a row depends, in its last bits, on how many images share its batch; such batches are padded
        to one size, so that a pass that was killed and resumed equals an undisturbed one bit by bit.
    """

    spec: EmbeddingSpec
    batch_size: int
    in_flight: int
    lot: int
    pads: bool

    def preprocess(self, image: Image.Image) -> Pixels:
        """Return one RGB image as (H, W, 3) uint8, as the weights ask for."""

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

    def forward(self, batch: Pixels) -> Rows:
        """Return embeddings (B, D) float32 of a uint8 batch (B, H, W, 3), without gradients.

        Raises
        ------
        DeviceMemoryError
            If the device cannot hold that many.
        """
