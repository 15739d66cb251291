"""Bytes of an image file to RGB pixels as a viewer would show them.

What is done, in this order:

1. *Open* by content, never by name. The declared size is held against ``max_pixels`` before pixels are
   allocated. Of an animation or a document the first frame or page is taken.
2. *16 bits and more* are scaled, not clipped. Grey: 16-bit integers are v / 257, rounded; for larger integers
   and floats the rule is at `toolkit.images.pixels.to_grey8`. Colour: Pillow keeps the high byte, v // 256,
   which is at most one step of 255 darker.
3. *Colour*: CMYK, YCCK, RGB and grey go through the embedded ICC profile to sRGB (perceptual intent). A
   profile that cannot be used, and CMYK without one, get Pillow's plain conversion. PNG's gAMA and cHRM are
   not applied (Pillow does not read them as a transform).
4. *Alpha*, a transparent palette entry or a transparent colour: composited on white.
5. *Orientation* of EXIF. A broken EXIF block is ignored and the picture kept.

PostScript (EPS) and metafiles are not opened although Pillow knows them: they are drawings for other programs
(Ghostscript) to run. HEIF/HEIC is read when the package ``pillow-heif`` is installed.
"""

import functools
import importlib
import io
import logging
import os
import re
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, Literal, get_args

from PIL import Image, ImageFile, JpegImagePlugin, UnidentifiedImageError

from toolkit.errors import ImageError, OptionError
from toolkit.images.hints import damaged_hint, is_cut_off, not_an_image_hint
from toolkit.images.pixels import SIDEWAYS, mend_transparent_colour, to_rgb, upright_by

logger = logging.getLogger(__name__)

Truncated = Literal["fail", "keep"]


@dataclass(frozen=True)
class ImagePolicy:
    """What is still taken for an image.

    Attributes
    ----------
    max_pixels : int
        Largest width times height as declared, a guard against decompression bombs. The default is where
        Pillow's own default gives up (half a GiB of RGB pixels).
    truncated : {"fail", "keep"}
        What becomes of a file that ends before its picture does: by default it fails, because the rest of the
        picture would be made up (grey); ``keep`` decodes what is there.
    """

    max_pixels: int = 178_956_970
    truncated: Truncated = "fail"

    def __post_init__(self) -> None:
        if self.max_pixels < 1:
            raise OptionError(f"--max-pixels got {self.max_pixels}; give 1 or more")
        if self.truncated not in get_args(Truncated):
            raise OptionError(
                f"--truncated got {self.truncated!r}; allowed are {', '.join(get_args(Truncated))}"
            )


@dataclass(frozen=True)
class DecodedImage:
    """A picture and what its file says about it.

    Attributes
    ----------
    rgb : PIL.Image.Image
        Loaded, mode RGB, sRGB, upright, with an empty ``info``: applying EXIF or a profile again is harmless.
    width, height : int
        Pixels of the picture as shown; `rgb` is smaller if its decoder was allowed to shrink it.
    mode : str
        Pillow's name of the pixels as the file stores them: ``RGB``, ``L``, ``CMYK``, ``P``, ``I;16``, ...
    """

    rgb: Image.Image
    width: int
    height: int
    mode: str


_DEFAULT = ImagePolicy()

HEAD_BYTES = 65536  # what is looked at of a file that is not read

# Pillow warns about corrupt EXIF, odd TIFF tags and large pictures. The first two change nothing (the picture
# is kept), the last is decided by ImagePolicy, so none of them is news to the user.
_QUIET = ("ignore", None, Warning, re.compile(r"PIL\."), 0)
_settings = threading.Lock()


def configure_pillow(policy: ImagePolicy) -> None:
    """Set Pillow's process-wide knobs for `policy`; call it before the threads that decode are started.

    Sets ``Image.MAX_IMAGE_PIXELS`` (Pillow gives up at twice that) and ``ImageFile.LOAD_TRUNCATED_IMAGES``,
    hides warnings issued inside Pillow and its log lines. `decode_image` is right without this call too, and
    for several policies side by side; after it, no decode ever waits for one of another policy.
    """
    with _settings:
        Image.MAX_IMAGE_PIXELS = _half(policy.max_pixels)
    with _truncation_gate(keep=policy.truncated == "keep"):
        _silence_pillow()
        _formats()


def decode_image(
    data: bytes,
    policy: ImagePolicy = _DEFAULT,
    *,
    name: str = "",
    least_side: Callable[[int, int], int | None] | None = None,
) -> DecodedImage:
    """Decode the bytes of one image file; safe to call from many threads.

    Parameters
    ----------
    data : bytes
        The whole file.
    policy : ImagePolicy
        Pixel limit, and what to do with truncated files.
    name : str
        The file's name or id. Its ending is only quoted when the content turns out to be something else.
    least_side : callable, optional
        Given width and height, how many pixels the shorter side must keep. A JPEG is then decoded at a half,
        a quarter or an eighth of its size where that suffices: much faster, and in less memory.

    Raises
    ------
    ImageError
        For whatever reason there is no picture; the message is that reason in plain words, without any path.
    """
    if not data:
        raise ImageError("empty file (0 bytes)")
    _silence_pillow()
    _raise_pillow_limit(policy.max_pixels)
    try:
        with _truncation_gate(keep=policy.truncated == "keep"):
            return _decode(data, policy, least_side)
    except ImageError:
        raise
    except Exception as error:
        # Pillow's decoders meet bad bytes with OSError, SyntaxError, ValueError, struct.error, zlib.error,
        # EOFError, IndexError, KeyError, MemoryError, OverflowError, DecompressionBombError, ...; the set
        # differs by format and version, and one bad file must not end a pass over a million.
        raise ImageError(_reason(error, data, policy, name, size=len(data))) from error


def check_header(file: BinaryIO, policy: ImagePolicy = _DEFAULT, *, name: str = "") -> None:
    """Refuse an open file by its header alone: one that is no image, or too large a one.

    For files too large to be read on suspicion. Moves the file's position. What passes may still turn out to
    be damaged when `decode_image` reads all of it.

    Raises
    ------
    ImageError
        With the words of `decode_image`.
    """
    _silence_pillow()
    _raise_pillow_limit(policy.max_pixels)
    try:
        with _truncation_gate(keep=policy.truncated == "keep"):
            _open(file, policy)
    except (UnidentifiedImageError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        raise ImageError(_reason(error, file.read(HEAD_BYTES), policy, name, size=size)) from error
    except ImageError:
        raise
    except Exception as error:  # Pillow knows the format and chokes on it, see `decode_image`
        logger.debug("%s: the header cannot be judged: %s", name, error)


def _open(stream: BinaryIO, policy: ImagePolicy) -> Image.Image:
    """Read the header."""
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
    mode = image.mode
    width, height = image.size
    mend_transparent_colour(image)
    least = least_side(width, height) if least_side is not None else None
    if least is not None and isinstance(image, JpegImagePlugin.JpegImageFile):
        image.draft(None, (least, least))
    shrunk = image.size != (width, height)
    image.load()
    turn = upright_by(image)
    rgb = to_rgb(image)
    if turn is not None:
        rgb = rgb.transpose(turn)
    rgb.info = {}
    if not shrunk:
        return DecodedImage(rgb, rgb.width, rgb.height, mode)
    if turn in SIDEWAYS:
        width, height = height, width
    return DecodedImage(rgb, width, height, mode)


# ---------------------------------------------------------------------- Pillow's process-wide state


def _half(max_pixels: int) -> int:
    """Return the MAX_IMAGE_PIXELS with which Pillow, refusing at twice that, refuses over `max_pixels`."""
    return (max_pixels + 1) // 2


def _raise_pillow_limit(max_pixels: int) -> None:
    """Let Pillow open pictures of up to `max_pixels`; the limit of this call is then checked in `_decode`.

    Only ever raised, so that a policy with a smaller limit does not disturb one in another thread.
    Pillow's check stays on: pictures inside of pictures (icons, GIF frames) are seen by nobody else.
    """
    if Image.MAX_IMAGE_PIXELS is not None and _half(max_pixels) > Image.MAX_IMAGE_PIXELS:
        with _settings:
            Image.MAX_IMAGE_PIXELS = max(_half(max_pixels), Image.MAX_IMAGE_PIXELS)


def _silence_pillow() -> None:
    """Put a filter for warnings from inside Pillow first, and mute its logger.

    `warnings.catch_warnings` would be tidier, but it swaps global state and is not safe in threads. Looking
    is cheap, so this is done for every picture: test runners and notebooks reset the filters at will.
    """
    if warnings.filters and warnings.filters[0] == _QUIET:
        return
    with _settings:
        warnings.filterwarnings("ignore", module=r"PIL\.")
        pillow = logging.getLogger("PIL")
        if pillow.level == logging.NOTSET:
            pillow.setLevel(logging.CRITICAL)


class _Gate:
    """Decodes that want the same LOAD_TRUNCATED_IMAGES run side by side, the others wait for their turn.

    Pillow reads the switch while it decodes and has it once a process, so a change must not meet a decode.
    """

    def __init__(self) -> None:
        self._turnstile = threading.Lock()  # held by one that waits, so that later ones queue up behind it
        self._idle = threading.Condition()
        self._running = 0

    @contextmanager
    def __call__(self, *, keep: bool) -> Iterator[None]:
        with self._turnstile, self._idle:
            if keep != ImageFile.LOAD_TRUNCATED_IMAGES:
                self._idle.wait_for(lambda: self._running == 0)
                ImageFile.LOAD_TRUNCATED_IMAGES = keep
            self._running += 1
        try:
            yield
        finally:
            with self._idle:
                self._running -= 1
                self._idle.notify()


_truncation_gate = _Gate()

_FIRST = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
_NOT_PICTURES = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"}


@functools.cache
def _formats() -> tuple[str, ...]:
    """Return the formats to try, the usual ones first and those that know no magic number last."""
    Image.init()
    try:
        importlib.import_module("pillow_heif").register_heif_opener()
    except ImportError:
        logger.debug("pillow-heif is not installed; HEIF/HEIC files will fail with a reason")
    rest = [name for name in Image.ID if name not in _NOT_PICTURES and name not in _FIRST]
    return (*_FIRST, *sorted(rest, key=lambda name: Image.OPEN[name][1] is None))


# ---------------------------------------------------------------------- reasons


def _declared_size(data: bytes, error: Exception) -> str:
    """Return ``width x height`` of a file whose size Pillow refused; its error tells the product alone."""
    for name in _formats():
        reader, accepts = Image.OPEN[name]
        if accepts is not None and accepts(data[:16]) is True:
            try:
                width, height = reader(io.BytesIO(data), "").size  # reads the header only
            except Exception:  # formats that check for themselves refuse again: the product must do
                break
            return f"{width} x {height}"
    pixels = re.search(r"\d+", str(error))
    return f"{int(pixels[0]):,}" if pixels else "their number of"


def _reason(error: Exception, data: bytes, policy: ImagePolicy, name: str, *, size: int) -> str:
    """Return why there is no picture, in words for somebody who has never heard of Pillow's exceptions.

    `data` may be the beginning only of a file of `size` bytes.
    """
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        pixels = _declared_size(data, error)
        return f"{pixels} pixels is over the limit of {policy.max_pixels:,} (--max-pixels)"
    if isinstance(error, MemoryError):
        return f"not enough memory to decode it ({size:,} bytes in the file)"
    if isinstance(error, UnidentifiedImageError):
        return not_an_image_hint(data, name, size=size)
    if is_cut_off(data, error):
        return f"truncated: the file ends before the picture does ({size:,} bytes)"
    return damaged_hint(data, error)
