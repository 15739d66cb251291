"""Row numbers drawn at random, and rows numbered by group."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolkit.arrays.types import RowNumbers


def draw(n: int, most: int, seed: int) -> RowNumbers:
    """Return at most `most` of n row numbers, ascending: all of them, or a seeded random sample."""
    if n <= most:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).choice(n, most, replace=False))


def group_numbers(n: int, groups: NDArray[Any] | None) -> tuple[RowNumbers, int]:
    """Return the group of each of n rows as a number from 0, and the number of groups.

    `groups` (n,) has equal values for rows of one group; without it each row is a group.
    """
    numbers = np.arange(n) if groups is None else np.unique(groups, return_inverse=True)[1].ravel()
    return numbers, int(numbers.max(initial=-1)) + 1
