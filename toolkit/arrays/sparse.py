"""Sparse matrices from plain arrays that may be wrong: scipy's compiled code would crash on them."""

from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from toolkit.files.npy import Expected

COLUMNS = Expected(kinds="i", shape=(None,), low=0)
"""Columns of the entries of a saved matrix, row by row."""
ENDS = Expected(kinds="i", shape=(None,), low=0)
"""Where the entries of each row begin, and where the last ends."""


def checked_csr(columns: NDArray[Any], ends: NDArray[Any], shape: tuple[int, int]) -> sp.csr_array:
    """Return the boolean CSR (N, L) whose row i has ones at ``columns[ends[i]:ends[i + 1]]``.

    `ValueError` unless `ends` (N + 1,) ascend from 0 to the number of `columns`, and the columns of every row
    ascend without repetition from 0 to below L.
    """
    N, L = shape
    if N < 0 or L < 0 or columns.ndim != 1 or ends.shape != (N + 1,):
        raise ValueError(f"the tags of {N} rows of {L} tags cannot be {len(columns)} in {len(ends)} steps")
    starts = ends.astype(np.int64)
    if starts[0] != 0 or starts[-1] != len(columns) or (np.diff(starts) < 0).any():
        raise ValueError("the ends of the rows of the tags do not ascend from 0 to their number")
    if len(columns) and not 0 <= columns.min() <= columns.max() < L:
        raise ValueError(f"the tags of the rows go beyond the {L:,} known")
    first = np.zeros(len(columns) + 1, bool)
    first[starts[:-1]] = True  # a row's first tag may be lower than the last of the row before
    if len(columns) and not ((np.diff(columns.astype(np.int64)) > 0) | first[1:-1]).all():
        raise ValueError("the tags of a row do not ascend, or repeat")
    return sp.csr_array((np.ones(len(columns), bool), columns, ends), shape=shape)
