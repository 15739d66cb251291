"""What a backbone is, and the preprocessing that comes with its weights."""

from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from toolkit.spec import EmbeddingSpec

ResizeMode = Literal["crop", "squash"]
Pixels = NDArray[np.uint8]


class Backbone(Protocol):
    """A frozen network that turns pictures into embeddings.

    `preprocess` runs in decoding threads and returns bytes; `forward` does the normalisation, so that batches
    stay four times smaller until they reach the device.
    """

    spec: EmbeddingSpec

    def preprocess(self, image: Image.Image) -> Pixels:
        """Return one RGB image as (H, W, 3) uint8, the size the weights ask for."""

    def forward(self, batch: Pixels) -> NDArray[np.float32]:
        """Return embeddings (B, D) float32 of a uint8 batch (B, H, W, 3), without gradients."""


@dataclass(frozen=True)
class Preprocessing:
    """Resize and normalisation as the weights were evaluated.

    Attributes
    ----------
    resize : {"crop", "squash"}
        ``crop``: shorter side to `resize_size`, then the central `crop_size` square, torchvision's preset.
        ``squash``: the whole image to a `crop_size` square, aspect ratio ignored.
    mean, std : tuple of float
        Per channel, of pixels in [0, 1].
    flip : bool
        Whether an embedding is the mean of the image's and of its mirror image's.
    """

    resize: ResizeMode
    resize_size: int
    crop_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    flip: bool = False

    def __str__(self) -> str:
        shape = f"{self.resize_size}->{self.crop_size}" if self.resize == "crop" else f"{self.crop_size}"
        text = f"{self.resize} {shape} bilinear antialias, mean {list(self.mean)}, std {list(self.std)}"
        return f"{text}, averaged with the mirror image" if self.flip else text

    def __call__(self, image: Image.Image) -> Pixels:
        """Return `image` as (crop_size, crop_size, 3) uint8, as torchvision's preset would."""
        if self.resize == "squash":
            size = (self.crop_size, self.crop_size)
            return np.asarray(image.resize(size, Image.Resampling.BILINEAR))
        width, height = image.size
        # torchvision's _compute_resized_output_size truncates the longer side
        if width <= height:
            size = (self.resize_size, int(self.resize_size * height / width))
        else:
            size = (int(self.resize_size * width / height), self.resize_size)
        resized = image.resize(size, Image.Resampling.BILINEAR)
        left = round((size[0] - self.crop_size) / 2.0)
        top = round((size[1] - self.crop_size) / 2.0)
        return np.asarray(resized.crop((left, top, left + self.crop_size, top + self.crop_size)))


def preprocessing_of(
    preset: Any, resize: ResizeMode, *, input_size: int | None = None, flip: bool = False
) -> Preprocessing:
    """Read size and statistics off a torchvision ``ImageClassification`` preset.

    `input_size` replaces the preset's crop size; the size resized to before a crop changes in proportion.
    """
    resize_size, crop_size = int(preset.resize_size[0]), int(preset.crop_size[0])
    if input_size is not None:
        resize_size, crop_size = round(resize_size * input_size / crop_size), input_size
    return Preprocessing(
        resize=resize,
        resize_size=resize_size,
        crop_size=crop_size,
        mean=tuple(float(value) for value in preset.mean),
        std=tuple(float(value) for value in preset.std),
        flip=flip,
    )


def options_of(preprocessing: str) -> dict[str, Any]:
    """Return the backbone options ``resize, input_size, flip`` behind the text of a `Preprocessing`."""
    resize, shape = preprocessing.split()[:2]
    size = int(shape.rpartition(">")[2])
    return {"resize": resize, "input_size": size, "flip": preprocessing.endswith("with the mirror image")}
