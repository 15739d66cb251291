"""Shared by the readers of a ``.txt`` an image: which text is whose, and what its lines are."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from posixpath import splitext

from toolkit.errors import LabelError
from toolkit.files.text import decode_text, read_bytes, split_lines
from toolkit.images.hints import may_be_image

MOST_BYTES = 1 << 20
"""Most bytes of a ``.txt``: 7,000 tags have less than a quarter of that."""

BOX, NUMBER, NUMBERS, WORDS = "box", "number", "numbers", "words"

_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", re.IGNORECASE)
_CLASS = re.compile(r"\d+(\.0*)?")
_BETWEEN = re.compile(r"[\s,;|]+")
_LOOKED_AT = 50  # texts that are looked at to tell formats apart


def kind_of_line(line: str) -> str:
    """Return what a line is, by its form.

    A `BOX` is YOLO's: a class number and four or more numbers, blanks between. A `NUMBER` is a class number
    alone. `NUMBERS` are other rows of numbers, also with a name or two as in KITTI's and DOTA's; all else is
    `WORDS`.

    Examples
    --------
    >>> kind_of_line("0 0.5 0.5 0.2 0.1"), kind_of_line("Car 0.00 0 -1.57 614.24 181.78"), kind_of_line("sea")
    ('box', 'numbers', 'words')
    """
    if not any(map(str.isdecimal, line)):  # quicker: most lines are tags
        return WORDS
    fields = line.split()
    if _CLASS.fullmatch(fields[0]) and all(map(_NUMBER.fullmatch, fields)):
        if len(fields) == 1:
            return NUMBER
        if len(fields) >= 5:
            return BOX
    pieces = [piece for piece in _BETWEEN.split(line) if piece]
    numbers = sum(_NUMBER.fullmatch(piece) is not None for piece in pieces)
    if numbers > 1 and (numbers == len(pieces) or (numbers >= 4 and numbers >= len(pieces) - 2)):
        return NUMBERS
    return WORDS


@dataclass(frozen=True)
class Texts:
    """The texts of a folder.

    Attributes
    ----------
    of_image : dict of str to str
        The text of each image that has one.
    without : int
        Images without a text.
    unused : tuple of str
        Texts without an image.
    """

    of_image: dict[str, str]
    without: int
    unused: tuple[str, ...]


def pair_texts(names: Iterable[str], *, labels_folders: bool = False) -> Texts:
    """Return the text of each image: ``1.jpg.txt`` or ``1.txt`` beside ``1.jpg``.

    With `labels_folders` it may lie in a folder ``labels`` instead of ``images``, as YOLO's do.
    """
    names = list(names)
    texts = {splitext(name)[0]: name for name in names if name.lower().endswith(".txt")}
    images = list(filter(may_be_image, names))
    found = {}
    for image in images:
        bare = splitext(image)[0]
        keys = [image, bare, *([_in_labels(bare)] if labels_folders else [])]
        text = next((texts[key] for key in keys if key in texts), None)
        if text is not None:
            found[image] = text
    used = set(found.values())
    unused = tuple(name for name in texts.values() if name not in used)
    return Texts(found, len(images) - len(found), unused)


def _in_labels(name: str) -> str:
    """Return a path with its last folder called ``images`` replaced by ``labels``."""
    before, folder, after = f"/{name}".rpartition("/images/")
    return f"{before}/labels/{after}"[1:] if folder else name


def text_lines(path: Path, encoding: str) -> list[tuple[int, str]]:
    """Return (line, text) of the lines that are not blank, as they are written."""
    data = read_bytes(path, error=LabelError, most=MOST_BYTES)
    content = decode_text(data, name=path, error=LabelError, encoding=encoding)
    return [(number, line) for number, line in enumerate(split_lines(content), start=1) if line.strip()]


def kinds_in(folder: Path, names: Sequence[str]) -> Counter[str]:
    """Return how many lines of each kind the first texts have, whatever their encoding."""
    kinds: Counter[str] = Counter()
    for name in names[:_LOOKED_AT]:
        data = read_bytes(folder / name, error=LabelError, most=MOST_BYTES)
        lines = split_lines(data.decode("latin-1"))
        kinds.update(kind_of_line(line) for line in lines if line.strip())
    return kinds


def are_boxes(kinds: Counter[str]) -> bool:
    """Return whether texts with such lines are YOLO's: boxes, or class numbers and nothing else."""
    return BOX in kinds or set(kinds) == {NUMBER}
