"""Resizing by torch: Pillow's pixels to within two steps of 255, in a quarter of the time.

torch has vector instructions for bytes in channels_last. Importing it takes seconds, so this is for passes
that need torch anyway.
"""

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import interpolate

from toolkit.arrays.types import Pixels
from toolkit.backbones.preprocessing import Preprocessing


def resize_picture(image: Image.Image, preprocessing: Preprocessing) -> Pixels:
    """Return an RGB image as (h, w, 3) uint8, like ``preprocessing(image)``."""
    if not preprocessing.resizes_whole(*image.size):
        return preprocessing(image)
    picture = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    pixels: Pixels = resize(picture[None], preprocessing)[0].numpy()
    return pixels


def resize(pictures: torch.Tensor, preprocessing: Preprocessing) -> torch.Tensor:
    """Return (N, h, w, 3) uint8 of pictures (N, 3, H, W) uint8, antialiased; a crop is cut after resizing."""
    height, width = pictures.shape[2:]
    (w, h), box = preprocessing.plan(width, height)
    across, down = w / (box[2] - box[0]), h / (box[3] - box[1])
    size = (max(round(height * down), h), max(round(width * across), w))
    # torch resizes bytes on CPUs only
    numbers = pictures if pictures.device.type == "cpu" else pictures.to(torch.float32)
    whole = interpolate(numbers, size=size, mode=preprocessing.recipe.interpolation, antialias=True)
    left, top = (min(round(box[0] * across), size[1] - w), min(round(box[1] * down), size[0] - h))
    cut = whole[:, :, top : top + h, left : left + w]
    if cut.dtype != torch.uint8:
        cut = cut.round().clamp(0, 255).to(torch.uint8)
    return cut.permute(0, 2, 3, 1).contiguous()
