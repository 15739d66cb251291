"""Sparse matrices from arrays that would crash scipy."""

import numpy as np
import pytest
import scipy.sparse as sp

from toolkit.arrays.sparse import checked_csr


def test_checked_csr__what_scipy_made():
    for seed in range(50):
        random = np.random.default_rng(seed)
        Y = sp.csr_array(random.random((random.integers(0, 9), random.integers(1, 9))) < 0.4)
        Y.sort_indices()
        again = checked_csr(Y.indices, Y.indptr, Y.shape)
        np.testing.assert_array_equal(again.toarray(), Y.toarray())


@pytest.mark.parametrize(
    ("columns", "ends", "text"),
    [
        ([0, 3], [0, 1, 2], "beyond the 3 known"),
        ([-1, 2], [0, 1, 2], "beyond the 3 known"),
        ([0, 1], [0, 2, 1], "do not ascend from 0 to their number"),
        ([0, 1], [1, 1, 2], "do not ascend from 0 to their number"),
        ([0, 1], [0, 1, 3], "do not ascend from 0 to their number"),
        ([0, 1], [0, 1], "the tags of 2 rows of 3 tags cannot be 2 in 2 steps"),
        ([1, 0], [0, 2, 2], "do not ascend, or repeat"),
        ([1, 1], [0, 0, 2], "do not ascend, or repeat"),
        ([2, 0, 0], [0, 1, 3], "do not ascend, or repeat"),
    ],
)
def test_checked_csr__refused(columns, ends, text):
    with pytest.raises(ValueError, match=text):
        checked_csr(np.array(columns, np.int32), np.array(ends, np.int32), (2, 3))
