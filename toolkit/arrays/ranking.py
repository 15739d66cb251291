"""The best columns of every row, without sorting whole rows."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolkit.arrays.types import RowNumbers


def best_columns(scores: NDArray[Any], k: int) -> RowNumbers:
    """Return the columns of the k highest of the scores (n, L) of each row, best first, (n, min(k, L)).

    Of equal scores the first column comes first, as in a stable sort.
    """
    n, L = scores.shape
    k = min(k, L)
    if k == 0 or n == 0:
        return np.zeros((n, k), np.intp)
    last = np.partition(scores, L - k, axis=1)[:, [L - k]]
    above, tied = scores > last, scores == last
    missing = k - above.sum(axis=1, keepdims=True)
    crowded = np.flatnonzero(tied.sum(axis=1, keepdims=True) > missing)
    tied[crowded] &= np.cumsum(tied[crowded], axis=1) <= missing[crowded]
    columns = np.nonzero(above | tied)[1].reshape(n, k)  # ascending in each row
    order = np.argsort(-np.take_along_axis(scores, columns, axis=1), axis=1, kind="stable")
    return np.take_along_axis(columns, order, axis=1)
