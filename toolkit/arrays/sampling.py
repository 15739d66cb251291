"""Some rows out of many, drawn by seed."""

import numpy as np
from numpy.typing import NDArray


def draw(n: int, most: int, seed: int) -> NDArray[np.intp]:
    """Return at most `most` of n row numbers, ascending: all, or a part drawn by seed."""
    if n <= most:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).choice(n, most, replace=False))
