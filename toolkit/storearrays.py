"""Rows of ``.npy`` files on disk, moved without being held in memory. What they mean is `toolkit.store`'s."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from toolkit.errors import StoreError

Features = NDArray[np.float32] | NDArray[np.float16]

COPY_ROWS = 4096  # rows moved at a time: 32 MB of 2048 float32


def open_array(path: Path) -> Features:
    """Map the ``.npy`` (N, D) at `path` into memory, read-only; `StoreError` if it is none."""
    try:
        array: Features = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise StoreError(f"{path} cannot be read ({error}); embed again with --force") from error
    return array


def fits(values: NDArray[np.floating], dtype: str) -> bool:
    """Tell whether a row is finite as `dtype`."""
    with np.errstate(over="ignore"):
        return bool(np.isfinite(values.astype(dtype)).all())


def write_header(file: BinaryIO, dtype: str, shape: tuple[int, int]) -> None:
    """Write the header of a ``.npy`` of that dtype and shape, C order."""
    header = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)


def data_offset(file: BinaryIO) -> int:
    """Return the byte at which the rows of an open ``.npy`` begin."""
    np.lib.format.read_magic(file)
    np.lib.format.read_array_header_1_0(file)
    return file.tell()


def copy_rows(
    source: Path, target: BinaryIO, offset: int, moves: Sequence[tuple[int, int]], row_bytes: int
) -> None:
    """Copy rows of the ``.npy`` `source` to `target`, whose data begin at `offset`: (to, from) a move.

    Read, not mapped: pages of a mapped file count as this process's memory.
    """
    with source.open("rb") as old:
        begin = data_offset(old)
        for slot, place, count in _runs(moves):
            old.seek(begin + place * row_bytes)
            target.seek(offset + slot * row_bytes)
            data = old.read(count * row_bytes)
            if len(data) < count * row_bytes:
                raise StoreError(f"{source} is shorter than its rows; embed again with --force")
            target.write(data)


def _runs(moves: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int, int]]:
    """Join moves (slot, place) that follow each other on both sides: yield (slot, place, count)."""
    first = 0
    for here in range(1, len(moves) + 1) if moves else ():
        slot, place = moves[first]
        count = here - first
        if here < len(moves) and moves[here] == (slot + count, place + count) and count < COPY_ROWS:
            continue
        yield slot, place, count
        first = here
