"""Feature matrices in memory or on disk, read as float32 a block at a time.

A head takes plain arrays or `Features`. Small ones are loaded (`loaded`), others are read in `blocks`.
Files are read, not mapped: pages of a mapped file count as this process's memory.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from toolkit.arrays.types import Float32Array, RowNumbers
from toolkit.errors import HeadError
from toolkit.files.npy import read_header
from toolkit.files.regular import open_regular

IN_MEMORY = 2**30
"""Most bytes of float32 features that are loaded whole: 35,000 x 2,048 take 287 MB."""
BLOCK_BYTES = 2**26  # of float32


class FileRows:
    """The rows of a ``.npy`` (n, d) of floats on disk, read on demand; any other file is a `HeadError`.

    One thread at a time may read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file: BinaryIO = open_regular(path)
            header = read_header(self._file)
        except (OSError, ValueError) as error:
            raise HeadError(f"{path} is not a readable .npy of features ({error})") from error
        self.shape, self.dtype, self._begin = header.shape, header.dtype, header.offset
        if header.fortran or len(self.shape) != 2 or self.dtype.kind != "f":
            raise HeadError(
                f"{path} holds {self.dtype} of shape {self.shape}, not rows of floats in C order; embed or "
                "fit it again"
            )

    def __getitem__(self, rows: Any) -> NDArray[Any]:
        if isinstance(rows, slice):
            first, last, _ = rows.indices(self.shape[0])
            return self._read(first, max(0, last - first))
        wanted = _numbers(rows)
        order = np.argsort(wanted, kind="stable")
        ascending = wanted[order]
        out = np.empty((len(wanted), self.shape[1]), self.dtype)
        # adjacent rows are read together
        cuts = np.flatnonzero(np.diff(ascending, prepend=-2) != 1)
        for start, stop in pairwise([*cuts, len(ascending)]):
            out[order[start:stop]] = self._read(int(ascending[start]), int(stop - start))
        return out

    def _read(self, first: int, count: int) -> NDArray[Any]:
        width = self.shape[1]
        self._file.seek(self._begin + first * width * self.dtype.itemsize)
        values = np.fromfile(self._file, self.dtype, count * width)
        if len(values) != count * width:
            raise HeadError(f"{self.path} ends before its row {first + count}; embed again with --force")
        return values.reshape(count, width)

    def __getstate__(self) -> Any:
        """Refuse: the file may not exist where the pickle is loaded."""
        raise HeadError(
            f"the rows of {self.path} are too many for memory and stay there, so a pickle cannot hold them; "
            "export the head as npz, not as joblib"
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
        Factors of each source's values; 1 by default.
    """

    def __init__(
        self,
        sources: Sequence[Any],
        *,
        rows: Sequence[RowNumbers] | None = None,
        scales: Sequence[float] | None = None,
    ) -> None:
        self._sources = [FileRows(source) if isinstance(source, Path) else source for source in sources]
        self._rows = None if rows is None else [np.asarray(each, np.intp) for each in rows]
        self.scales = tuple(1.0 for _ in self._sources) if scales is None else tuple(scales)
        lengths = {source.shape[0] for source in self._sources} if rows is None else {len(r) for r in rows}
        if len(lengths) != 1:
            raise HeadError(f"features side by side must have equally many rows, they have {sorted(lengths)}")
        self.shape = (lengths.pop(), sum(source.shape[1] for source in self._sources))
        self.ndim = 2
        self.dtype = np.dtype(np.float32)

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def nbytes(self) -> int:
        """Bytes of the rows as float32 in memory."""
        return 4 * self.shape[0] * self.shape[1]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Read everything, for code that takes plain arrays only."""
        return np.asarray(self[:], dtype)

    def __getitem__(self, rows: Any) -> Float32Array:
        rows = rows if isinstance(rows, slice) else _numbers(rows)
        count = len(range(*rows.indices(len(self)))) if isinstance(rows, slice) else len(rows)
        out = np.empty((count, self.shape[1]), np.float32)
        first = 0
        for number, (source, scale) in enumerate(zip(self._sources, self.scales, strict=True)):
            last = first + source.shape[1]
            out[:, first:last] = source[rows if self._rows is None else self._rows[number][rows]]
            if scale != 1:
                out[:, first:last] *= np.float32(scale)
            first = last
        return out

    def take(self, rows: RowNumbers) -> Self:
        """Return the matrix of these rows, (n, D), still unread."""
        chosen = self._rows or [np.arange(len(self))] * len(self._sources)
        return type(self)(self._sources, rows=[each[rows] for each in chosen], scales=self.scales)


def _numbers(rows: Any) -> RowNumbers:
    chosen = np.asarray(rows)
    return np.flatnonzero(chosen) if chosen.dtype == bool else chosen.astype(np.intp)


Matrix = Float32Array | Features


def take(X: Any, rows: RowNumbers) -> Any:
    """Return rows of an array, or of `Features` without reading them."""
    return X.take(rows) if isinstance(X, Features) else X[rows]


def loaded(X: Any) -> Any:
    """Return `Features` of at most `IN_MEMORY` bytes as an array; anything else unchanged."""
    return X[:] if isinstance(X, Features) and X.nbytes <= IN_MEMORY else X


def blocks(X: Any, rows: int | None = None) -> Iterator[tuple[slice, Float32Array]]:
    """Yield the row slices of X (N, D) in order, each with its rows as C-ordered float32 (n, D).

    A block has `rows` rows, by default as many as take `BLOCK_BYTES`. NaN or infinity is a `HeadError`.
    """
    N, D = X.shape
    step = rows or max(1, BLOCK_BYTES // (4 * max(1, D)))
    for start in range(0, N, step):
        part = slice(start, min(start + step, N))
        yield part, finite(np.ascontiguousarray(X[part], dtype=np.float32))


def finite(X: Float32Array) -> Float32Array:
    """Return X; `HeadError` if it holds NaN or infinity."""
    if not np.isfinite(X).all():
        raise HeadError("X holds NaN or infinity; embed those images again or drop the rows")
    return X


def unit_rows(X: Float32Array) -> Float32Array:
    """Scale each row of X (N, D) to Euclidean length 1; an all-zero row stays zero."""
    norm = np.sqrt(np.einsum("nd,nd->n", X, X, dtype=np.float64)).astype(np.float32)
    norm[norm == 0] = 1
    out: Float32Array = X / norm[:, None]
    return out
