"""Paths of images and of labels that end alike: which of them can only be the same image."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from toolkit.evaluation.splits import part_named
from toolkit.labels.space import nfc

# fmt: off
_ENDINGS = frozenset((
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".webp", ".bmp", ".dib", ".tif", ".tiff", ".avif",
    ".heic", ".heif", ".jp2", ".j2k", ".jxl", ".ppm", ".pgm", ".pbm", ".psd", ".ico", ".qoi", ".tga", ".svg",
    ".dng", ".nef", ".cr2", ".cr3", ".arw",
))
# fmt: on
"""Endings that a stem is without; another, as in ``scan.2019``, belongs to the name."""

_NO_FOLDERS = frozenset(("", ".", ".."))
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/+")  # of a URL; one letter is a drive of Windows
_UPLOAD = re.compile(r"^[0-9a-f]{8}-(?=.)")  # Label Studio puts this before the name of a file sent to it


@dataclass(frozen=True)
class Likeness:
    """How alike two names must be.

    Attributes
    ----------
    way, way_with_folders : str
        What a match of the names alone, or of names and folders, is called.
    of_image, of_label : callable
        The key of a base name; equal keys are alike.
    of_folder : callable
        The key of a folder's name.
    """

    way: str
    way_with_folders: str
    of_image: Callable[[str], str]
    of_label: Callable[[str], str]
    of_folder: Callable[[str], str]


def stem(name: str) -> str:
    """Return a base name without the ending of a picture and without capitals.

    Examples
    --------
    >>> stem("Train_0.JPG"), stem("scan.2019")
    ('train_0', 'scan.2019')
    """
    name = name.casefold()
    base, dot, ending = name.rpartition(".")
    return base if base and dot + ending in _ENDINGS else name


def _uploaded(name: str) -> str:
    return stem(_UPLOAD.sub("", name))


LIKENESSES = (
    Likeness("base name", "end of the path", str, str, str),
    Likeness("name in other capitals", "name in other capitals", str.casefold, str.casefold, str.casefold),
    Likeness("stem", "stem", stem, stem, str.casefold),
    Likeness("name without Label Studio's prefix", "stem", stem, _uploaded, str.casefold),
)


def base_name(image: str) -> str:
    """Return the name after the folders of a path, or of the path in a URL."""
    return nfc(_plain(image).rpartition("/")[2])


def reversed_parts(image: str) -> list[str]:
    """Return the base name and the folders above it, the nearest first."""
    parts = nfc(_plain(image)).split("/")
    parts.reverse()
    return parts if _NO_FOLDERS.isdisjoint(parts) else [part for part in parts if part not in _NO_FOLDERS]


def _plain(image: str) -> str:
    image = image.replace("\\", "/")
    scheme = _SCHEME.match(image) if ":/" in image else None
    return unquote(re.split(r"[?#]", image[scheme.end() :], maxsplit=1)[0]) if scheme else image


def unique_ends(
    images: Mapping[int, Sequence[str]], labels: Mapping[int, Sequence[str]]
) -> Iterator[tuple[int, int]]:
    """Yield each image and label that share an end which no other image and no other label has.

    Both are rows with their reversed parts. The rows with one name are divided by the folder above it, those
    with one such folder by the next, and so on, until an image and a label are alone.
    """
    groups = [(list(images), list(labels), 0)]
    while groups:
        some_images, some_labels, depth = groups.pop()
        if depth and len(some_images) == len(some_labels) == 1:
            yield some_images[0], some_labels[0]
            continue
        buckets: dict[str, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
        for side, rows, parts in ((0, some_images, images), (1, some_labels, labels)):
            for row in rows:
                if depth < len(parts[row]):
                    buckets[parts[row][depth]][side].append(row)
        groups += [(*bucket, depth + 1) for bucket in buckets.values() if all(bucket)]


def overlap(image: Sequence[str], label: Sequence[str]) -> int:
    """Return how many reversed parts are equal."""
    for number, (one, other) in enumerate(zip(image, label, strict=False)):
        if one != other:
            return number
    return min(len(image), len(label))


def in_other_part(image: Sequence[str], label: Sequence[str], at: int) -> bool:
    """Return whether the folders at `at`, the first that differ, are two parts of a split.

    Contests number the images of each part from 1.
    """
    if at >= min(len(image), len(label)):
        return False
    one, other = part_named(image[at]), part_named(label[at])
    return one is not None and other is not None and one != other
