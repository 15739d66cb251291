"""A store's tables: the index of its rows, the failed images, the journal of a pass."""

import contextlib
import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Literal

from toolkit.errors import StoreError
from toolkit.files.atomic import replacing
from toolkit.files.text import read_csv
from toolkit.runtime.messages import counted
from toolkit.store.records import Failure, Row

INDEX_COLUMNS = ("row", "img_path", "bytes", "mtime_ns", "digest", "width", "height", "mode")
_cells_of = attrgetter(*INDEX_COLUMNS[1:])


def write_index(path: Path, rows: Iterable[Row]) -> None:
    """Write ``index.csv``: one line a row, in order."""
    with replacing(path) as fresh, _table(fresh) as write:
        write(INDEX_COLUMNS)
        for number, row in enumerate(rows):
            write((number, *_cells_of(row)))


def write_failed(path: Path, failures: Iterable[Failure]) -> None:
    """Write ``failed.csv``."""
    with replacing(path) as fresh, _table(fresh) as write:
        write(("img_path", "reason"))
        for failure in failures:
            write((failure.img_path, failure.reason))


def add_to_journal(path: Path, rows: Mapping[int, Row]) -> None:
    """Append lines of a slot and its row to the journal of a pass."""
    with _table(path, mode="a") as write:
        for slot, row in rows.items():
            write((slot, *_cells_of(row)))


@contextlib.contextmanager
def _table(path: Path, *, mode: Literal["w", "a"] = "w") -> Iterator[Callable[[Sequence[str | int]], None]]:
    """Yield a function that writes a row; names may hold bytes that are not UTF-8."""
    with path.open(mode, newline="", encoding="utf-8", errors="surrogateescape") as file:
        plain = csv.writer(file, lineterminator="\n")
        quoted = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)

        def write(cells: Sequence[str | int]) -> None:
            # Python before 3.13 leaves a lone carriage return unquoted, which would end the row on reading
            odd = any(isinstance(cell, str) and "\r" in cell for cell in cells)
            (quoted if odd else plain).writerow(cells)

        yield write


def _row(cells: Sequence[str]) -> Row:
    name, size, mtime, digest, width, height, mode = cells
    return Row(name, int(size), int(mtime), digest, int(width), int(height), mode)


def read_rows(path: Path) -> Iterator[Row]:
    """Yield what `write_index` wrote."""
    for cells in read_table(path, len(INDEX_COLUMNS)):
        try:
            yield _row(cells[1:])
        except ValueError as error:
            raise _damaged(f"{path}, line of {cells[1]!r}: {error}") from error


def read_table(path: Path, width: int) -> Iterator[list[str]]:
    """Yield the data rows of one of the store's tables."""
    try:
        for line, cells in read_csv(path, error=_TableError, escape=True):
            if len(cells) != width:
                raise _TableError(f"{path} line {line} has {counted(len(cells), 'cell')}, not {width}")
            if line > 1:
                yield cells
    except _TableError as error:
        raise _damaged(str(error)) from error


class _TableError(StoreError):
    """A table cannot be read."""


def _damaged(what: str) -> StoreError:
    return StoreError(f"{what}; the store is damaged, embed again with --force")


def read_journal(path: Path) -> Iterator[tuple[int, Row]]:
    """Yield slot and row of the journal's complete lines; a kill may have cut the last one off."""
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        text = file.read()
    # a stream, not splitlines: that cuts at U+2028, U+0085 and form feeds, which names may hold
    for cells in csv.reader(io.StringIO(text[: text.rfind("\n") + 1], newline="")):
        if len(cells) == len(INDEX_COLUMNS):
            with contextlib.suppress(ValueError):  # not a number: a crash of the machine may leave that
                yield int(cells[0]), _row(cells[1:])
