"""A csv with the tags of an image joined in one cell, in several columns, or on several lines."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from toolkit.errors import LabelError
from toolkit.files.csv import find_column, need_column
from toolkit.labels.lists import OPENERS, NotationError, is_list, parse_list
from toolkit.labels.raw import TAG_COLUMNS, RawLabels, ReaderOptions, RowCollector, split_tags
from toolkit.labels.readers._csv import chosen_tag_columns, image_rows, numbered_columns
from toolkit.labels.separators import separator_note
from toolkit.labels.space import boolean_csr
from toolkit.runtime.messages import counted, listed, quoted

CONFIDENCE_COLUMNS = ("confidence", "score", "probability", "conf")
BOX_COLUMNS = (
    "xmin",
    "x_min",
    "x1",
    "bbox",
    "bbox_x",
    "bounding_box",
    "box",
    "region_id",
    "x_center",
    "region_count",
)
"""A csv with one of these has one line an object."""

_REPEATED = 0.02  # of the images, at least two: with fewer, a repeat is taken for a contradiction
_VECTOR = frozenset(("0", "1", "0.", "1.", "0.0", "1.0"))


def read(path: Path, options: ReaderOptions) -> RawLabels:
    """Read the image column and the tag columns, those named or known by their names; others are ignored.

    ``N/A``, ``null``, ``nan`` and numbers are tags like any other; an empty cell is an image without tags.
    A list that a program wrote into a cell is read as its items. `LabelError` if a column is missing, a list
    cannot be parsed, or for the reasons of `read_csv`.
    """
    header, image, rows = image_rows(path, options)
    column, *others = places = _tag_places(header, options, path)
    confidence = find_column(header, CONFIDENCE_COLUMNS)
    labels, cell = RowCollector(), _Cells(path, options.separator)
    absent: list[int] = []  # rows whose confidence is 0
    for line, cells in rows:
        tags = cell.tags(cells[column], line)
        for other in others:
            tags += cell.tags(cells[other], line)
        if confidence is not None and cells[confidence].strip() in _ZEROS:
            absent.append(len(labels.ids))
        labels.add(cells[image], tags, line)
    notes = cell.notes()
    if others:
        notes.append(f"tags from {len(places)} columns: {listed([header[place] for place in places], 6)}")
    vectors = _vectors(labels, options, path)
    if vectors is not None:
        return replace(vectors, notes=(*notes, *vectors.notes))
    if _has_line_a_tag(labels, header):
        raw = labels.finish(path.parent)
        return _one_line_a_tag(raw, absent, notes, header, confidence)
    return labels.finish(path.parent, notes=(*notes, *about_separator(labels, options.separator)))


_ZEROS = frozenset(("0", "0.0", "0.00", "0."))


def _tag_places(header: list[str], options: ReaderOptions, path: Path) -> list[int]:
    if options.tag_columns:
        return chosen_tag_columns(header, options, path)
    numbered = numbered_columns(header)
    if numbered and find_column(header, TAG_COLUMNS) is None:
        return numbered
    option = "--tag-column"
    return [need_column(header, TAG_COLUMNS, what="tag", path=path, error=LabelError, option=option)]


class _Cells:
    """Splits cells, and counts those that hold a list in the notation of a program."""

    def __init__(self, path: Path, separator: str) -> None:
        self._path, self._separator = path, separator
        self._lists: Counter[str] = Counter()
        self._examples: dict[str, str] = {}

    def tags(self, text: str, line: int) -> list[str]:
        """Return the tags of a cell."""
        if "(" in text or text.lstrip()[:1] in _OPENERS:
            stripped = text.strip()
            if is_list(stripped):
                return self._listed(stripped, line)
        return split_tags(text, self._separator)

    def _listed(self, text: str, line: int) -> list[str]:
        try:
            tags, notation = parse_list(text)
        except NotationError as reason:
            raise LabelError(
                f"{self._path} line {line}: the cell {quoted(text)} looks like {reason}; write the whole "
                "list, or the tags joined by a separator (--separator)"
            ) from reason
        self._lists[notation] += 1
        self._examples.setdefault(notation, text)
        return tags

    def notes(self) -> list[str]:
        """Say which notations were read."""
        return [
            f"{counted(number, 'cell holds', 'cells hold')} a list as {notation} writes it, such as "
            f"{quoted(self._examples[notation])}: read as its items"
            for notation, number in self._lists.items()
        ]


_OPENERS = frozenset(OPENERS)


def about_separator(labels: RowCollector, separator: str) -> list[str]:
    """Return a question if another character seems to join the tags; no text if none does."""
    sizes, tags = labels.sizes, labels.tags
    alone = labels.flat[np.repeat(sizes == 1, sizes)]
    rows = np.bincount(alone, minlength=len(tags)).tolist()
    note = separator_note(tags, rows, int(np.count_nonzero(sizes > 1)), separator)
    return [] if note is None else [note]


# ---------------------------------------------------------------------- one line a tag


def _has_line_a_tag(labels: RowCollector, header: Sequence[str]) -> bool:
    """Return whether no row has two tags and images repeat, many of them or with boxes."""
    if not len(labels.ids) or int(labels.sizes.max()) > 1:
        return False
    images = len(set(labels.ids))
    if images == len(labels.ids):
        return False
    if find_column(header, BOX_COLUMNS) is not None:
        return True
    repeated = sum(number > 1 for number in Counter(labels.ids).values())
    return repeated >= max(2, _REPEATED * images)


def _one_line_a_tag(
    raw: RawLabels, absent: list[int], notes: list[str], header: Sequence[str], confidence: int | None
) -> RawLabels:
    """Return `raw` as a table of one line a tag, without the tags of the rows of confidence 0."""
    images = len(set(raw.ids))
    notes = [
        *notes,
        f"{counted(len(raw.ids), 'line')} for {counted(images, 'image')}, one tag a line: an image has the "
        "tags of all its lines",
    ]
    Y = raw.Y
    if confidence is not None:
        Y = Y.copy()
        ends = Y.indptr
        for row in absent:
            Y.data[ends[row] : ends[row + 1]] = False
        Y.eliminate_zeros()
        notes.append(
            f"{counted(len(absent), 'line')} with {quoted(header[confidence])} 0 give no tag; all others do, "
            "whatever it is"
        )
    return replace(raw, Y=Y, notes=tuple(notes), one_line_a_tag=True)


# ---------------------------------------------------------------------- vectors of 0 and 1


def _vectors(labels: RowCollector, options: ReaderOptions, path: Path) -> RawLabels | None:
    """Return the labels of cells that hold a 0 or 1 for each tag of the list; None if they do not.

    `LabelError` if there is no list of that length: the tags would be called 0 and 1.
    """
    tags, sizes = labels.tags, labels.sizes
    if not tags or not set(tags) <= _VECTOR or int(sizes.min()) != int(sizes.max()):
        return None
    width = int(sizes[0])
    numbers = np.sort(labels.flat.reshape(-1, width), axis=1)
    if not np.any(numbers[:, 1:] == numbers[:, :-1]):  # a tag is not named twice, a number is
        return None
    if options.tags is None or len(options.tags) != width:
        raise LabelError(
            f"{path}: the cells hold {width} numbers 0 and 1, one for each tag of a list; give that list of "
            f"{width} tags, one a line, with --tags"
        )
    ones = np.array([float(tag) for tag in tags])[labels.flat].reshape(-1, width)
    columns, rows = np.nonzero(ones)[1], np.count_nonzero(ones, axis=1)
    Y = boolean_csr(columns, np.concatenate(([0], np.cumsum(rows))), width)
    note = f"the cells hold {width} numbers 0 and 1, read in the order of {options.tags_name}"
    return replace(labels.finish(path.parent), tags=options.tags.tags, Y=Y, notes=(note,))
