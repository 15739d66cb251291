"""Decoding of an image file's bytes to RGB pixels, as a viewer shows them.

Steps, in this order:

1. *Open* by content, not by name. The declared size is checked against ``max_pixels`` before pixels are
   allocated. Of an animation or a document the first frame or page is taken.
2. *16 bits and more* are scaled, not clipped. Grey: 16-bit integers are v / 257, rounded; for larger integers
   and floats see `toolkit.images.pixels.to_grey8`. Colour: Pillow keeps the high byte, v // 256, which is at
   most one step of 255 darker.
3. *Colour*: CMYK, YCCK, RGB and grey are converted by the embedded ICC profile to sRGB (perceptual intent).
   Without a usable profile Pillow's plain conversion is used. PNG's gAMA and cHRM are not applied (Pillow
   does not read them as a transform).
4. *Alpha*, a transparent palette entry or a transparent colour: composited on white.
5. *Orientation* of EXIF. A broken EXIF block is ignored and the picture kept.

PostScript (EPS) and metafiles are not opened, although Pillow supports them: they would run other programs
(Ghostscript). HEIF/HEIC is read if the package ``pillow-heif`` is installed.
"""

import functools
import importlib
import io
import logging
import os
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

from PIL import Image, ImageFile, JpegImagePlugin, UnidentifiedImageError

from toolkit.errors import ImageError
from toolkit.images.hints import damaged_hint, is_cut_off, not_an_image_hint
from toolkit.images.options import ImagePolicy
from toolkit.images.pixels import fix_transparent_colour, to_rgb, turn_upright

logger = logging.getLogger(__name__)

HEAD_BYTES = 65536  # read of a file whose header is refused, to find the reason

_DEFAULT = ImagePolicy()
_FIRST = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
_NOT_PICTURES = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"}
# Pillow warns about corrupt EXIF and odd TIFF tags, which change no pixel, and about large pictures, which
# ImagePolicy limits.
_QUIET = ("ignore", None, Warning, re.compile(r"PIL\."), 0)


@dataclass(frozen=True)
class DecodedImage:
    """A picture and what its file declares.

    Attributes
    ----------
    rgb : PIL.Image.Image
        Loaded, sRGB, upright, with an empty ``info``: applying EXIF or a profile again is harmless.
    width, height : int
        Size of the upright picture in the file; `rgb` is smaller if its decoder was allowed to shrink it.
    mode : str
        Pillow's name of the pixels in the file: ``RGB``, ``L``, ``CMYK``, ``P``, ``I;16``, ...
    """

    rgb: Image.Image
    width: int
    height: int
    mode: str


def decode_image(
    data: bytes,
    policy: ImagePolicy = _DEFAULT,
    *,
    name: str = "",
    least_side: Callable[[int, int], int | None] | None = None,
) -> DecodedImage:
    """Decode the bytes of one image file; `ImageError` with the reason, without a path, if that fails.

    Safe to call from many threads with one policy: Pillow's limits are settings of the process.

    Parameters
    ----------
    data : bytes
    policy : ImagePolicy
    name : str
        The file's name or id. Its ending is quoted if the content is something else.
    least_side : callable, optional
        Returns, for a width and height, the least length of the shorter side. A JPEG is then decoded at a
        half, a quarter or an eighth of its size where possible: much faster, and in less memory.
    """
    if not data:
        raise ImageError("empty file (0 bytes)")
    configure_pillow(policy)
    try:
        return _decode(data, policy, least_side)
    except ImageError:
        raise
    except Exception as error:
        # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error, zlib.error, MemoryError and
        # others, by format and version; one bad file must not end a pass over a million
        raise ImageError(_reason(error, data, policy, name, size=len(data))) from error


def check_header(file: BinaryIO, policy: ImagePolicy = _DEFAULT, *, name: str = "") -> None:
    """Raise the `ImageError` of `decode_image` for an open file that is not an image or too large an image.

    Reads the header only, and moves the file's position. A file that passes may be damaged.
    """
    configure_pillow(policy)
    try:
        _open(file, policy)
    except (UnidentifiedImageError, Image.DecompressionBombError) as error:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        raise ImageError(_reason(error, file.read(HEAD_BYTES), policy, name, size=size)) from error
    except ImageError:
        raise
    except Exception as error:  # a damaged header: `decode_image` will give the reason
        logger.debug("%s: the header cannot be read: %s", name, error)


def configure_pillow(policy: ImagePolicy) -> None:
    """Set Pillow's process-wide limits to `policy`, hide its warnings and log lines, and load its formats.

    Call it before decoding threads start.
    """
    Image.MAX_IMAGE_PIXELS = (policy.max_pixels + 1) // 2  # Pillow fails at twice that
    ImageFile.LOAD_TRUNCATED_IMAGES = policy.truncated == "keep"
    # `warnings.catch_warnings` is not safe in threads; test runners and notebooks reset the filters
    if not warnings.filters or warnings.filters[0] != _QUIET:
        warnings.filterwarnings("ignore", module=r"PIL\.")
        pillow = logging.getLogger("PIL")
        if pillow.level == logging.NOTSET:
            pillow.setLevel(logging.CRITICAL)
    _formats()


@functools.cache
def _formats() -> tuple[str, ...]:
    """Return the formats to try, the usual ones first and those without a magic number last."""
    Image.init()
    try:
        importlib.import_module("pillow_heif").register_heif_opener()
    except ImportError:
        logger.debug("pillow-heif is not installed; HEIF/HEIC files will fail with a reason")
    rest = [name for name in Image.ID if name not in _NOT_PICTURES and name not in _FIRST]
    return (*_FIRST, *sorted(rest, key=lambda name: Image.OPEN[name][1] is None))


def _open(stream: BinaryIO, policy: ImagePolicy) -> Image.Image:
    image: Image.Image = Image.open(stream, formats=_formats())
    width, height = image.size
    if width * height > policy.max_pixels:
        raise ImageError(
            f"{width} x {height} pixels is over the limit of {policy.max_pixels:,} (--max-pixels)"
        )
    return image


def _decode(
    data: bytes, policy: ImagePolicy, least_side: Callable[[int, int], int | None] | None
) -> DecodedImage:
    image = _open(io.BytesIO(data), policy)
    mode, (width, height) = image.mode, image.size
    fix_transparent_colour(image)
    least = least_side(width, height) if least_side is not None else None
    if least is not None and isinstance(image, JpegImagePlugin.JpegImageFile):
        image.draft(None, (least, least))
    shrunk = image.size != (width, height)
    image.load()
    sideways = turn_upright(image)
    rgb = to_rgb(image)
    rgb.info = {}
    if not shrunk:
        width, height = rgb.size
    elif sideways:
        width, height = height, width
    return DecodedImage(rgb, width, height, mode)


def _reason(error: Exception, data: bytes, policy: ImagePolicy, name: str, *, size: int) -> str:
    """Return the reason for `error`; `data` may be only the beginning of a file of `size` bytes."""
    if isinstance(error, Image.DecompressionBombError):
        pixels = _declared_size(data, error)
        return f"{pixels} pixels is over the limit of {policy.max_pixels:,} (--max-pixels)"
    if isinstance(error, MemoryError):
        return f"not enough memory to decode it ({size:,} bytes in the file)"
    if isinstance(error, UnidentifiedImageError):
        return not_an_image_hint(data, name, size=size)
    if is_cut_off(data, error):
        return f"truncated: the file ends before the picture does ({size:,} bytes)"
    return damaged_hint(data, error)


def _declared_size(data: bytes, error: Exception) -> str:
    """Return ``width x height`` of a file whose size Pillow refused; its error has only the product."""
    for name in _formats():
        reader, accepts = Image.OPEN[name]
        if accepts is not None and accepts(data[:16]) is True:
            try:
                width, height = reader(io.BytesIO(data), "").size  # reads only the header
            except Exception:  # this format checks the size itself
                break
            return f"{width} x {height}"
    pixels = re.search(r"\d+", str(error))
    return f"{int(pixels[0]):,}" if pixels else "their number of"
