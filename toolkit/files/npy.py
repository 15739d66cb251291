"""``.npy`` files: headers, and copies of rows through a bounded buffer."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from toolkit.errors import StoreError

EmbeddingArray = NDArray[np.float32] | NDArray[np.float16]

COPY_ROWS = 4096  # rows copied at a time: 32 MB of 2048 float32


class Header(NamedTuple):
    """The header of a ``.npy`` file; its data begin at the byte `offset`."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]
    offset: int


def read_header(file: BinaryIO) -> Header:
    """Read the header of an open ``.npy`` file; `ValueError` if it has none."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return Header(*read(file), file.tell())


def write_header(file: BinaryIO, dtype: str, shape: tuple[int, int]) -> None:
    """Write the header of an array in C order."""
    header = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)


def open_array(path: Path) -> EmbeddingArray:
    """Map the ``.npy`` (N, D) at `path` into memory, read-only; `StoreError` if that fails."""
    try:
        array: EmbeddingArray = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise StoreError(f"{path} cannot be read ({error}); embed again with --force") from error
    return array


def is_finite_as(values: NDArray[np.floating], dtype: str) -> bool:
    """Return whether all values are finite when stored as `dtype`."""
    with np.errstate(over="ignore"):
        return bool(np.isfinite(values.astype(dtype)).all())


def copy_rows(
    source: Path, target: BinaryIO, offset: int, moves: Sequence[tuple[int, int]], row_bytes: int
) -> None:
    """Copy rows of `row_bytes` bytes from the ``.npy`` `source` to `target`, whose data begin at `offset`.

    `moves` are pairs of row numbers, in the target and in the source. The rows are read, not mapped: pages of
    a mapped file count as memory of this process.
    """
    with source.open("rb") as old:
        begin = read_header(old).offset
        for to, start, count in _runs(moves):
            old.seek(begin + start * row_bytes)
            target.seek(offset + to * row_bytes)
            data = old.read(count * row_bytes)
            if len(data) < count * row_bytes:
                raise StoreError(f"{source} is shorter than its rows; embed again with --force")
            target.write(data)


def _runs(moves: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int, int]]:
    """Yield (to, from, count) of moves that are consecutive on both sides."""
    first = 0
    for here in range(1, len(moves) + 1):
        to, start = moves[first]
        count = here - first
        if here == len(moves) or moves[here] != (to + count, start + count) or count == COPY_ROWS:
            yield to, start, count
            first = here
