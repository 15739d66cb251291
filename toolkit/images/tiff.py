"""TIFFs beyond what Pillow reads right: how samples lie and what they mean, previews, and camera raw files.

Pillow opens a TIFF by a table of layouts. Some rows of it give other pixels than the file means, and some
sound layouts are missing (tests/layouts compares all of them with the values that were written). Here the
table is completed, an opened picture is put right before it is loaded, and what cannot be read is named.
"""

import functools
import struct
from collections.abc import Sequence
from typing import IO, Any, BinaryIO, NamedTuple

from numpy.typing import NDArray
from PIL import Image, ImageFile, ImagePalette, TiffImagePlugin, UnidentifiedImageError
from PIL.TiffImagePlugin import OPEN_INFO, ImageFileDirectory_v2, TiffImageFile

from toolkit.errors import ImageError
from toolkit.images.hints import RAW_REASON
from toolkit.runtime.messages import counted

_II, _MM = b"II", b"MM"
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _YCBCR = 0, 1, 6
_CFA, _LINEAR_RAW = 32803, 34892
_UNSIGNED, _FLOAT = 1, 3
_NEW_SUBFILE_TYPE, _MAKE, _DNG_VERSION, _WINDOWS_PHOTO = 254, 271, 50706, 0xBC01
_NOT_THE_PICTURE = 1 | 4  # bits of NewSubfileType: a preview, a mask
_TILES = 2  # copies of a tile: libtiff's and Pillow's
_PACKBITS = 32773
_MOST_PAGES = 100  # that are looked through for the picture
_SAVE = "save it as PNG or JPEG with 8 bits a channel"

_PHOTOMETRIC = {
    0: "white-is-zero grey", 1: "grey", 2: "RGB", 3: "palette", 4: "mask", 5: "CMYK", 6: "YCbCr", 8: "CIELab",
    9: "ICCLab", 10: "ITULab", 32844: "LogL", 32845: "LogLuv",
}  # fmt: skip
_KINDS = {1: "unsigned", 2: "signed", 3: "float", 5: "complex signed", 6: "complex"}
_COMPRESSIONS = {
    34661: "JBIG", 34712: "JPEG 2000", 34887: "LERC", 34892: "lossy JPEG", 33003: "JPEG 2000",
    33005: "JPEG 2000", 50002: "JPEG XL", 52546: "JPEG XL", 22610: "JPEG XR", 34934: "JPEG XR",
    33004: "JPEG 2000", 34933: "PNG", 32773: "PackBits",
    50000: "Zstandard", 50001: "WebP", 34925: "LZMA", 7: "JPEG", 6: "old-style JPEG",
}  # fmt: skip

# what Pillow's table lacks, and decodes right: (byte order, photometric, format, bits, extra samples)
_MORE: dict[tuple[bytes, int, int, tuple[int, ...], tuple[int, ...]], tuple[str, str]] = {
    (_MM, 0, 1, (16,), ()): ("I;16B", "I;16B"),
    (_MM, 1, 1, (12,), ()): ("I;16", "I;12"),
    **{(order, 0, 1, (12,), ()): ("I;16", "I;12") for order in (_II, _MM)},
    **{(_MM, photometric, 1, (32,), ()): ("I", "I;32B") for photometric in (0, 1)},
    (_II, 0, 1, (32,), ()): ("I", "I;32"),
    **{(_II, photometric, 3, (64,), ()): ("F", "F;64F") for photometric in (0, 1)},
    **{(_MM, photometric, 3, (64,), ()): ("F", "F;64BF") for photometric in (0, 1)},
    **{(order, 0, 1, (8, 8), (0,)): ("L", "LX") for order in (_II, _MM)},
    **{(order, 0, 1, (8, 8), (2,)): ("LA", "LA") for order in (_II, _MM)},
}

# libtiff gives samples in the order of this machine, whatever that of the file
_NATIVE = {
    **{f"I;{bits}{order}S": f"I;{bits}NS" for bits in (16, 32) for order in ("", "B")},
    **{f"I;32{order}": "I;32N" for order in ("", "B")},
    **{f"F;{bits}{order}F": f"F;{bits}NF" for bits in (32, 64) for order in ("", "B")},
}


class Greys(NamedTuple):
    """How the grey samples that Pillow has loaded are to be understood.

    Attributes
    ----------
    dtype : str
        What they are instead of what Pillow takes them for; empty if it is right.
    bits : int
        Bits of a sample that Pillow has put into 16; 0 if they fill their place.
    inverted : bool
        Whether white is zero, and Pillow has not turned it round.
    """

    dtype: str = ""
    bits: int = 0
    inverted: bool = False

    def values(self, loaded: NDArray[Any]) -> NDArray[Any]:
        """Return samples as numbers that `toolkit.images.pixels.to_grey8` understands."""
        if self.bits:  # repeats the first bits, so that the brightest sample is the brightest of 16 bits
            return (loaded << (16 - self.bits)) | (loaded >> (2 * self.bits - 16))
        return loaded.view(self.dtype) if self.dtype else loaded


def complete_table() -> None:
    """Add the layouts that Pillow could read to its table."""
    for (order, photometric, kind, bits, extra), modes in _MORE.items():
        OPEN_INFO.setdefault((order, photometric, (kind,), 1, bits, extra), modes)


def prepare(image: TiffImageFile) -> None:
    """Let an opened TIFF be decoded right; `ImageError` if that is impossible, or it is a camera raw file."""
    _choose_page(image)
    tags = image.tag_v2
    bits, photometric = _bits(tags), _number(tags, TiffImagePlugin.PHOTOMETRIC_INTERPRETATION)
    predictor = _number(tags, TiffImagePlugin.PREDICTOR, 1)
    if predictor != 1 and _number(tags, TiffImagePlugin.COMPRESSION, 1) == _PACKBITS:
        raise ImageError(_not_supported(tags))  # decoders disagree whether differences are stored
    if _number(tags, TiffImagePlugin.PLANAR_CONFIGURATION, 1) == 2:
        bands = photometric in (_WHITE_IS_ZERO, _BLACK_IS_ZERO) and len(bits) > 2
        # older versions of Pillow fail at planes that they leave out, if libtiff decodes them
        left_out = _names_compression() and image.use_load_libtiff and TiffImagePlugin.EXTRASAMPLES in tags
        if bands or left_out or image.mode in ("LA", "La", "LAB", "PA"):
            raise ImageError(_not_supported(tags))
    _route(image, bits, photometric)
    if image.mode in ("P", "PA"):
        _fix_palette(image)


def _choose_page(image: TiffImageFile) -> None:
    """Go to the first page that is neither a preview nor a mask; `ImageError` if the picture is elsewhere."""
    stream = image.fp
    assert stream is not None  # it is not loaded yet
    if _is_raw(image.tag_v2, stream):
        raise ImageError(RAW_REASON)
    page = 0
    while _number(image.tag_v2, _NEW_SUBFILE_TYPE) & _NOT_THE_PICTURE:
        page += 1
        try:
            if page > _MOST_PAGES:
                raise EOFError
            image.seek(page)
        except EOFError as error:
            if not _sub_directories(image.tag_v2, stream):
                image.seek(0)  # a preview of nothing else, as some programs write
                return
            raise ImageError(
                "not supported: a TIFF that begins with a preview; the picture itself lies in a place that "
                f"is not read; {_SAVE}"
            ) from error


def _route(image: TiffImageFile, bits: tuple[int, ...], photometric: int) -> None:
    """Have libtiff decode what Pillow's own decoder reads wrong, and its samples taken in the right order."""
    tags = image.tag_v2
    if image.use_load_libtiff:
        arguments = image.tile[0].args
        assert isinstance(arguments, tuple)
        raw = arguments[0]
    else:
        planes = _number(tags, TiffImagePlugin.PLANAR_CONFIGURATION, 1) == 2 and set(bits) != {8}
        # older versions of Pillow take YCbCr for RGB
        mixed = photometric == _YCBCR and (
            image.mode != "YCbCr" or tags.get(TiffImagePlugin.YCBCRSUBSAMPLING, (2, 2)) != (1, 1)
        )
        if not planes and not mixed and _number(tags, TiffImagePlugin.FILLORDER, 1) == 1:
            return
        raw = "RGBX" if photometric == _YCBCR else _raw_mode(tags, bits, photometric)
        if photometric == _YCBCR:
            image._mode = "RGB"
        image.use_load_libtiff = True
    if raw == "I;16" or raw.endswith((";16B", ";16L")):
        raw = raw.rstrip("BL").removesuffix("N") + "N"
    how = (image._compression,) if _names_compression() else ()
    box = (0, 0, *image._tile_size)
    image.tile = [ImageFile._Tile("libtiff", box, 0, (_NATIVE.get(raw, raw), *how, False, tags.offset))]


@functools.cache
def _names_compression() -> bool:
    """Return whether Pillow's decoder is told the compression, as that of older versions is."""
    try:
        Image._getdecoder("L", "libtiff", ("L", False, 8))
    except TypeError:
        return True
    return False


def _raw_mode(tags: ImageFileDirectory_v2, bits: tuple[int, ...], photometric: int) -> str:
    """Return how Pillow unpacks samples that libtiff has put into the usual order of bits."""
    extra = tuple(tags.get(TiffImagePlugin.EXTRASAMPLES, ()))
    if extra and not any(extra) and _number(tags, TiffImagePlugin.PLANAR_CONFIGURATION, 1) == 2:
        bits, extra = bits[: -len(extra)], ()  # as Pillow does: planes that mean nothing are left out
    key = (tags.prefix, photometric, (_format(tags),), 1, bits, extra)
    if key not in OPEN_INFO:
        raise ImageError(_not_supported(tags))
    return OPEN_INFO[key][1]


def _fix_palette(image: TiffImageFile) -> None:
    """Take a palette of 8-bit entries for what it is: the format has 16 bits, and some programs write 8."""
    entries = image.tag_v2[TiffImagePlugin.COLORMAP]
    if max(entries) < 256:
        image.palette = ImagePalette.raw("RGB;L", bytes(entries))


def bytes_of_tile(image: TiffImageFile) -> int:
    """Return the memory in which a tile is unpacked: its size is its own, whatever that of the picture."""
    tags = image.tag_v2
    sides = _number(tags, TiffImagePlugin.TILEWIDTH), _number(tags, TiffImagePlugin.TILELENGTH)
    return _TILES * sides[0] * sides[1] * sum(_bits(tags)) // 8


def greys(image: TiffImageFile) -> Greys:
    """Return how the samples of a TIFF that is not loaded yet are to be understood."""
    tags = image.tag_v2
    bits, kind = _bits(tags), _format(tags)
    photometric = _number(tags, TiffImagePlugin.PHOTOMETRIC_INTERPRETATION)
    planes = _number(tags, TiffImagePlugin.PLANAR_CONFIGURATION, 1) == 2
    turned = image.mode in ("1", "L") and (len(bits) == 1 or planes)  # by Pillow
    dtype = ""
    if kind != _FLOAT and image.mode == "L" and kind != _UNSIGNED:
        dtype = "int8"
    elif image.mode == "I" and kind == _UNSIGNED:
        dtype = "uint32"
    bits_of_12 = 12 if bits[0] == 12 else 0
    return Greys(dtype, bits_of_12, photometric == _WHITE_IS_ZERO and not turned)


# ---------------------------------------------------------------------- what cannot be read


def why_not_opened(stream: BinaryIO) -> str | None:
    """Return the reason why a sound TIFF cannot be opened; None if its header is damaged, or not TIFF."""
    try:
        tags = _first_directory(stream)
        if tags is None:
            return None
        if _is_raw(tags, stream):
            return RAW_REASON
        return _not_supported(tags) if _is_whole(tags, stream) else None
    except Exception:  # Pillow's parser raises many types; a header that it cannot read is damaged
        return None


def why_not_decoded(stream: BinaryIO, lines: Sequence[str], error: Exception) -> str | None:
    """Return the reason why a sound TIFF cannot be loaded, or None; `lines` are what libtiff said."""
    if isinstance(error, UnidentifiedImageError):
        return why_not_opened(stream)
    if any("not configured" in line for line in lines) or "unknown raw mode" in str(error):
        tags = _first_directory(stream)
        return None if tags is None else _not_supported(tags)
    return None


def _first_directory(stream: BinaryIO) -> ImageFileDirectory_v2 | None:
    stream.seek(0)
    head = stream.read(16)
    if not head.startswith(tuple(TiffImagePlugin.PREFIXES)):
        return None
    tags = ImageFileDirectory_v2(head if head[2] == 43 else head[:8])
    stream.seek(tags.next)
    tags.load(stream)
    return tags


def _is_whole(tags: ImageFileDirectory_v2, stream: BinaryIO) -> bool:
    """Return whether a directory has all that a picture needs, and its pixels lie within the file."""
    size = stream.seek(0, 2)
    if _WINDOWS_PHOTO in tags:
        return True
    for places, lengths in (
        (TiffImagePlugin.STRIPOFFSETS, TiffImagePlugin.STRIPBYTECOUNTS),
        (TiffImagePlugin.TILEOFFSETS, TiffImagePlugin.TILEBYTECOUNTS),
    ):
        pairs = zip(_numbers(tags, places), _numbers(tags, lengths), strict=False)
        ends = [place + length for place, length in pairs]
        if ends:
            sides = (TiffImagePlugin.IMAGEWIDTH, TiffImagePlugin.IMAGELENGTH)
            return max(ends) <= size and all(_number(tags, side) > 0 for side in sides)
    return False


def _not_supported(tags: ImageFileDirectory_v2) -> str:
    """Return the reason for a sound TIFF that is not read: what it is, and what to do."""
    bits, kind = _bits(tags), _format(tags)
    photometric = _number(tags, TiffImagePlugin.PHOTOMETRIC_INTERPRETATION)
    compression = _number(tags, TiffImagePlugin.COMPRESSION, 1)
    depth = "/".join(map(str, bits)) if len(set(bits)) > 1 else str(bits[0])
    parts = [
        f"a TIFF of {counted(len(bits), 'band')} of {_KINDS.get(kind, 'other')} {depth} bits",
        _PHOTOMETRIC.get(photometric, f"photometric interpretation {photometric}"),
    ]
    if _number(tags, TiffImagePlugin.PLANAR_CONFIGURATION, 1) == 2:
        parts.append("in separate planes")
    if _number(tags, TiffImagePlugin.FILLORDER, 1) == 2:
        parts.append("with its bits in reverse")
    if _number(tags, TiffImagePlugin.PREDICTOR, 1) != 1:
        parts.append(f"with predictor {_number(tags, TiffImagePlugin.PREDICTOR)}")
    if _WINDOWS_PHOTO in tags:
        parts = ["a JPEG XR"]
    elif compression not in TiffImagePlugin.COMPRESSION_INFO or compression in _COMPRESSIONS:
        parts.append(f"compressed by {_COMPRESSIONS.get(compression, f'method {compression}')}")
    chosen = "choose its bands and scale them: " if len(bits) > 4 or bits[0] > 8 else ""
    return f"not supported: {', '.join(parts)}; {chosen}{_SAVE}"


def _is_raw(tags: ImageFileDirectory_v2, stream: IO[bytes]) -> bool:
    """Return whether a directory or one below it says that these are a camera's own samples."""
    stream.seek(8)
    canon = stream.read(4) == b"CR\2\0" and tags.offset == 16  # right behind it; else they are pixels
    if canon or _DNG_VERSION in tags or _is_sensor(tags):
        return True
    below = _sub_directories(tags, stream)
    if any(map(_is_sensor, below)):
        return True
    # a maker's preview, with the picture below it
    preview = _number(tags, _NEW_SUBFILE_TYPE) & _NOT_THE_PICTURE
    return bool(preview and _MAKE in tags and below)


def _is_sensor(tags: ImageFileDirectory_v2) -> bool:
    return _number(tags, TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) in (_CFA, _LINEAR_RAW)


def _sub_directories(tags: ImageFileDirectory_v2, stream: IO[bytes]) -> list[ImageFileDirectory_v2]:
    """Return the directories below one; those that cannot be read are left out."""
    found = []
    here = stream.tell()
    stream.seek(0)
    head = stream.read(16)
    for place in _numbers(tags, TiffImagePlugin.SUBIFD)[:_MOST_PAGES]:
        below = ImageFileDirectory_v2(head if head[2] == 43 else head[:8], prefix=tags.prefix)
        try:
            stream.seek(place)
            below.load(stream)
        except (OSError, ValueError, SyntaxError, struct.error):
            continue
        found.append(below)
    stream.seek(here)
    return found


# ---------------------------------------------------------------------- tags


def _numbers(tags: ImageFileDirectory_v2, tag: int) -> tuple[int, ...]:
    values = tags.get(tag, ())
    values = values if isinstance(values, tuple) else (values,)
    return tuple(value for value in values if isinstance(value, int))


def _number(tags: ImageFileDirectory_v2, tag: int, missing: int = 0) -> int:
    return next(iter(_numbers(tags, tag)), missing)


def _bits(tags: ImageFileDirectory_v2) -> tuple[int, ...]:
    """Return the bits of every band, as Pillow counts them."""
    bits = _numbers(tags, TiffImagePlugin.BITSPERSAMPLE) or (1,)
    count = min(_number(tags, TiffImagePlugin.SAMPLESPERPIXEL, 1), 65535)
    return bits * count if len(bits) == 1 else bits[:count] or (1,)


def _format(tags: ImageFileDirectory_v2) -> int:
    return _number(tags, TiffImagePlugin.SAMPLEFORMAT, _UNSIGNED)
