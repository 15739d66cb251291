"""A small multi-label data set for the demo: labelled pictures, and new ones to predict.

Files are stored in as many ways as in a real collection (CMYK, palette, 16 bits, turned by EXIF, an awkward
name, ...), and one is truncated. `toolkit.images.drawn` draws the pictures.
"""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageDraw

from toolkit.errors import OptionError
from toolkit.files.csv import write_csv
from toolkit.images.drawn import TAGS, draw_picture
from toolkit.runtime.progress import Progress, silent

N_NEW = 40  # pictures to predict
_LEAST = 20  # labelled pictures, so that every way of storing occurs
_ODD_NAME = "演示 图片, 第一张.jpg"


@dataclass(frozen=True)
class DemoData:
    """The files of the demo.

    Attributes
    ----------
    images, new : Path
        Folders of the labelled pictures and of those to predict.
    labels, new_labels : Path
        Csv files ``img_path,tags`` with the tags of both; paths are relative to the csv.
    tags : Path
        All tags, one a line.
    unreadable : Path
        The truncated picture; it has a row in `labels` like the others.
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
    """Draw `n` labelled pictures and `N_NEW` new ones into `folder`, which is made if it is missing.

    Files of an earlier call are overwritten. The same `seed`, `n` and `size` (width, height) give the same
    pixels with the same Pillow and numpy. `OptionError` if `n` is below 20 or a side below 32, or the folders
    hold other files.
    """
    if n < _LEAST:
        raise OptionError(
            f"--n got {n}; give {_LEAST} or more pictures, so that some are stored in every way"
        )
    if min(size) < 32:
        raise OptionError(f"size is {size[0]} x {size[1]}; the demo's shapes need at least 32 x 32 pixels")
    ways = ["jpeg", *_choose_ways(n - 2, [seed, 0]), "truncated"], _choose_ways(N_NEW, [seed, 1])
    names, new_names = ([f"{row:04d}{_STORED[way][1]}" for row, way in enumerate(part, 1)] for part in ways)
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
    parts = ((data.images, data.labels, names), (data.new, data.new_labels, new_names))
    for images, _, part_names in parts:
        _make_folder(images, part_names)
    for part, (images, labels, part_names) in enumerate(parts):
        rows = []
        for number, (name, way) in enumerate(zip(part_names, ways[part], strict=True)):
            rng = np.random.default_rng([seed, part, number])  # pictures do not depend on each other
            image, tags = draw_picture(rng, size, grey=way.startswith("grey"))
            (images / name).write_bytes(_STORED[way][2](image, number))
            rows.append((f"{images.name}/{name}", ",".join(tags)))
            progress("draw", part * n + number + 1, n + N_NEW)
        write_csv(labels, ("img_path", "tags"), rows)
    data.tags.write_text("".join(f"{tag}\n" for tag in TAGS), encoding="utf-8", newline="\n")
    return data


def _choose_ways(n: int, seed: list[int]) -> list[str]:
    """Return `n` ways of storing in random order: the odd ones at least once, plain JPEG for the rest."""
    odd = [way for way, (share, *_) in _STORED.items() if share for _ in range(max(1, round(share * n)))]
    ways = odd + ["jpeg"] * (n - len(odd))
    return [ways[i] for i in np.random.default_rng([*seed, n]).permutation(n)]


def _make_folder(folder: Path, names: Sequence[str]) -> None:
    """Make `folder`; `OptionError` if it holds files other than `names`."""
    folder.mkdir(parents=True, exist_ok=True)
    others = sorted({path.name for path in folder.iterdir()} - set(names))
    if others:
        raise OptionError(f"{folder} holds another file, {others[0]!r}; name a new folder or empty this one")


def _encode(image: Image.Image, format: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def _turned(image: Image.Image, number: int) -> bytes:
    turns = {6: Image.Transpose.ROTATE_90, 3: Image.Transpose.ROTATE_180, 8: Image.Transpose.ROTATE_270}
    orientation, turn = list(turns.items())[number % len(turns)]
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation  # undoes the turn
    return _encode(image.transpose(turn), "JPEG", quality=90, exif=exif)


def _with_transparent_corners(image: Image.Image, number: int) -> bytes:
    mask = Image.new("L", image.size)
    box = (0, 0, image.width - 1, image.height - 1)
    ImageDraw.Draw(mask).rounded_rectangle(box, radius=min(image.size) // 2, fill=255)
    image.putalpha(mask)
    return _encode(image, "PNG")


def _grey16(image: Image.Image, number: int) -> bytes:
    values = np.asarray(image.convert("L"), dtype=np.uint16) * np.uint16(257)
    return _encode(Image.fromarray(values), "PNG")


def _truncated(image: Image.Image, number: int) -> bytes:
    whole = _encode(image, "JPEG", quality=90)
    return whole[: len(whole) // 2]


# share of the pictures, ending, and the encoder, which takes a picture and its number
_STORED: dict[str, tuple[float, str, Callable[[Image.Image, int], bytes]]] = {
    "cmyk": (0.07, ".jpg", lambda image, _: _encode(image.convert("CMYK"), "JPEG", quality=92)),
    "turned": (0.07, ".jpg", _turned),
    "palette": (
        0.05,
        ".png",
        lambda image, _: _encode(image.quantize(256, Image.Quantize.FASTOCTREE), "PNG"),
    ),
    "alpha": (0.05, ".png", _with_transparent_corners),
    "webp": (0.05, ".webp", lambda image, _: _encode(image, "WEBP", quality=85)),
    "grey": (0.04, ".jpg", lambda image, _: _encode(image.convert("L"), "JPEG", quality=90)),
    "grey16": (0.04, ".png", _grey16),
    "jpeg": (0, ".jpg", lambda image, _: _encode(image, "JPEG", quality=90)),
    "truncated": (0, "-cut-off.jpg", _truncated),
}
