"""A csv with one row an image and one 0/1 column a tag."""

from collections.abc import Callable, Mapping, Sequence
from itertools import compress
from operator import itemgetter
from pathlib import Path

from toolkit.errors import LabelError
from toolkit.labels.raw import RawLabels, ReaderOptions, RowCollector
from toolkit.labels.readers._csv import (
    BITS,
    BLANK,
    UNCERTAIN,
    chosen_tag_columns,
    image_rows,
    is_index,
    onehot_places,
)
from toolkit.labels.space import nfc
from toolkit.runtime.messages import counted, listed, quoted


def read(path: Path, options: ReaderOptions) -> RawLabels:
    """Read the image column and the 0/1 columns: those named, those of the tag list, or all others.

    The index of a pandas table is left aside. `LabelError` if there is no image column or no other, a column
    has no name or that of another, or a cell is not one of `BITS`: an empty cell or a -1 could mean "no" or
    "not known", so neither is guessed.
    """
    header, image, rows = image_rows(path, options)
    places, notes = _tag_places(header, image, options, path)
    tags = _tag_names(header, places, path)
    meaning = _meaning(options)
    labels = RowCollector()
    labels.declare(tags)
    pick = _picker(places)
    for line, cells in rows:
        bits = _bits(pick(cells), tags, f"{path} line {line}", meaning)
        labels.add(cells[image], compress(tags, bits), line)
    return labels.finish(path.parent, notes=tuple(notes))


def _picker(places: Sequence[int]) -> Callable[[list[str]], Sequence[str]]:
    if len(places) == 1:
        return lambda cells: (cells[places[0]],)
    return itemgetter(*places)


def _tag_places(
    header: list[str], image: int, options: ReaderOptions, path: Path
) -> tuple[list[int], list[str]]:
    """Return the positions of the tag columns, and notes about the others."""
    if options.tag_columns:
        return chosen_tag_columns(header, options, path), []
    places = onehot_places(header, image, options)
    others = [place for place in range(len(header)) if place != image and place not in set(places)]
    indexes = [header[place] for place in others if is_index(header, place)]
    aside = [header[place] for place in others if not is_index(header, place)]
    notes = []
    if indexes:
        notes.append(f"left aside: {listed(indexes)}, which is the index of a pandas table and no tag")
    if aside:
        notes.append(
            f"{counted(len(aside), 'column')} left aside, not in {options.tags_name}: {listed(aside, 6)}"
        )
    if not places and options.tags is not None and aside:
        raise LabelError(
            f"{path}: no column is called as a tag of {options.tags_name}; columns found are {listed(header)}"
        )
    if not places:
        raise LabelError(
            f"{path} has no column besides {quoted(header[image])}; a one-hot csv has one 0/1 column a tag"
        )
    return places, notes


def _tag_names(header: Sequence[str], places: Sequence[int], path: Path) -> list[str]:
    tags: dict[str, str] = {}
    for place in places:
        tag = header[place].strip()
        if not tag:
            raise LabelError(
                f"{path}: column {place + 1} has no name; give it one, or name the tag columns with "
                "--tag-column"
            )
        if nfc(tag) in tags:
            raise LabelError(f"{path} has two columns {quoted(tag)}; rename one")
        tags[nfc(tag)] = tag
    return list(tags.values())


def _meaning(options: ReaderOptions) -> Mapping[str, int]:
    """Return what each cell means, in small letters and without outer blanks."""
    meaning = dict(BITS)
    for cells, means in ((BLANK, options.blank), (UNCERTAIN, options.uncertain)):
        if means is not None:
            meaning |= dict.fromkeys(cells, int(means))
    return meaning


def _bits(cells: Sequence[str], tags: list[str], place: str, meaning: Mapping[str, int]) -> list[int]:
    try:
        return [meaning[cell] for cell in cells]
    except KeyError:
        bits = [meaning.get(cell.strip().casefold(), -1) for cell in cells]
    if -1 in bits:
        column = bits.index(-1)
        raise LabelError(
            f"{place}, column {quoted(tags[column])}: {quoted(cells[column])} is neither 0 nor 1 "
            f"(0.0, 1.0, true, false are accepted too); {_way_out(cells[column])}"
        )
    return bits


def _way_out(cell: str) -> str:
    plain = cell.strip().casefold()
    option = "--blank" if plain in BLANK else "--uncertain" if plain in UNCERTAIN else ""
    if option:
        return (
            f"say with {option} absent or {option} present what such cells mean; a label that is not known "
            "cannot be left out of fitting and F1"
        )
    return "if the column is no tag, name those that are with --tag-column, or in a list with --tags"
