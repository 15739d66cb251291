"""A csv with one row an image and its tags joined in one cell: ``img_path,tags``."""

from collections import Counter
from pathlib import Path

from toolkit.errors import LabelError
from toolkit.files.text import need_column
from toolkit.labels.raw import TAG_COLUMNS, RawLabels, ReaderOptions, RowCollector, split_tags
from toolkit.labels.readers._csv import image_rows
from toolkit.runtime.messages import counted

_OTHER_SEPARATORS = ("|", ";", "\t", "，", "、")


def read(path: Path, options: ReaderOptions) -> RawLabels:
    """Read the image column and the tag column, known by any of their names; other columns are ignored.

    ``N/A``, ``null``, ``nan`` and numbers are tags like any other; an empty cell is an image without tags.
    `LabelError` if a column is missing, or for the reasons of `read_csv`.
    """
    header, image, rows = image_rows(path, options)
    column = need_column(header, TAG_COLUMNS, what="tag", path=path, error=LabelError)
    labels = RowCollector()
    unsplit: Counter[str] = Counter()  # cells with one tag that contains another separator
    for line, cells in rows:
        tags = split_tags(cells[column], options.separator)
        labels.add(cells[image], tags, line)
        if len(tags) == 1:
            unsplit.update(mark for mark in _OTHER_SEPARATORS if mark in tags[0])
    notes = [
        f"{counted(number, 'row')} without {options.separator!r} in the tags but with {mark!r}; "
        "is that the separator (--separator)?"
        for mark, number in unsplit.most_common(1)
    ]
    return labels.finish(path.parent, notes=tuple(notes))
