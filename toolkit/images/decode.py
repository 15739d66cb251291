"""Decoding of an image file's bytes to RGB pixels, as a viewer shows them.

Steps, in this order:

1. *Open* by content, not by name. The declared size is checked against ``max_pixels`` before pixels are
   allocated. Of an animation or a document the first frame or page is taken; a page that is but a preview is
   passed over, and that of a camera raw file is refused. Layouts that Pillow reads wrong are put right, or
   named (`toolkit.images.tiff`, `toolkit.images.bmp`); text in a PNG is left out (`toolkit.images.png`).
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
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
)

from toolkit.errors import ImageError
from toolkit.images import bmp, jpeg, png, tiff
from toolkit.images.hints import damaged_hint, is_cut_off, not_an_image_hint
from toolkit.images.libtiff import collect_errors, taken_lines
from toolkit.images.memory import BUDGET, Reserve, bytes_to_decode, bytes_to_open, held_already
from toolkit.images.options import ImagePolicy
from toolkit.images.pixels import clear_around, fix_transparent_colour, to_rgb, turn_upright
from toolkit.images.scans import MOST_SCANS, count_scans

logger = logging.getLogger(__name__)

LeastSide = Callable[[int, int], int | None]

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
    least_side: LeastSide | None = None,
    reserve: Reserve | None = None,
) -> DecodedImage:
    """Decode the bytes of one image file; `ImageError` with the reason, without a path, if that fails.

    Safe to call from many threads with one policy: Pillow's limits are settings of the process, and so is the
    memory that the threads share. What a codec says beside its result is logged as a warning.

    Parameters
    ----------
    data : bytes
    policy : ImagePolicy
    name : str
        The file's name or id. Its ending is quoted if the content is something else.
    least_side : callable, optional
        Returns, for a width and height, the least length of the shorter side. A JPEG is then decoded at a
        half, a quarter or an eighth of its size where possible: much faster, and in less memory.
    reserve : callable, optional
        Takes the bytes of memory that decoding will hold and returns a context, entered before it begins; by
        default the process's budget, `toolkit.images.memory.BUDGET`.
    """
    if not data:
        raise ImageError("empty file (0 bytes)")
    configure_pillow(policy)
    reserve = reserve or (lambda amount: BUDGET.hold(amount, policy.memory_bytes))
    stream, lines = _Stream(data), list[str]()
    try:
        return _decode(stream, policy, least_side, reserve)
    except ImageError:
        raise
    except Exception as error:
        # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error, zlib.error, MemoryError and
        # others, by format and version; one bad file must not end a pass over a million
        lines = taken_lines()
        again = io.BytesIO(data)
        reason = tiff.why_not_decoded(again, lines, error) or bmp.why_not_decoded(again, error)
        raise ImageError(reason or _reason(error, data, policy, name, size=len(data))) from error
    finally:
        stream.stop()
        if lines := lines + taken_lines():
            logger.warning("%s: %s", name or "an image", counted_lines(lines))


def counted_lines(lines: Sequence[str]) -> str:
    """Return the first line, and how many more there are."""
    return lines[0].strip() + (f" (and {len(lines) - 1} more such lines)" if lines[1:] else "")


class _Stream(io.BytesIO):
    """The bytes of a file, which end with an error once its time is up: Pillow reads in blocks of 64 kB."""

    def __init__(self, data: bytes, *, extra: int = 0) -> None:
        super().__init__(data)
        self.size, self.extra = len(data), extra  # bytes, and those that are held beside them

    def start(self, seconds: float) -> None:
        """Let reading fail after so many seconds."""
        deadline, read = time.monotonic() + seconds, self.read

        def timed(size: int | None = -1, /) -> bytes:
            if time.monotonic() > deadline:
                raise ImageError(f"takes longer than {seconds:g} s to decode (--image-timeout)")
            return read(size)

        # only now: headers are read in hundreds of small pieces
        self.read = timed  # type: ignore[method-assign]

    def stop(self) -> None:
        """Drop the limit; it refers to the stream, which would else wait for a garbage collection."""
        self.__dict__.pop("read", None)


def check_header(
    file: BinaryIO,
    policy: ImagePolicy = _DEFAULT,
    *,
    name: str = "",
    least_side: LeastSide | None = None,
) -> int:
    """Raise the `ImageError` of `decode_image` for an open file that is not an image or too large an image.

    Reads the header only, and moves the file's position. A file that passes may be damaged. Returns the most
    memory that reading and decoding it will take, in bytes.
    """
    configure_pillow(policy)
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    need = 0
    try:
        width, height, need = bytes_to_open(file)
        if need:
            _check_pixels(width, height, policy)
        else:
            lighter = png.without_text(file, header=True)
            extra = 0 if lighter is None else png.COPIES * size
            image = _open(lighter or file, policy)
            pixels, scans = image.width * image.height, 2 if image.info.get("progressive") else 1
            _shrink(image, least_side)
            need = bytes_to_decode(image, pixels=pixels, scans=scans) + extra + _bytes_of_tile(image)
    except (UnidentifiedImageError, Image.DecompressionBombError) as error:
        reason = tiff.why_not_opened(file) if isinstance(error, UnidentifiedImageError) else None
        file.seek(0)
        reason = reason or _reason(error, file.read(HEAD_BYTES), policy, name, size=size)
        raise ImageError(reason) from error
    except ImageError:
        raise
    except Exception as error:  # a damaged header: `decode_image` will give the reason
        logger.debug("%s: the header cannot be read: %s", name, error)
    _check_memory(need + size, policy)
    return need + size


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
    collect_errors()
    tiff.complete_table()
    png.raise_limit()
    try:
        importlib.import_module("pillow_heif").register_heif_opener()
    except ImportError:
        logger.debug("pillow-heif is not installed; HEIF/HEIC files will fail with a reason")
    rest = [name for name in Image.ID if name not in _NOT_PICTURES and name not in _FIRST]
    return (*_FIRST, *sorted(rest, key=lambda name: Image.OPEN[name][1] is None))


def _open(stream: BinaryIO, policy: ImagePolicy) -> Image.Image:
    image: Image.Image = Image.open(stream, formats=_formats())
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        tiff.prepare(image)
    elif isinstance(image, BmpImagePlugin.BmpImageFile) and image.format == "BMP":
        bmp.prepare(image)
    _check_pixels(*image.size, policy)
    return image


def _check_pixels(width: int, height: int, policy: ImagePolicy) -> None:
    if width * height > policy.max_pixels:
        raise ImageError(
            f"{width} x {height} pixels is over the limit of {policy.max_pixels:,} (--max-pixels)"
        )


def _check_memory(need: int, policy: ImagePolicy) -> None:
    if need > policy.memory_bytes:
        raise ImageError(
            f"decoding it may take {need / 2**20:,.0f} MB of memory, over the limit of "
            f"{policy.decode_memory:,} (--decode-memory)"
        )


def _check_scans(scans: int, pixels: int, policy: ImagePolicy) -> None:
    if scans * pixels > MOST_SCANS * policy.max_pixels:
        raise ImageError(
            f"a JPEG of {scans:,} scans of {pixels:,} pixels, as nothing but an attack has; "
            f"at most {MOST_SCANS * policy.max_pixels // pixels:,} are decoded (--max-pixels)"
        )


def _decode(
    stream: _Stream, policy: ImagePolicy, least_side: LeastSide | None, reserve: Reserve
) -> DecodedImage:
    width, height, need = bytes_to_open(stream)
    lighter = png.without_text(stream)
    if lighter is not None:
        stream = _Stream(lighter.getvalue(), extra=png.COPIES * stream.size)
    if not need:
        return _load(_open(stream, policy), stream, policy, least_side, reserve)
    _check_pixels(width, height, policy)
    _check_memory(need + stream.size, policy)
    with reserve(need):
        stream.start(policy.image_timeout)
        image = _open(stream, policy)
        return _load(image, stream, policy, least_side, held_already)


def _shrink(image: Image.Image, least_side: LeastSide | None) -> None:
    """Let the decoder of a JPEG shrink it, to no less than `least_side` allows."""
    if least_side is None or not isinstance(image, JpegImagePlugin.JpegImageFile):
        return
    least = least_side(*image.size)
    if least is not None:
        image.draft(None, (least, least))


def _bytes_of_tile(image: Image.Image) -> int:
    return tiff.bytes_of_tile(image) if isinstance(image, TiffImagePlugin.TiffImageFile) else 0


def _load(
    image: Image.Image,
    stream: _Stream,
    policy: ImagePolicy,
    least_side: LeastSide | None,
    reserve: Reserve,
) -> DecodedImage:
    mode, (width, height) = image.mode, image.size
    fix_transparent_colour(image)
    greys = tiff.greys(image) if isinstance(image, TiffImagePlugin.TiffImageFile) else tiff.Greys()
    scans = 1
    if isinstance(image, JpegImagePlugin.JpegImageFile):
        scans = count_scans(stream.getvalue())
        _check_scans(scans, width * height, policy)
    _shrink(image, least_side)
    need = bytes_to_decode(image, pixels=width * height, scans=scans) + stream.extra + _bytes_of_tile(image)
    _check_memory(need + stream.size, policy)
    with reserve(need):
        stream.start(policy.image_timeout)
        shrunk = image.size != (width, height)
        frame = image.tile[0].extents if isinstance(image, GifImagePlugin.GifImageFile) else None
        image.load()
        sideways = turn_upright(image)
        rgb = to_rgb(image, greys)
        if frame is not None:
            clear_around(rgb, frame)
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
        return jpeg.why_not_opened(data) or not_an_image_hint(data, name, size=size)
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
