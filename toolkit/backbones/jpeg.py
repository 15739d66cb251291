"""JPEGs decoded and resized where the network runs: nvJPEG on CUDA, libjpeg-turbo on the processor."""

import io
import logging
import warnings
from collections.abc import Iterator, Sequence

import torch
from PIL import Image, UnidentifiedImageError
from torchvision.io import ImageReadMode, decode_jpeg

from toolkit.backbones.base import Decoded
from toolkit.backbones.preprocessing import Preprocessing
from toolkit.backbones.resizing import resize
from toolkit.errors import OptionError

logger = logging.getLogger(__name__)

# it stays the one way to nvJPEG without another dependency; in threads warnings cannot be caught one by one
warnings.filterwarnings("ignore", "The image decoding and encoding capabilities", DeprecationWarning)

MOST_PIXELS = 2**23  # of one call: 25 MB of bytes and 100 MB as floats, for every decoding thread

_END = b"\xff\xd9"
_ORIENTATION = 0x0112


def decode_on(
    device: str, files: Sequence[bytes], preprocessing: Preprocessing, *, max_pixels: int
) -> list[Decoded | None]:
    """Return what goes into the network, and width and height, of each file; None where Pillow has to do it.

    Only what is decoded alike everywhere is taken: whole RGB JPEGs, upright, without a colour profile.

    Raises
    ------
    OptionError
        The device's memory is full.
    """
    sizes = [_plain_size(data, preprocessing, max_pixels) for data in files]
    out: list[Decoded | None] = [None] * len(files)
    try:
        for places in _calls(sizes):
            pictures = _decode([files[place] for place in places], device)
            for place, decoded in zip(places, _resized(pictures, preprocessing), strict=True):
                out[place] = decoded
    except torch.OutOfMemoryError as error:
        raise OptionError(f"--decode device: the memory of {device} is full; give --decode scaled") from error
    return out


def _calls(sizes: Sequence[tuple[int, int] | None]) -> Iterator[list[int]]:
    """Yield the places of files for one call: together at most `MOST_PIXELS`, unless one alone has more."""
    places: list[int] = []
    pixels = 0
    for place, size in enumerate(sizes):
        if size is None:
            continue
        more = size[0] * size[1]
        if places and pixels + more > MOST_PIXELS:
            yield places
            places, pixels = [], 0
        places.append(place)
        pixels += more
    if places:
        yield places


def _decode(files: Sequence[bytes], device: str) -> list[torch.Tensor | None]:
    """Return (3, H, W) uint8 of each; as a damaged one fails the call, they are then tried one by one."""
    raw = [torch.frombuffer(bytearray(data), dtype=torch.uint8) for data in files]
    try:
        return list(decode_jpeg(raw, mode=ImageReadMode.RGB, device=device))
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        if len(files) > 1:
            return [picture for data in files for picture in _decode([data], device)]
        logger.debug("left to Pillow, which will say what is wrong with it: %s", error)
        return [None]


def _resized(pictures: Sequence[torch.Tensor | None], preprocessing: Preprocessing) -> list[Decoded | None]:
    """Resize pictures (3, H, W); those of one size together, for a GPU takes as long for one as for many."""
    alike: dict[torch.Size, list[int]] = {}
    for place, picture in enumerate(pictures):
        if picture is not None:
            alike.setdefault(picture.shape, []).append(place)
    out: list[Decoded | None] = [None] * len(pictures)
    for (_, height, width), places in alike.items():
        stacked = torch.stack([picture for place in places if (picture := pictures[place]) is not None])
        pixels = resize(stacked, preprocessing).cpu().numpy()
        for place, one in zip(places, pixels, strict=True):
            out[place] = (one, width, height)
    return out


def _plain_size(data: bytes, preprocessing: Preprocessing, max_pixels: int) -> tuple[int, int] | None:
    if not data.startswith(b"\xff\xd8") or not data.rstrip(b"\0").endswith(_END):
        return None
    try:
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:  # reads the header only
            upright = image.getexif().get(_ORIENTATION, 1) == 1
            plain = image.mode == "RGB" and upright and "icc_profile" not in image.info
            fits = image.width * image.height <= max_pixels and preprocessing.resizes_whole(*image.size)
            return image.size if plain and fits else None
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError):
        return None
