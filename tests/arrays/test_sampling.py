"""Rows drawn at random: no more than wanted, each once, the same for a seed; groups as numbers."""

import numpy as np

from toolkit.arrays.sampling import draw, group_numbers


def test_draw__all_or_a_seeded_part():
    np.testing.assert_array_equal(draw(5, 9, 0), np.arange(5))
    np.testing.assert_array_equal(draw(9, 9, 0), np.arange(9))
    part = draw(100, 9, 0)
    np.testing.assert_array_equal(part, draw(100, 9, 0))
    assert len(set(part)) == 9 and (np.diff(part) > 0).all() and set(part) <= set(range(100))
    assert set(part) != set(draw(100, 9, 1))


def test_group_numbers__equal_for_equal_values():
    numbers, n_groups = group_numbers(5, np.array(["b", "a", "b", "c", "a"]))
    assert numbers.tolist() == [1, 0, 1, 2, 0] and n_groups == 3
    numbers, n_groups = group_numbers(3, None)
    assert numbers.tolist() == [0, 1, 2] and n_groups == 3
    assert group_numbers(0, None)[1] == 0
