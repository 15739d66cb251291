"""Compare decoders over all layouts: ``python -m tests.layouts [TIFF|BMP|PNG|GIF] [--all]``.

For every kind of file: how many were tried; what plain Pillow makes of them, and what `decode_image` does;
and with how many other decoders agree: tifffile (the samples of a TIFF as stored), libvips and OpenCV (the
picture; OpenCV not of a TIFF, where it shows samples unconverted). They are optional:
``pip install tifffile imagecodecs pyvips-binary pyvips opencv-python-headless``. With imagecodecs TIFFs
compressed by LZW, LZMA and Zstandard are tried too.

libvips takes every extra band for alpha, prints CMYK through a profile of its own, and shows 4:4:4 YCbCr
unconverted; OpenCV takes the unused byte of 32-bit BMPs for alpha, and transparent colours of grey PNGs for
opaque. Their "wrong" there is a difference in meaning.

right: the pixels are those that were written. wrong: others are shown, without a word. refused: an error
that says what the file is. "damaged": an error that calls a sound file damaged.
"""

import io
import sys
from collections import Counter, defaultdict
from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
from PIL import Image

from tests.layouts import tiff
from tests.layouts.grid import FAMILIES, Layout
from toolkit.errors import ImageError
from toolkit.images.decode import decode_image
from toolkit.images.pixels import fix_transparent_colour, to_rgb

VERDICTS = ("right", "wrong", "refused", "damaged", "unknown")


def compared(got: np.ndarray, layout: Layout, by: int) -> str:
    """Return the verdict on pixels (H, W, 3)."""
    if layout.shown is None:
        return "wrong"  # shown, though nobody says what they mean
    same = got.shape == layout.shown.shape
    return "right" if same and np.abs(got.astype(int) - layout.shown).max() <= by else "wrong"


def by_pillow(layout: Layout) -> str:
    """Judge Pillow's pixels, with this package's conversion of modes alone."""
    try:
        with Image.open(io.BytesIO(layout.data)) as image:
            fix_transparent_colour(image)
            image.load()
            return compared(np.asarray(to_rgb(image)), layout, layout.by)
    except Exception:  # Pillow raises many types
        return "damaged"


def by_toolkit(layout: Layout) -> str:
    """Judge the pixels and the reasons of `decode_image`."""
    try:
        return compared(np.asarray(decode_image(layout.data).rgb), layout, layout.by)
    except ImageError as error:
        return "refused" if "not supported" in str(error) or "camera raw" in str(error) else "damaged"


def by_libvips(layout: Layout) -> str:
    """Judge libvips's pixels; where the range of the values has no agreed meaning, it is not asked."""
    import pyvips

    if layout.shown is None or layout.stretched:
        return "unknown"
    try:
        picture = pyvips.Image.new_from_buffer(layout.data, "").colourspace("srgb")
        if picture.hasalpha():
            picture = picture.flatten(background=[255, 255, 255])
        return compared(picture.cast("uchar").numpy(), layout, max(layout.by, 3))
    except pyvips.Error:
        return "refused"


def by_opencv(layout: Layout) -> str:
    """Judge OpenCV's pixels."""
    import cv2

    if layout.shown is None or layout.kind.startswith("TIFF"):
        return "unknown"
    values = cv2.imdecode(np.frombuffer(layout.data, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None:
        return "refused"
    picture = (values / 257 if values.dtype == np.uint16 else values).astype(float)
    picture = np.atleast_3d(picture)
    if picture.shape[2] == 4:
        alpha = picture[..., 3:] / 255
        picture = picture[..., :3] * alpha + 255 * (1 - alpha)
    rgb = np.broadcast_to(picture[..., ::-1], (*picture.shape[:2], 3))
    return compared(np.rint(rgb), layout, max(layout.by, 3))


def by_tifffile(layout: Layout) -> str:
    """Judge the samples that tifffile reads: whether the file says what it was meant to say."""
    import tifffile

    if layout.samples is None:
        return "unknown"
    try:
        read = tifffile.TiffFile(io.BytesIO(layout.data)).pages[0].asarray()
    except Exception:  # it raises many types
        return "refused"
    if read.ndim == 2:
        read = read[..., None]
    elif read.shape[:2] != layout.samples.shape[:2]:
        read = np.moveaxis(read, 0, 2)
    return "right" if np.array_equal(read, layout.samples) else "wrong"


def judges() -> dict[str, Callable[[Layout], str]]:
    """Return the decoders that are installed, Pillow first: later ones change its table of layouts."""
    found = {"Pillow": by_pillow, "toolkit": by_toolkit}
    if find_spec("pyvips"):
        found["libvips"] = by_libvips
    if find_spec("cv2"):
        found["OpenCV"] = by_opencv
    if find_spec("tifffile") and find_spec("imagecodecs"):
        found["tifffile"] = by_tifffile
    return found


def main(arguments: list[str]) -> int:
    """Print the tables; return 1 if `decode_image` shows anything wrong or calls a sound file damaged."""
    if find_spec("imagecodecs"):
        import imagecodecs

        tiff.CODECS[tiff.LZW] = imagecodecs.lzw_encode
        tiff.CODECS[tiff.LZMA] = imagecodecs.lzma_encode
        tiff.CODECS[tiff.ZSTD] = imagecodecs.zstd_encode
    bad = 0
    for family in [name for name in arguments if name in FAMILIES] or list(FAMILIES):
        layouts = list(FAMILIES[family]())
        counts: dict[str, Counter[tuple[str, str]]] = defaultdict(Counter)
        for name, judge in judges().items():
            for layout in layouts:
                counts[layout.kind][name, judge(layout)] += 1
        total = sum(counts.values(), Counter())
        rows = {**(counts if "--all" in arguments else {}), f"all {len(layouts)} of {family}": total}
        for kind, row in rows.items():
            texts = []
            for name in judges():
                parts = [f"{row[name, verdict]} {verdict}" for verdict in VERDICTS if row[name, verdict]]
                texts.append(f"{name}: {', '.join(parts)}")
            print(f"{kind}\n    {'; '.join(texts)}")
        bad += total["toolkit", "wrong"] + total["toolkit", "damaged"]
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
