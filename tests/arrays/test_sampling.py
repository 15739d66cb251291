"""Rows that are drawn: no more than wanted, each once, the same for a seed."""

import numpy as np

from toolkit.arrays.sampling import draw


def test_draw__all_or_a_seeded_part():
    np.testing.assert_array_equal(draw(5, 9, 0), np.arange(5))
    np.testing.assert_array_equal(draw(9, 9, 0), np.arange(9))
    part = draw(100, 9, 0)
    np.testing.assert_array_equal(part, draw(100, 9, 0))
    assert len(set(part)) == 9 and (np.diff(part) > 0).all() and set(part) <= set(range(100))
    assert set(part) != set(draw(100, 9, 1))
