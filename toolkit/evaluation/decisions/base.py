"""What a decision rule is, and how its scores are gone over without holding them all."""

from collections.abc import Callable, Iterator
from typing import Any, Protocol, Self

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.special import logit

from toolkit.errors import OptionError

Scores = NDArray[np.float32]
Rows = NDArray[np.intp]

BLOCK_BYTES = 2**25  # of float32 scores at a time: 1,200 rows of 6,941 tags


class ScoreMatrix(Protocol):
    """Scores (N, L) that need not lie in memory: an array, a mapped file, or anything that gives blocks."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, L)."""

    def __getitem__(self, where: Any) -> Any:
        """Return float32 ``[rows]`` or ``[rows, columns]``; rows a slice or integers, columns a slice."""


class DecisionRule(Protocol):
    """Turns scores (N, L) into predictions (N, L)."""

    def fit(self, scores: ScoreMatrix, Y: Any) -> Self:
        """Tune on rows the head never saw; a rule with nothing to tune returns itself."""

    def apply(self, scores: ScoreMatrix) -> sp.csr_array:
        """Return boolean CSR predictions."""

    def to_dict(self) -> dict[str, Any]:
        """Return what `rule_from_dict` needs to build an equal rule."""

    def describe(self) -> str:
        """Return a few words for a table, such as ``global 0.312``."""


class ChosenRows:
    """Some rows of a score matrix, unread until a block of them is asked for."""

    def __init__(self, scores: ScoreMatrix, rows: Rows) -> None:
        self._scores = scores
        self._rows = rows
        self.shape = (len(rows), scores.shape[1])

    def __getitem__(self, where: Any) -> Scores:
        if isinstance(where, tuple):
            rows, columns = where
            return np.asarray(self._scores[self._rows[rows], columns])
        return np.asarray(self._scores[self._rows[where]])


def row_blocks(scores: ScoreMatrix) -> Iterator[tuple[slice, Scores]]:
    """Yield the rows of each block and its scores (n, L) in order; `OptionError` if they hold NaN."""
    N, L = scores.shape
    step = max(1, BLOCK_BYTES // (4 * max(1, L)))
    for start in range(0, N, step):
        part = slice(start, min(start + step, N))
        yield part, checked(np.asarray(scores[part]))


def column_blocks(scores: ScoreMatrix) -> Iterator[tuple[slice, Scores]]:
    """Yield the columns of each block and a transposed copy of its scores (l, N); as `row_blocks`."""
    N, L = scores.shape
    step = max(1, BLOCK_BYTES // (4 * max(1, N)))
    for start in range(0, L, step):
        part = slice(start, min(start + step, L))
        yield part, checked(np.array(np.asarray(scores[0:N, part]).T, order="C"))


def checked(scores: Scores) -> Scores:
    """Return the scores; `OptionError` if they hold NaN."""
    if np.isnan(scores).any():
        raise OptionError("the scores hold NaN; fit the head again")
    return scores


def decide_by_blocks(scores: ScoreMatrix, chosen: Callable[[Scores], NDArray[np.bool_]]) -> sp.csr_array:
    """Apply `chosen`, scores (n, L) to bool (n, L), to blocks of rows: only a block is dense at a time."""
    blocks = [sp.csr_array(chosen(block)) for _, block in row_blocks(scores)]
    if not blocks:
        return sp.csr_array((0, scores.shape[1]), dtype=bool)
    stacked: Any = sp.vstack(blocks, format="csr")
    out: sp.csr_array = stacked
    return out


def positives(Y: Any) -> sp.csr_array:
    """Return the truth (N, L), dense or sparse, as boolean CSR without stored zeros, columns ascending."""
    truth: Any = sp.csr_array(Y, dtype=bool, copy=True)
    truth.sum_duplicates()
    truth.eliminate_zeros()
    out: sp.csr_array = truth
    return out


def positive_scores(scores: ScoreMatrix, truth: sp.csr_array) -> Scores:
    """Return the score of each stored entry of the truth, in its order, (P,)."""
    out = np.empty(truth.nnz, np.float32)
    rows = np.repeat(np.arange(truth.shape[0]), np.diff(truth.indptr))
    for part, block in row_blocks(scores):
        entries = slice(truth.indptr[part.start], truth.indptr[part.stop])
        out[entries] = block[rows[entries] - part.start, truth.indices[entries]]
    return out


def logits(thresholds: Any) -> NDArray[np.float64]:
    """Return log(p / (1 - p)), p held inside (0, 1)."""
    out: NDArray[np.float64] = logit(np.clip(np.asarray(thresholds, np.float64), 1e-7, 1 - 1e-7))
    return out
