"""Groups of near-duplicate images, which must not be split between parts."""

import logging
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

from toolkit.arrays.features import blocks, loaded, unit_rows
from toolkit.arrays.types import Float32Array, RowNumbers

logger = logging.getLogger(__name__)

DUPLICATE_COSINE = 0.97
"""Least centred cosine of two rows that count as one picture.

Of 2,100 aerial tiles (UC Merced) 28 are grouped at .97; at .90 275 are, among them different fields.
"""
IMPLAUSIBLE_GROUP = 0.05  # share of all rows; a larger group means that features do not separate pictures
_SKETCH = 256  # dimensions of the random projection that proposes pairs
_SKETCH_SLACK = 0.05  # five standard deviations of its error at the cosine above
_BLOCK = 2048
_WIDE_BLOCK = 16 * _BLOCK  # rows compared with a block at a time: their products take 256 MB


def near_duplicate_groups(X: Any, *, digests: Sequence[str] | None = None) -> RowNumbers:
    """Return the group number of each row of X (N, D), (N,); near-duplicates have the same number.

    Two rows are near-duplicates if their files are identical (`digests`, one a row, empty if unknown) or
    the cosine of their centred features is at least `DUPLICATE_COSINE`; groups are connected components.
    If a group is larger than `IMPLAUSIBLE_GROUP` of all rows (an untrained network's features), only
    digests count, with a warning.
    """
    N = len(X)
    same = _same_digest(digests or [""] * N)
    groups = _components(np.vstack([same, _alike(X)]), N)
    largest = int(np.bincount(groups).max(initial=0))
    if largest > max(IMPLAUSIBLE_GROUP * N, 10):
        logger.warning(
            "%d of %d images look alike to these features, so near-duplicates cannot be recognised: "
            "only identical files are kept on one side of the split",
            largest,
            N,
        )
        return _components(same, N)
    return groups


def _same_digest(digests: Sequence[str]) -> RowNumbers:
    first: dict[str, int] = {}
    pairs = [(first.setdefault(digest, row), row) for row, digest in enumerate(digests) if digest]
    return np.array(pairs, dtype=np.intp).reshape(-1, 2)


def _alike(X: Any) -> RowNumbers:
    """Return pairs of rows whose centred cosine is at least `DUPLICATE_COSINE`, (n, 2).

    A random projection proposes pairs (Johnson-Lindenstrauss: the error of a cosine c is about
    (1 - c^2) / sqrt(256)); the cosine itself confirms them.
    """
    X = loaded(X)
    N, D = X.shape
    total = sum((rows.sum(axis=0, dtype=np.float64) for _, rows in blocks(X)), np.zeros(D))
    mean = (total / max(N, 1)).astype(np.float32)
    random = np.random.default_rng(0)
    projection = random.standard_normal((D, _SKETCH), dtype=np.float32) if D > _SKETCH else None
    least = DUPLICATE_COSINE if projection is None else DUPLICATE_COSINE - _SKETCH_SLACK
    sketch = np.empty((N, min(D, _SKETCH)), np.float32)
    for part, rows in blocks(X):
        unit = unit_rows(rows - mean)
        sketch[part] = unit if projection is None else unit_rows(unit @ projection)
    pairs = [np.empty((0, 2), np.intp)]
    for i, j in _close(sketch, least):
        for first in range(0, len(i), _BLOCK):
            a, b = i[first : first + _BLOCK], j[first : first + _BLOCK]
            sure = np.einsum("nd,nd->n", unit_rows(X[a] - mean), unit_rows(X[b] - mean)) >= DUPLICATE_COSINE
            pairs.append(np.stack([a[sure], b[sure]], axis=1))
    return np.vstack(pairs)


def _close(sketch: Float32Array, least: float) -> Iterator[tuple[RowNumbers, RowNumbers]]:
    """Yield pairs of rows i < j whose product is at least `least`, a block of all pairs at a time."""
    for start in range(0, len(sketch), _BLOCK):
        block = sketch[start : start + _BLOCK]
        for first in range(start, len(sketch), _WIDE_BLOCK):
            i, j = np.nonzero(block @ sketch[first : first + _WIDE_BLOCK].T >= least)
            i, j = i + start, j + first
            yield i[i < j], j[i < j]


def _components(pairs: RowNumbers, N: int) -> RowNumbers:
    graph = sp.csr_array((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), shape=(N, N))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.intp)
