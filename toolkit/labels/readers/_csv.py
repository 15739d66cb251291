"""Shared by the readers of csv files: what separates the columns, which they are, and the first rows."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from toolkit.errors import LabelError
from toolkit.files.csv import (
    IMAGE_COLUMNS,
    chosen_column,
    column_mark,
    find_column,
    first_rows,
    need_column,
    read_csv,
)
from toolkit.labels.raw import TAG_COLUMNS, ReaderOptions
from toolkit.labels.space import folded
from toolkit.runtime.messages import quoted

BITS = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "false": 0, "true": 1, "False": 0, "True": 1}
"""Cells of a one-hot csv; blanks around them and other capitals are accepted."""

BLANK = frozenset(("", "nan"))
UNCERTAIN = frozenset(("-1", "-1.0"))
"""Cells of a one-hot csv, in small letters, that `--blank` and `--uncertain` decide about."""

_NUMBERED = re.compile(r"(?:tag|label|class|category|keyword|finding)s?[ _-]?\d+")
_INDEX = re.compile(r"Unnamed: \d+(?:\.\d+)*")


def image_rows(path: Path, options: ReaderOptions) -> tuple[list[str], int, Iterator[tuple[int, list[str]]]]:
    """Return the header, the position of the image column, and the rows as (line, cells)."""
    names = image_names(options)
    mark = column_mark(path, error=LabelError, encoding=options.encoding, columns=names)
    rows = read_csv(path, error=LabelError, encoding=options.encoding, mark=mark)
    _, header = next(rows)
    if options.image_column is not None:
        return header, _chosen(header, options.image_column, path, "--image-column"), rows
    option = "--image-column"
    return header, need_column(header, names, what="image", path=path, error=LabelError, option=option), rows


def image_names(options: ReaderOptions) -> Sequence[str]:
    """Return what the image column may be called."""
    return IMAGE_COLUMNS if options.image_column is None else (options.image_column,)


def chosen_tag_columns(header: list[str], options: ReaderOptions, path: Path) -> list[int]:
    """Return the positions of the columns that the user named, each once."""
    return list(dict.fromkeys(_chosen(header, name, path, "--tag-column") for name in options.tag_columns))


def numbered_columns(header: Sequence[str]) -> list[int]:
    """Return the positions of ``label1``, ``label2`` and the like; none if there is only one."""
    places = [place for place, name in enumerate(header) if _NUMBERED.fullmatch(name.strip().casefold())]
    return places if len(places) > 1 else []


def is_index(header: Sequence[str], place: int) -> bool:
    """Return whether a column is the index of a pandas table: it has no name, or one that pandas gave it."""
    name = header[place].strip()
    return _INDEX.fullmatch(name) is not None or (not name and place == 0)


def onehot_places(header: Sequence[str], image: int, options: ReaderOptions) -> list[int]:
    """Return the positions of the 0/1 columns: those the tag list names, or all but image and index."""
    places = [place for place in range(len(header)) if place != image and not is_index(header, place)]
    if options.tags is None:
        return places
    key = folded if options.fold_tags else str
    known = {key(tag) for tag in options.tags.tags}
    return [
        place
        for place in places
        if options.tags.column(header[place].strip()) is not None or key(header[place].strip()) in known
    ]


def _chosen(header: list[str], name: str, path: Path, option: str) -> int:
    return chosen_column(header, name, path=path, error=LabelError, option=option)


@dataclass(frozen=True)
class Peek:
    """The header of a csv and its first row (empty if it has none)."""

    header: list[str]
    row: list[str]
    options: ReaderOptions = field(default_factory=ReaderOptions)

    @property
    def image(self) -> int | None:
        """Position of the image column, or None."""
        return find_column(self.header, image_names(self.options))

    @property
    def has_tags(self) -> bool:
        """Whether there are an image column and a tag column."""
        if self.image is None:
            return False
        return bool(self.options.tag_columns) or find_column(self.header, TAG_COLUMNS) is not None

    @property
    def format(self) -> str | None:
        """The label format, ``csv`` or ``onehot``, or None if it is neither."""
        if self.image is None:
            return None
        if self.options.tag_columns:
            return "onehot" if self._named_bits() else "csv"
        if self.has_tags:
            return "csv"
        if self.not_onehot() is None:
            return "onehot"
        return "csv" if numbered_columns(self.header) else None

    def not_onehot(self) -> str | None:
        """Return why the file cannot be a one-hot csv, or None if it may be one."""
        if self.image is None:
            return "there is no image column"
        if len(self.header) < 2:
            return "there is no other column"
        if len(self.row) != len(self.header):
            return "the first row and the header differ in length" if self.row else "there are no rows"
        places = onehot_places(self.header, self.image, self.options)
        if not places:
            return (
                "no column is called as a tag of the list"
                if self.options.tags
                else "there is no other column"
            )
        return self._not_bits(places)

    def _not_bits(self, places: Sequence[int]) -> str | None:
        open_ones = []
        for place in places:
            cell = self.row[place].strip().casefold()
            if cell in BLANK or cell in UNCERTAIN:
                open_ones.append(place)
            elif cell not in BITS:
                return f"column {quoted(self.header[place])} holds {quoted(self.row[place])}"
        decided = self.options.blank is not None or self.options.uncertain is not None
        if len(open_ones) == len(places) and not decided:
            return f"column {quoted(self.header[places[0]])} holds {quoted(self.row[places[0]])}"
        return None

    def _named_bits(self) -> bool:
        """Return whether several columns were named and hold 0 and 1."""
        names = [name for name in self.options.tag_columns if find_column(self.header, (name,)) is not None]
        places = [place for name in names if (place := find_column(self.header, (name,))) is not None]
        whole = len(self.row) == len(self.header)
        return whole and len(places) == len(self.options.tag_columns) > 1 and self._not_bits(places) is None


def peek_csv(path: Path, encoding: str = "utf-8", *, options: ReaderOptions | None = None) -> Peek:
    """Return the first rows of `path`, undecodable bytes replaced: the reader explains those better.

    A file that is not a csv gives an empty header. `LabelError` if the file cannot be opened.
    """
    options = ReaderOptions(encoding=encoding) if options is None else options
    mark = column_mark(path, error=LabelError, encoding=encoding, columns=image_names(options))
    rows = first_rows(path, 2, error=LabelError, encoding=encoding, mark=mark)
    header, row = (*rows, [], [])[:2]
    return Peek(header, row, options)
