"""Tables of a store: the index of its rows, the failed images, the journal of a pass."""

import contextlib
import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import attrgetter
from pathlib import Path

from toolkit.errors import StoreError
from toolkit.files.atomic import replacing
from toolkit.files.csv import read_csv, write_csv
from toolkit.runtime.messages import counted, quoted
from toolkit.store.records import Failure, Row

INDEX_COLUMNS = ("row", "img_path", "bytes", "mtime_ns", "digest", "width", "height", "mode")
_cells_of = attrgetter(*INDEX_COLUMNS[1:])


def write_index(path: Path, rows: Iterable[Row]) -> None:
    """Write ``index.csv``: one line a row, in order."""
    with replacing(path) as fresh:
        write_csv(fresh, INDEX_COLUMNS, ((number, *_cells_of(row)) for number, row in enumerate(rows)))


def write_failed(path: Path, failures: Iterable[Failure]) -> None:
    """Write ``failed.csv``."""
    with replacing(path) as fresh:
        write_csv(fresh, ("img_path", "reason"), map(attrgetter("img_path", "reason"), failures))


def add_to_journal(path: Path, rows: Mapping[int, Row]) -> None:
    """Append rows, by slot, to the journal of a pass; all cells are quoted, as names may hold line breaks."""
    with path.open("a", newline="", encoding="utf-8", errors="surrogateescape") as file:
        journal = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)
        journal.writerows((slot, *_cells_of(row)) for slot, row in rows.items())


def read_rows(path: Path) -> Iterator[Row]:
    """Yield the rows of ``index.csv``, which must be numbered from 0 and name no image twice."""
    names: set[str] = set()
    for number, cells in enumerate(read_table(path, len(INDEX_COLUMNS))):
        if cells[0] != str(number):
            raise damaged(
                f"{path} lists row {quoted(cells[0])} of {quoted(cells[1])} where row {number} belongs"
            )
        names.add(cells[1])
        if len(names) == number:
            raise damaged(f"{path} lists {quoted(cells[1])} twice")
        try:
            yield _row(cells[1:])
        except ValueError as error:
            raise damaged(f"{path}, line of {cells[1]!r}: {error}") from error


def read_table(path: Path, width: int) -> Iterator[list[str]]:
    """Yield the lines below the header of ``index.csv`` or ``failed.csv``."""
    try:
        for line, cells in read_csv(path, error=StoreError, escape=True):
            if len(cells) != width:
                raise StoreError(f"{path} line {line} has {counted(len(cells), 'cell')}, not {width}")
            if line > 1:
                yield cells
    except StoreError as error:
        raise damaged(str(error)) from error


def damaged(reason: str) -> StoreError:
    """Return the error of a store whose files disagree or cannot be read."""
    return StoreError(f"{reason}; the store is damaged, embed again with --force")


def read_journal(path: Path) -> Iterator[tuple[int, Row]]:
    """Yield slot and row of the journal's complete lines; a kill may have cut the last one off."""
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        text = file.read()
    # not splitlines: it cuts at U+2028, U+0085 and form feeds, which names may hold
    for cells in csv.reader(io.StringIO(text[: text.rfind("\n") + 1], newline="")):
        if len(cells) == len(INDEX_COLUMNS):
            with contextlib.suppress(ValueError):  # no number, as after a crash of the machine
                yield int(cells[0]), _row(cells[1:])


def _row(cells: Sequence[str]) -> Row:
    name, size, mtime, digest, width, height, mode = cells
    return Row(name, int(size), int(mtime), digest, int(width), int(height), mode)
