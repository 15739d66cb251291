"""A small multi-label data set that draws itself, for the demo: labelled pictures and new ones to predict.

The files are stored in as many ways as those of a real collection (CMYK, palette, 16 bits, turned by EXIF, an
awkward name, ...), and one of them is cut off. What is to be seen on them is in `toolkit.images.drawn`.
"""

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageDraw

from toolkit.errors import OptionError
from toolkit.files.text import write_csv
from toolkit.images.drawn import TAGS, draw_picture
from toolkit.runtime.progress import Progress, silent

N_NEW = 40
"""Number of pictures to predict."""

_STORED = {  # shares of pictures that are not plain JPEG
    "cmyk": 0.07,
    "turned": 0.07,
    "palette": 0.05,
    "alpha": 0.05,
    "webp": 0.05,
    "grey": 0.04,
    "grey16": 0.04,
}
_LEAST = 20  # so that every way of storing occurs, and plain JPEG too
_ODD_NAME = "演示 图片, 第一张.jpg"


@dataclass(frozen=True)
class DemoData:
    """Where everything is.

    Attributes
    ----------
    images, new : Path
        Folders of the labelled pictures and of those to predict.
    labels, new_labels : Path
        Csv files ``img_path,tags`` (comma-joined; paths relative to the csv). The second is the truth about
        the pictures in `new`.
    tags : Path
        All tags, one a line.
    unreadable : Path
        The one picture that is cut off; it has a row in `labels` like the others.
    n_images, n_new : int
        Files in `images` and in `new`.
    """

    images: Path
    labels: Path
    tags: Path
    new: Path
    new_labels: Path
    unreadable: Path
    n_images: int
    n_new: int


def draw_demo_images(
    folder: Path,
    *,
    n: int = 300,
    seed: int = 0,
    size: tuple[int, int] = (256, 256),
    progress: Progress = silent,
) -> DemoData:
    """Draw `n` labelled pictures and `N_NEW` new ones into `folder`, which is made if need be.

    Parameters
    ----------
    folder : Path
        Files of an earlier call are overwritten. Its ``images`` and ``new`` may hold nothing else.
    n : int
        Number of labelled pictures, at least 20.
    seed : int
        The same seed, `n` and `size` give the same pixels with the same Pillow and numpy.
    size : tuple of int
        Width and height in pixels, each at least 32.

    Raises
    ------
    OptionError
        `n` or `size` is too small, or the folder holds other files.
    """
    if n < _LEAST:
        raise OptionError(
            f"--n got {n}; give {_LEAST} or more pictures, so that some are stored in every way"
        )
    if min(size) < 32:
        raise OptionError(f"size is {size[0]} x {size[1]}; the demo's shapes need at least 32 x 32 pixels")
    ways, new_ways = ["jpeg", *_ways(n - 2, [seed, 0]), "cut-off"], _ways(N_NEW, [seed, 1])
    names, new_names = _names(ways), _names(new_ways)
    names[0] = _ODD_NAME
    data = DemoData(
        images=folder / "images",
        labels=folder / "labels.csv",
        tags=folder / "tags.txt",
        new=folder / "new",
        new_labels=folder / "new_labels.csv",
        unreadable=folder / "images" / names[-1],
        n_images=n,
        n_new=N_NEW,
    )
    _claim(data.images, names)
    _claim(data.new, new_names)
    drawn = chain(
        _draw(data.labels, zip(names, ways, strict=True), data.images, size, [seed, 0]),
        _draw(data.new_labels, zip(new_names, new_ways, strict=True), data.new, size, [seed, 1]),
    )
    for done, _ in enumerate(drawn, 1):
        progress("draw", done, n + N_NEW)
    data.tags.write_text("".join(f"{tag}\n" for tag in TAGS), encoding="utf-8", newline="\n")
    return data


def _draw(
    labels: Path, files: Iterable[tuple[str, str]], folder: Path, size: tuple[int, int], seed: list[int]
) -> Iterator[str]:
    """Draw each of `files` (name, way of storing), yielding the name, and at the end write `labels`."""
    rows = []
    for number, (name, way) in enumerate(files):
        rng = np.random.default_rng([*seed, number])  # its own, so that pictures do not depend on each other
        image, tags = draw_picture(rng, size, grey=way.startswith("grey"))
        (folder / name).write_bytes(_WRITERS[way](image, number))
        rows.append((f"{folder.name}/{name}", ",".join(tags)))
        yield name
    write_csv(labels, ("img_path", "tags"), rows)


def _names(ways: Sequence[str]) -> list[str]:
    endings = {
        "palette": ".png",
        "alpha": ".png",
        "grey16": ".png",
        "webp": ".webp",
        "cut-off": "-cut-off.jpg",
    }
    return [f"{number:04d}{endings.get(way, '.jpg')}" for number, way in enumerate(ways, 1)]


def _claim(folder: Path, names: Sequence[str]) -> None:
    """Make `folder`; an error if it holds files that this call will not write."""
    folder.mkdir(parents=True, exist_ok=True)
    others = sorted({path.name for path in folder.iterdir()} - set(names))
    if others:
        raise OptionError(f"{folder} holds another file, {others[0]!r}; name a new folder or empty this one")


def _ways(n: int, seed: list[int]) -> list[str]:
    """Return `n` ways of storing in random order: the odd ones at least once, plain JPEG for the rest."""
    odd = [way for way, share in _STORED.items() for _ in range(max(1, round(share * n)))]
    ways = odd + ["jpeg"] * (n - len(odd))
    return [ways[i] for i in np.random.default_rng([*seed, n]).permutation(n)]


# ---------------------------------------------------------------------- files


def _encode(image: Image.Image, format: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


_TURNS = (  # EXIF orientation, and the turn that it undoes
    (6, Image.Transpose.ROTATE_90),
    (3, Image.Transpose.ROTATE_180),
    (8, Image.Transpose.ROTATE_270),
)


def _turned(image: Image.Image, number: int) -> bytes:
    orientation, turn = _TURNS[number % len(_TURNS)]
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return _encode(image.transpose(turn), "JPEG", quality=90, exif=exif)


def _with_transparent_corners(image: Image.Image) -> bytes:
    width, height = image.size
    mask = Image.new("L", (4 * width, 4 * height))  # four times as large, for smooth edges
    box = (0, 0, 4 * width - 1, 4 * height - 1)
    ImageDraw.Draw(mask).rounded_rectangle(box, radius=min(width, height) // 2, fill=255)
    image.putalpha(mask.reduce(4))
    return _encode(image, "PNG")


def _grey16(image: Image.Image) -> bytes:
    values = np.asarray(image.convert("L"), dtype=np.uint16) * np.uint16(257)
    return _encode(Image.fromarray(values), "PNG")


def _cut_off(image: Image.Image) -> bytes:
    whole = _encode(image, "JPEG", quality=90)
    return whole[: len(whole) // 2]


_WRITERS: dict[str, Callable[[Image.Image, int], bytes]] = {
    "jpeg": lambda image, _: _encode(image, "JPEG", quality=90),
    "cmyk": lambda image, _: _encode(image.convert("CMYK"), "JPEG", quality=92),
    "turned": _turned,
    "palette": lambda image, _: _encode(image.quantize(256, Image.Quantize.FASTOCTREE), "PNG"),
    "alpha": lambda image, _: _with_transparent_corners(image),
    "webp": lambda image, _: _encode(image, "WEBP", quality=85),
    "grey": lambda image, _: _encode(image.convert("L"), "JPEG", quality=90),
    "grey16": lambda image, _: _grey16(image),
    "cut-off": lambda image, _: _cut_off(image),
}
