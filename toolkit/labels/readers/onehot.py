"""A csv with one row an image and one 0/1 column a tag."""

from collections.abc import Sequence
from itertools import compress
from pathlib import Path

from toolkit.errors import LabelError
from toolkit.files.text import quoted
from toolkit.labels.raw import RawLabels, ReaderOptions, RowCollector
from toolkit.labels.readers._csv import BITS, image_rows
from toolkit.labels.space import nfc


def read(path: Path, options: ReaderOptions) -> RawLabels:
    """Read the image column; every other column is a tag, whether an image has it or not.

    `LabelError` if there is no image column or no other, a column has no name or that of another, or a cell
    is not one of `BITS`: a blank or -1 could mean "no" or "not known", so neither is guessed.
    """
    header, image, rows = image_rows(path, options)
    tags = _tag_names(header, image, path)
    labels = RowCollector()
    labels.declare(tags)
    for line, cells in rows:
        name = cells.pop(image)
        labels.add(name, compress(tags, _bits(cells, tags, f"{path} line {line}")), line)
    return labels.finish(path.parent)


def _tag_names(header: Sequence[str], image: int, path: Path) -> list[str]:
    tags: dict[str, str] = {}
    for column, cell in enumerate(header):
        tag = cell.strip()
        if column == image:
            continue
        if not tag:
            raise LabelError(
                f"{path}: column {column + 1} has no name (a pandas index? write it with index=False)"
            )
        if nfc(tag) in tags:
            raise LabelError(f"{path} has two columns {quoted(tag)}; rename or drop one")
        tags[nfc(tag)] = tag
    if not tags:
        raise LabelError(
            f"{path} has no column besides {quoted(header[image])}; a one-hot csv has one 0/1 column a tag"
        )
    return list(tags.values())


def _bits(cells: list[str], tags: list[str], place: str) -> list[int]:
    try:
        return [BITS[cell] for cell in cells]
    except KeyError:
        bits = [BITS.get(cell.strip().casefold(), -1) for cell in cells]
    if -1 in bits:
        column = bits.index(-1)
        raise LabelError(
            f"{place}, column {quoted(tags[column])}: {quoted(cells[column])} is neither 0 nor 1 "
            "(0.0, 1.0, true, false are accepted too); correct the cell"
        )
    return bits
