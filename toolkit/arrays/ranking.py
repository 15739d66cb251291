"""The best columns of every row, found without sorting whole rows."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Columns = NDArray[np.intp]


def best_columns(scores: NDArray[Any], k: int) -> Columns:
    """Return the columns of the k highest scores of each row, best first, (n, min(k, L)).

    Of equal scores the first column comes first: as a stable sort of whole rows has it, in a time that does
    not grow with what lies below the k-th score.

    Parameters
    ----------
    scores : ndarray (n, L)
    k : int
        Columns wanted; all, where there are fewer.
    """
    n, L = scores.shape
    k = min(k, L)
    if k == 0 or n == 0:
        return np.zeros((n, k), np.intp)
    last = np.partition(scores, L - k, axis=1)[:, [L - k]]
    found = scores > last
    tied = scores == last
    missing = k - found.sum(axis=1, keepdims=True)
    crowded = np.flatnonzero(tied.sum(axis=1, keepdims=True) > missing)
    tied[crowded] &= np.cumsum(tied[crowded], axis=1) <= missing[crowded]
    columns = np.nonzero(found | tied)[1].reshape(n, k)  # ascending in each row
    order = np.argsort(-np.take_along_axis(scores, columns, axis=1), axis=1, kind="stable")
    best: Columns = np.take_along_axis(columns, order, axis=1)
    return best
