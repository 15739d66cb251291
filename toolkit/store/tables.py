"""A store's tables: the index of its rows, the failed images, the journal of a pass."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from toolkit.errors import StoreError
from toolkit.store.records import Row
from toolkit.textfiles import read_csv
from toolkit.wording import counted

INDEX_COLUMNS = ("row", "img_path", "bytes", "mtime_ns", "digest", "width", "height", "mode")


def write_index(path: Path, rows: Sequence[Row]) -> None:
    """Write ``index.csv``: one line a row, in order."""
    with csv_writer(path) as table:
        table.writerow(INDEX_COLUMNS)
        table.writerows([number, *row_cells(row)] for number, row in enumerate(rows))


def row_cells(row: Row) -> list[str | int]:
    """Return the cells of a row, without its number."""
    return [row.img_path, row.bytes, row.mtime_ns, row.digest, row.width, row.height, row.mode]


def _row(cells: Sequence[str]) -> Row:
    name, size, mtime, digest, width, height, mode = cells
    return Row(name, int(size), int(mtime), digest, int(width), int(height), mode)


def read_rows(path: Path) -> Iterator[Row]:
    """Yield what `write_index` wrote."""
    return (_row(cells[1:]) for cells in read_table(path, len(INDEX_COLUMNS)))


def read_table(path: Path, width: int) -> Iterator[list[str]]:
    """Yield the data rows of one of the store's own tables."""
    rows = read_csv(path, error=StoreError, escape=True)
    for line, cells in rows:
        if len(cells) != width:
            raise StoreError(
                f"{path} line {line} has {counted(len(cells), 'cell')}, not {width}; embed again with --force"
            )
        if line > 1:
            yield cells


def read_journal(path: Path) -> Iterator[tuple[int, Row]]:
    """Yield the journal's complete lines; a kill may have cut the last one off."""
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        text = file.read()
    for cells in csv.reader(text[: text.rfind("\n") + 1].splitlines(keepends=True)):
        if len(cells) == len(INDEX_COLUMNS):
            yield int(cells[0]), _row(cells[1:])


class csv_writer:
    """A csv writer on `path` whose names may hold bytes that are not UTF-8; closes the file at the end."""

    def __init__(self, path: Path, *, mode: Literal["w", "a"] = "w") -> None:
        self._file = path.open(mode, newline="", encoding="utf-8", errors="surrogateescape")

    def __enter__(self) -> Any:
        return csv.writer(self._file, lineterminator="\n")

    def __exit__(self, *_: object) -> None:
        self._file.close()
