"""The best columns against a stable sort of whole rows."""

import numpy as np
import pytest

from toolkit.arrays.ranking import best_columns


@pytest.mark.parametrize("decimals", [0, 1, 6])
@pytest.mark.parametrize("k", [0, 1, 3, 19, 20, 40])
def test_best_columns__equal_a_stable_sort(k, decimals):
    scores = np.random.default_rng(k).random((50, 20)).round(decimals).astype(np.float32)
    want = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(best_columns(scores, k), want)
    assert best_columns(scores[:0], k).shape == (0, min(k, 20))
