"""From a picture to the pixels a network sees, as its weights require."""

import math
from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np
from msgspec import Meta
from PIL import Image

from toolkit.arrays.types import Pixels
from toolkit.backbones.options import Decode, NetworkOptions, ResizeMode
from toolkit.errors import OptionError

# a higher F1 than crop and squash, at the same cost (BENCHMARKS.md)
DEFAULT_RESIZE: ResizeMode = "full"
CELL = 32  # pixels between cells of the last feature map of the usual networks
LONGEST = 3.0  # aspect ratio beyond which `full` squashes: the shorter side would get too few cells
SCALED_MARGIN = 2  # a scaled decode keeps at least this many times the pixels a side of the result
Side = Annotated[int, Meta(ge=1, le=2**15)]
THREE = Meta(min_length=3, max_length=3)
_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
_DECODED = {"exact": "", "scaled": ", JPEG scaled while decoded", "device": ", JPEG decoded on the device"}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The preprocessing that weights were evaluated with.

    Attributes
    ----------
    resize_size, crop_size : int
        Pixels of the shorter side before the crop, and of a side of the crop.
    mean, std : tuple of float
        Per channel, of pixels in [0, 1].
    any_size : bool
        Whether the network takes pictures of any size and shape; the usual transformers take one size only.
    interpolation : {"bilinear", "bicubic"}
        Always with antialiasing.
    """

    resize_size: Side
    crop_size: Side
    mean: Annotated[tuple[float, ...], THREE]
    std: Annotated[tuple[Annotated[float, Meta(gt=0)], ...], THREE]
    interpolation: Annotated[str, Meta(pattern="^(bilinear|bicubic)$")] = "bilinear"
    any_size: bool = True


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """Decoding, resizing and normalisation: everything that decides which pixels the network sees.

    Attributes
    ----------
    recipe : Recipe
        Its sizes are those in use: `of` replaces them if the user names an input size.
    resize : {"crop", "squash", "full"}
        ``crop``: shorter side to `resize_size`, then the central `crop_size` square, torchvision's preset.
        ``squash``: the whole image to a `crop_size` square, aspect ratio ignored.
        ``full``: the whole image, aspect ratio kept as nearly as sides that are multiples of 32 allow, with
        about as many pixels as the `crop_size` square; longer than 3:1 is squashed to 3:1.
    decode : {"scaled", "exact", "device"}
        ``scaled``: a JPEG is shrunk by its codec (in the DCT domain, by 2, 4 or 8) to no less than twice the
        size needed, then resized. ``exact``: decoded in full. ``device``: decoded and resized on the
        network's device (nvJPEG on CUDA).
    flip : bool
        Whether an embedding is the mean of the image's and its mirror image's.
    """

    recipe: Recipe
    resize: ResizeMode
    decode: Decode = "scaled"
    flip: bool = False

    @classmethod
    def of(cls, recipe: Recipe, options: NetworkOptions) -> "Preprocessing":
        """Adapt a recipe; the size resized to before a crop changes in proportion to the input size.

        `resize` is by default ``full``, or ``squash`` for a network that takes one size only. `OptionError`
        if such a network is to take another size or shape.
        """
        size = options.input_size or recipe.crop_size
        resize = options.resize or (DEFAULT_RESIZE if recipe.any_size else "squash")
        if not recipe.any_size and (resize == "full" or size != recipe.crop_size):
            asked = "--resize full" if resize == "full" else f"--input-size {size}"
            raise OptionError(
                f"{asked}: this network takes pictures of {recipe.crop_size} x {recipe.crop_size} only; give "
                "--resize squash or crop, and no --input-size"
            )
        resize_size = round(recipe.resize_size * size / recipe.crop_size)
        adapted = replace(recipe, resize_size=resize_size, crop_size=size)
        return cls(recipe=adapted, resize=resize, decode=options.decode, flip=options.flip)

    @property
    def options(self) -> dict[str, Any]:
        """The options that make this preprocessing again, for the spec."""
        size = self.recipe.crop_size
        return {"resize": self.resize, "input_size": size, "decode": self.decode, "flip": self.flip}

    def __str__(self) -> str:
        recipe = self.recipe
        size = f"{recipe.resize_size}->{recipe.crop_size}" if self.resize == "crop" else recipe.crop_size
        flipped = ", averaged with the mirror image" if self.flip else ""
        return (
            f"{self.resize} {size} {recipe.interpolation} antialias, mean {list(recipe.mean)}, "
            f"std {list(recipe.std)}{_DECODED[self.decode]}{flipped}"
        )

    def plan(self, width: int, height: int) -> tuple[tuple[int, int], tuple[float, float, float, float]]:
        """Return the final size (w, h), and the box of a `width` x `height` image that fills it."""
        side = self.recipe.crop_size
        whole = (0.0, 0.0, float(width), float(height))
        if self.resize == "squash":
            return (side, side), whole
        if self.resize == "full":
            return full_size(width, height, side), whole
        # torchvision's _compute_resized_output_size truncates the longer side
        short = self.recipe.resize_size
        if width <= height:
            resized = (short, int(short * height / width))
        else:
            resized = (int(short * width / height), short)
        left, top = (round((length - side) / 2.0) for length in resized)
        across, down = width / resized[0], height / resized[1]
        return (side, side), (left * across, top * down, (left + side) * across, (top + side) * down)

    def resizes_whole(self, width: int, height: int) -> bool:
        """Return whether it is cheap enough to resize a whole picture and crop afterwards."""
        return self.resize != "crop" or max(width, height) <= LONGEST * min(width, height)

    def least_side(self, width: int, height: int) -> int | None:
        """See `toolkit.backbones.base.Backbone.least_side`."""
        if self.decode != "scaled":
            return None
        (w, h), box = self.plan(width, height)
        scale = max(w / (box[2] - box[0]), h / (box[3] - box[1]))
        return math.ceil(SCALED_MARGIN * scale * min(width, height))

    def __call__(self, image: Image.Image) -> Pixels:
        """Return `image` as (H, W, 3); only the part inside the crop is resized."""
        size, box = self.plan(*image.size)
        box = (max(box[0], 0.0), max(box[1], 0.0), min(box[2], image.width), min(box[3], image.height))
        return np.asarray(image.resize(size, _FILTERS[self.recipe.interpolation], box=box))


def full_size(width: int, height: int, side: int) -> tuple[int, int]:
    """Return the size nearest to the aspect ratio, about `side` ** 2 pixels, sides multiples of 32."""
    stretch = math.sqrt(min(max(width / height, 1 / LONGEST), LONGEST))
    cells = side / CELL
    return max(round(cells * stretch), 1) * CELL, max(round(cells / stretch), 1) * CELL
