"""JPEGs decoded and resized where the network runs: nvJPEG on CUDA, libjpeg-turbo on the processor."""

import io
import logging
import warnings

import torch
from PIL import Image, UnidentifiedImageError
from torch.nn.functional import interpolate
from torchvision.io import ImageReadMode, decode_jpeg

from toolkit.backbones.base import Pixels
from toolkit.backbones.preprocessing import Preprocessing

logger = logging.getLogger(__name__)

# it stays the one way to nvJPEG without another dependency; in threads warnings cannot be caught one by one
warnings.filterwarnings("ignore", "The image decoding and encoding capabilities", DeprecationWarning)

_END = b"\xff\xd9"
_ORIENTATION = 0x0112


def decode_on(
    device: str, data: bytes, preprocessing: Preprocessing, *, max_pixels: int
) -> tuple[Pixels, int, int] | None:
    """Return the pixels (H, W, 3) uint8 that go into the network and the picture's width and height.

    None where Pillow has to do it.

    Only what is decoded alike everywhere is taken: whole RGB JPEGs, upright, without a colour profile.
    """
    if not _plain(data, max_pixels):
        return None
    raw = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    try:
        picture = decode_jpeg(raw, mode=ImageReadMode.RGB, device=device)
    except RuntimeError as error:
        logger.debug("left to Pillow, which will say what is wrong with it: %s", error)
        return None
    height, width = picture.shape[1:]
    pixels = resize(picture, preprocessing, width, height).permute(1, 2, 0).contiguous()
    return pixels.cpu().numpy(), width, height


def resize(picture: torch.Tensor, preprocessing: Preprocessing, width: int, height: int) -> torch.Tensor:
    """Return (3, h, w) uint8 of a (3, H, W) uint8 picture, antialiased; a crop is cut after resizing."""
    (w, h), box = preprocessing.plan(width, height)
    across, down = w / (box[2] - box[0]), h / (box[3] - box[1])
    size = (max(round(height * down), h), max(round(width * across), w))
    floats = interpolate(
        picture[None].to(torch.float32), size=size, mode=preprocessing.recipe.interpolation, antialias=True
    )
    left, top = (min(round(box[0] * across), size[1] - w), min(round(box[1] * down), size[0] - h))
    return floats[0, :, top : top + h, left : left + w].round_().clamp_(0, 255).to(torch.uint8)


def _plain(data: bytes, max_pixels: int) -> bool:
    if not data.startswith(b"\xff\xd8") or not data.rstrip(b"\0").endswith(_END):
        return False
    try:
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:  # reads the header only
            upright = image.getexif().get(_ORIENTATION, 1) == 1
            small = image.width * image.height <= max_pixels
            return small and image.mode == "RGB" and upright and "icc_profile" not in image.info
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError):
        return False
