"""Conversion of a loaded picture of any mode to 8-bit sRGB on white: bit depth, profiles, alpha, orientation.

A broken colour profile or EXIF block is ignored.
"""

import functools
import io
import logging
import math

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageChops, ImageCms, ImageFile, ImageOps

from toolkit.arrays.types import Float64Array
from toolkit.images.tiff import Greys

logger = logging.getLogger(__name__)

_BAND_PIXELS = 2**18  # converted at a time, of pictures of more than 8 bits


def to_rgb(image: Image.Image, greys: Greys = Greys()) -> Image.Image:  # noqa: B008 - immutable
    """Return a loaded image of any mode as RGB on white; the image itself if it needs no change.

    `greys` says how the samples of a grey TIFF are to be understood. `image` must not be used afterwards. As
    few copies as possible are held: they decide how much memory a picture takes (`toolkit.images.memory`).
    """
    profile = image.info.get("icc_profile")
    colour, alpha = _split_alpha(image)
    if colour.mode in ("I", "F") or colour.mode.startswith("I;16") or greys.dtype:
        colour = _grey(colour, greys)
    elif colour.mode == "P":
        colour = colour.convert("RGB")
    if greys.inverted:
        colour = ImageChops.invert(colour)
    transform = _transform(profile, colour.mode) if profile else None
    if transform is not None and colour.mode == "RGB":
        ImageCms.applyTransform(colour, transform, inPlace=True)
        rgb = colour
    elif transform is not None:
        made = ImageCms.applyTransform(colour, transform)
        assert made is not None  # None is for inPlace=True
        rgb = made
    else:
        rgb = colour if colour.mode == "RGB" else colour.convert("RGB")
    if alpha is not None:
        rgb.paste((255, 255, 255), mask=ImageChops.invert(alpha))
    if rgb is image and image.format != "JPEG":
        # the pixels without the decoder and the file's bytes; a loaded JPEG holds neither
        return image._new(image.im)
    return rgb


def _split_alpha(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Return (colours as stored, alpha as L or None); colours under alpha 0 are kept.

    With an alpha channel the colours are a copy.
    """
    if not image.has_transparency_data:
        return image, None
    if image.mode.startswith("I;16"):
        visible = np.asarray(image) != image.info["transparency"]
        return image, Image.fromarray(visible.astype(np.uint8) * np.uint8(255))
    if image.mode in ("La", "LA"):
        straight = image.convert("LA")
        return straight.getchannel("L"), straight.getchannel("A")
    rgba = image if image.mode == "RGBA" else image.convert("RGBA")
    colour = image if image.mode == "L" else rgba.convert("RGB")
    return colour, rgba.getchannel("A")


def _grey(image: Image.Image, greys: Greys) -> Image.Image:
    """Return a picture of more than 8 bits as `to_grey8` does, some rows at a time."""
    height = max(_BAND_PIXELS // max(image.width, 1), 1)
    boxes = [(0, top, image.width, min(top + height, image.height)) for top in range(0, image.height, height)]

    def values(box: tuple[int, int, int, int]) -> NDArray[np.generic]:
        return greys.values(np.asarray(image.crop(box)))

    ranges = [grey_range(values(box)) for box in boxes]
    low, high = min(low for low, _ in ranges), max(high for _, high in ranges)
    grey = Image.new("L", image.size)
    for box in boxes:
        grey.paste(Image.fromarray(to_grey8(values(box), (low, high))), box)
    return grey


def grey_range(values: NDArray[np.generic]) -> tuple[float, float]:
    """Return the least and the greatest finite value; inf and -inf if there is none."""
    if values.dtype.kind != "f":
        return int(values.min()), int(values.max())
    finite = values[np.isfinite(values)]
    return (float(finite.min()), float(finite.max())) if finite.size else (math.inf, -math.inf)


def to_grey8(values: NDArray[np.generic], within: tuple[float, float] | None = None) -> NDArray[np.uint8]:
    """Scale grey values (H, W) of more than 8 bits to uint8 (H, W); nothing is clipped.

    Bytes that are not negative are themselves. Other integers in 0..65535 are 16-bit grey: v / 257, rounded,
    so that equal values look equal in every picture. Floats in 0..1 are shares of white: v * 255; floats in
    0..255 are rounded. Other integers and floats have no agreed white and are stretched from their least to
    their greatest value. NaN and -inf are black, +inf is white. `within` is the `grey_range` of the whole
    picture if `values` are only a part of it.
    """
    low, high = grey_range(values) if within is None else within
    if values.dtype.kind != "f":
        if low >= 0 and values.dtype.itemsize == 1:
            return values.astype(np.uint8)
        if low >= 0 and high <= 65535:
            return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
        return _stretch(values.astype(np.float64), low, high)
    if low > high:  # no value is finite
        low, high = 0.0, 1.0
    if low >= 0 and high <= 255:
        low, high = 0.0, (1.0 if high <= 1 else 255.0)
    with np.errstate(invalid="ignore"):  # a NaN that signals
        floats = values.astype(np.float64)
    floats = np.nan_to_num(floats, copy=False, nan=low, posinf=high, neginf=low)
    return _stretch(floats, low, high)


def _stretch(values: Float64Array, low: float, high: float) -> NDArray[np.uint8]:
    span = high - low or 1.0
    return np.rint((values - low) * 255.0 / span).astype(np.uint8)


_GREY_STEP: dict[object, int] = {"L;2": 85, "L;4": 17}


def fix_transparent_colour(image: Image.Image) -> None:
    """Scale the transparent colour of a PNG to the 8 bits that its pixels will have.

    Pillow (still in 13.0) scales 2- and 4-bit grey and 16-bit RGB to 8 bits, but not the colour in the tRNS
    chunk, which would then match no pixel, or the wrong ones.
    """
    key = image.info.get("transparency")
    if key is None or image.format != "PNG" or not isinstance(image, ImageFile.ImageFile) or not image.tile:
        return
    raw_mode = image.tile[0][3]
    step = _GREY_STEP.get(raw_mode)
    if step:  # only the lowest 2 or 4 bits count (PNG specification, 11.3.2.1)
        image.info["transparency"] = key % (255 // step + 1) * step
    elif raw_mode == "RGB;16B":
        image.info["transparency"] = tuple(value >> 8 for value in key)


def clear_around(rgb: Image.Image, box: tuple[int, int, int, int]) -> None:
    """Make white what lies outside of `box`, where a GIF's first frame leaves the screen transparent."""
    left, top, right, bottom = box
    width, height = rgb.size
    sides = (
        (0, 0, width, top),
        (0, bottom, width, height),
        (0, top, left, bottom),
        (right, top, width, bottom),
    )
    for side in sides:
        if side[0] < side[2] and side[1] < side[3]:
            rgb.paste((255, 255, 255), side)


def turn_upright(image: Image.Image) -> bool:
    """Turn a loaded image as its EXIF says; return whether that swapped width and height."""
    sideways = False
    try:
        sideways = image.getexif().get(ExifTags.Base.Orientation) in (5, 6, 7, 8)
        ImageOps.exif_transpose(image, in_place=True)
    except Exception as error:  # of Pillow's EXIF parser; the pixels are sound
        logger.debug("broken EXIF ignored: %s", type(error).__name__)
    return sideways


@functools.lru_cache(maxsize=64)  # building one takes milliseconds; a collection has few profiles
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Return the transform from `profile` to sRGB, which threads may share; None for plain conversion."""
    if mode not in ("RGB", "L", "CMYK"):
        return None
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        transform = ImageCms.buildTransform(
            source, ImageCms.createProfile("sRGB"), mode, "RGB", ImageCms.Intent.PERCEPTUAL
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError) as error:
        # broken, or of another colour space than the picture
        logger.info("a %s colour profile cannot be used, plain conversion instead: %s", mode, error)
        return None
    return None if _changes_nothing(transform, mode) else transform


def _changes_nothing(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    """Return whether `transform` moves no colour of a 9 x 9 x 9 grid by more than 2 of 255.

    The sRGB profiles in use differ by rounding, so names and hashes cannot identify them.
    """
    if mode == "CMYK":
        return False
    levels = np.linspace(0, 255, 9).round().astype(np.uint8)
    if mode == "L":
        before = Image.fromarray(levels[None, :])
    else:
        grid = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1)
        before = Image.fromarray(grid.reshape(27, 27, 3))
    after = np.asarray(ImageCms.applyTransform(before, transform), dtype=np.int16)
    return bool(np.abs(after - np.asarray(before.convert("RGB"), dtype=np.int16)).max() <= 2)
