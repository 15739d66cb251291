"""Rows of features wherever they lie, read as float32 a block at a time: what lets a head fit past memory.

A head takes plain arrays or `Features`. Whatever is small is loaded (`loaded`); the rest is gone over in
`blocks`. Files are read, not mapped: pages of a mapped file count as this process's memory.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from toolkit.errors import HeadError
from toolkit.files.npy import read_header

Array = NDArray[np.float32]
Rows = NDArray[np.intp]

IN_MEMORY = 2**30
"""Bytes of float32 up to which features are loaded whole: 35,000 x 2,048 take 287 MB."""
BLOCK_BYTES = 2**26  # of float32 a block


class _Source(Protocol):
    """Something with rows: a plain or mapped array, or a file."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, d)."""

    def __getitem__(self, rows: Any) -> Any:
        """Return the rows of a slice of step 1 or an integer array."""


class FileRows:
    """The rows of a ``.npy`` (n, d) on disk, C order, read on demand; `HeadError` if it is no such file.

    One thread at a time may read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file: BinaryIO = path.open("rb")
            header = read_header(self._file)
        except (OSError, ValueError) as error:
            raise HeadError(f"{path} is not a readable .npy of features ({error})") from error
        self.shape, self.dtype, self._begin = header.shape, header.dtype, header.offset
        if header.fortran or len(self.shape) != 2 or self.dtype.kind != "f":
            raise HeadError(f"{path} holds {self.dtype} of shape {self.shape}, not rows of floats in C order")

    def __getitem__(self, rows: Any) -> NDArray[Any]:
        if isinstance(rows, slice):
            first, last, _ = rows.indices(self.shape[0])
            return self._read(first, max(0, last - first))
        wanted = _numbers(rows)
        order = np.argsort(wanted, kind="stable")
        ascending = wanted[order]
        out = np.empty((len(wanted), self.shape[1]), self.dtype)
        # neighbours on disk are read together
        cuts = np.flatnonzero(np.diff(ascending, prepend=-2) != 1)
        for start, stop in pairwise([*cuts, len(ascending)]):
            out[order[start:stop]] = self._read(int(ascending[start]), int(stop - start))
        return out

    def _read(self, first: int, count: int) -> NDArray[Any]:
        width = self.shape[1]
        self._file.seek(self._begin + first * width * self.dtype.itemsize)
        found = np.fromfile(self._file, self.dtype, count * width)
        if len(found) != count * width:
            raise HeadError(f"{self.path} ends before its row {first + count}; embed again with --force")
        return found.reshape(count, width)

    def __getstate__(self) -> Any:
        """Refuse to be pickled: what was loaded elsewhere would point at a file that may be gone."""
        raise HeadError(
            f"the rows of {self.path} are too many for memory and read from there, which a pickle cannot "
            "hold; export the head as npz, not as joblib"
        )

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()


class Features:
    """A read-only (N, D) matrix: chosen rows of one source, or of several side by side.

    Indexing by a slice of step 1, row numbers or a mask gives float32 (n, D) in memory; `take` chooses rows
    without reading any.

    Parameters
    ----------
    sources : sequence of array (n, d), or path of a ``.npy``
        Their columns follow one another.
    rows : sequence of ndarray (N,), optional
        The rows chosen of each source; by default all, of sources of equal length.
    scales : sequence of float, optional
        What each source's values are multiplied by; 1 by default.
    """

    def __init__(
        self,
        sources: Sequence[Any],
        *,
        rows: Sequence[Rows] | None = None,
        scales: Sequence[float] | None = None,
    ) -> None:
        self._sources: list[_Source] = [
            FileRows(source) if isinstance(source, Path) else source for source in sources
        ]
        self._rows = None if rows is None else [np.asarray(each, np.intp) for each in rows]
        self.scales = tuple(1.0 for _ in self._sources) if scales is None else tuple(scales)
        lengths = {source.shape[0] for source in self._sources} if rows is None else {len(r) for r in rows}
        if len(lengths) != 1:
            raise HeadError(f"features side by side must have equally many rows, they have {sorted(lengths)}")
        self.widths = tuple(source.shape[1] for source in self._sources)
        self.shape = (lengths.pop(), sum(self.widths))
        self.ndim = 2
        self.dtype = np.dtype(np.float32)

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def nbytes(self) -> int:
        """Bytes the rows would take as float32 in memory."""
        return 4 * self.shape[0] * self.shape[1]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Read everything: what code that knows plain arrays only asks for."""
        return np.asarray(self[:], dtype)

    def __getitem__(self, rows: Any) -> Array:
        rows = rows if isinstance(rows, slice) else _numbers(rows)
        count = len(range(*rows.indices(len(self)))) if isinstance(rows, slice) else len(rows)
        out = np.empty((count, self.shape[1]), np.float32)
        first = 0
        for number, (source, scale) in enumerate(zip(self._sources, self.scales, strict=True)):
            last = first + source.shape[1]
            picked = rows if self._rows is None else self._rows[number][rows]
            out[:, first:last] = source[picked]
            if scale != 1:
                out[:, first:last] *= np.float32(scale)
            first = last
        return out

    def take(self, rows: Rows) -> Self:
        """Return the matrix of the rows given, (n, D), still unread."""
        own = self._rows or [np.arange(len(self))] * len(self._sources)
        chosen = [each[rows] for each in own]
        return type(self)(self._sources, rows=chosen, scales=self.scales)

    def part(self, number: int) -> Self:
        """Return the columns of one source, (N, d), still unread."""
        rows = None if self._rows is None else [self._rows[number]]
        return type(self)([self._sources[number]], rows=rows, scales=[self.scales[number]])


def _numbers(rows: Any) -> Rows:
    """Return rows chosen by number, or by a mask, as numbers."""
    chosen = np.asarray(rows)
    return np.flatnonzero(chosen) if chosen.dtype == bool else chosen.astype(np.intp)


Matrix = Array | Features


def take(X: Any, rows: Rows) -> Any:
    """Return rows of an array, or of `Features` without reading them."""
    return X.take(rows) if isinstance(X, Features) else X[rows]


def loaded(X: Any) -> Any:
    """Return `Features` of at most `IN_MEMORY` bytes as an array; anything else as it is."""
    return X[:] if isinstance(X, Features) and X.nbytes <= IN_MEMORY else X


def blocks(X: Any, rows: int | None = None) -> Iterator[tuple[slice, Array]]:
    """Yield X (N, D) in order: the slice of rows, and those rows as C-ordered float32 (n, D).

    Parameters
    ----------
    X : array or Features
    rows : int, optional
        Rows a block; by default as many as take `BLOCK_BYTES`.

    Raises
    ------
    HeadError
        The rows hold NaN or infinity.
    """
    N, D = X.shape
    step = rows or max(1, BLOCK_BYTES // (4 * max(1, D)))
    for start in range(0, N, step):
        part = slice(start, min(start + step, N))
        yield part, finite(np.ascontiguousarray(X[part], dtype=np.float32))


def finite(X: Array) -> Array:
    """Return X; `HeadError` if it holds NaN or infinity."""
    if not np.isfinite(X).all():
        raise HeadError("X holds NaN or infinity; embed those images again or drop the rows")
    return X


def unit_rows(X: Array) -> Array:
    """Scale each row of X (N, D) to Euclidean length 1; an all-zero row stays zero."""
    norm = np.sqrt(np.einsum("nd,nd->n", X, X, dtype=np.float64)).astype(np.float32)
    norm[norm == 0] = 1
    out: Array = X / norm[:, None]
    return out
