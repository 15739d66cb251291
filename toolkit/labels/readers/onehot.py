"""A csv with one row an image and one 0/1 column a tag."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from toolkit.errors import LabelError
from toolkit.files.text import IMAGE_COLUMNS, need_column, read_csv
from toolkit.labels.raw import RawLabels, ReaderOptions, RowCollector
from toolkit.labels.space import nfc

VALUES = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "false": 0, "true": 1}
"""What a cell may hold, in any case."""

_CELL = {spelling: bit for text, bit in VALUES.items() for spelling in (text, text.title(), text.upper())}


def read(path: Path, options: ReaderOptions) -> RawLabels:
    """Read the image column; every other column is a tag, whether an image has it or not.

    Raises
    ------
    LabelError
        There is no image column or no other, a column has no name or that of another, or a cell is not one of
        `VALUES`: a blank or -1 could mean "no" or "not known", so neither is guessed.
    """
    rows = read_csv(path, error=LabelError, encoding=options.encoding)
    _, header = next(rows)
    image = need_column(header, IMAGE_COLUMNS, what="image", path=path, error=LabelError)
    tags = _tag_names(header, image, path)
    found = RowCollector()
    found.declare(tags)
    for line, cells in rows:
        name = cells.pop(image)
        held = np.flatnonzero(_bits(cells, tags, f"{path} line {line}"))
        found.add(name, [tags[column] for column in held], line)
    return found.finish(path.parent)


def first_problem(header: Sequence[str], cells: Sequence[str], image: int) -> str | None:
    """Return why a row is not one-hot, ``column 'dog' holds '-1'``, or None if it is."""
    for column, (name, cell) in enumerate(zip(header, cells, strict=True)):
        if column != image and cell.strip().casefold() not in VALUES:
            return f"column {name!r} holds {cell!r}"
    return None


def _tag_names(header: Sequence[str], image: int, path: Path) -> list[str]:
    tags: list[str] = []
    seen: set[str] = set()
    for number, cell in enumerate(header, start=1):
        if number == image + 1:
            continue
        tag = cell.strip()
        if not tag:
            raise LabelError(
                f"{path}: column {number} has no name (a pandas index? write it with index=False)"
            )
        if nfc(tag) in seen:
            raise LabelError(f"{path} has two columns {tag!r}; rename or drop one")
        seen.add(nfc(tag))
        tags.append(tag)
    if not tags:
        raise LabelError(
            f"{path} has no column besides {header[image]!r}; a one-hot csv has one 0/1 column a tag"
        )
    return tags


def _bits(cells: list[str], tags: list[str], place: str) -> NDArray[np.uint8]:
    try:
        return np.frombuffer(bytes([_CELL[cell] for cell in cells]), dtype=np.uint8)
    except KeyError:  # blanks around it, odd capitals, or no truth value at all
        bits = [VALUES.get(cell.strip().casefold()) for cell in cells]
    if None in bits:
        column = bits.index(None)
        raise LabelError(
            f"{place}, column {tags[column]!r}: {cells[column]!r} is neither 0 nor 1 "
            "(0.0, 1.0, true, false are taken too); correct the cell"
        )
    return np.array(bits, dtype=np.uint8)
