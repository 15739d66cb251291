"""A csv with one row an image and its tags joined in one cell: ``img_path,tags``."""

from collections import Counter
from pathlib import Path

from toolkit.errors import LabelError
from toolkit.files.text import IMAGE_COLUMNS, need_column, read_csv
from toolkit.labels.raw import TAG_COLUMNS, RawLabels, ReaderOptions, RowCollector, split_tags
from toolkit.runtime.messages import counted

_OTHER_SEPARATORS = ("|", ";", "\t", "，", "、")


def read(path: Path, options: ReaderOptions) -> RawLabels:
    """Read the image column and the tag column, known by any of their names; other columns are ignored.

    ``N/A``, ``null``, ``nan`` and numbers are tags like any other; an empty cell is an image without tags.

    Raises
    ------
    LabelError
        A column is missing, a row has more or fewer cells than the header, or the file cannot be decoded.
    """
    rows = read_csv(path, error=LabelError, encoding=options.encoding)
    _, header = next(rows)
    image = need_column(header, IMAGE_COLUMNS, what="image", path=path, error=LabelError)
    tags = need_column(header, TAG_COLUMNS, what="tag", path=path, error=LabelError)
    found = RowCollector()
    other: Counter[str] = Counter()
    for line, cells in rows:
        pieces = split_tags(cells[tags], options.separator)
        found.add(cells[image], pieces, line)
        if len(pieces) == 1:
            other.update(mark for mark in _OTHER_SEPARATORS if mark in pieces[0])
    return found.finish(path.parent, notes=_separator_note(other, options.separator))


def _separator_note(other: Counter[str], separator: str) -> tuple[str, ...]:
    """Tell of cells that did not split but hold another separator: the likeliest slip with such a file."""
    if not other:
        return ()
    mark, rows = other.most_common(1)[0]
    return (
        f"{counted(rows, 'row')} without {separator!r} in the tags but with {mark!r}; "
        "is that the separator (--separator)?",
    )
