"""What is counted tag by tag over sorted columns of scores: each tag's own best cut, and the adjusted grid.

A block of columns is in memory at a time. Each is sorted once, in parts where folds are wanted, and then
asked how many of its scores reach a threshold.
"""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from toolkit.evaluation.decisions.base import (
    Rows,
    ScoreMatrix,
    Scores,
    column_blocks,
    logits,
    positive_scores,
    positives,
)
from toolkit.evaluation.decisions.cuts import between
from toolkit.runtime.devices import usable_cores

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]

TAUS = np.linspace(0, 1, 11)
"""From one threshold for all tags to the full step of Menon et al. (arXiv 2007.07314)."""
OFFSETS = np.linspace(-4, 4, 81)  # logits about the threshold that is best for micro-F1
WORKERS = 4  # threads, at most: each holds two blocks of scores


@dataclass(frozen=True, eq=False)
class RankedPositives:
    """The positives of each tag, highest score first; P in all.

    Attributes
    ----------
    starts : ndarray (L + 1,) int64
        Tag l's are those from ``starts[l]`` to ``starts[l + 1]``.
    score : ndarray (P,) float32
    row : ndarray (P,)
    n_rows : int
        Rows of the scores.
    """

    starts: Counts
    score: Scores
    row: Rows
    n_rows: int

    @classmethod
    def of(cls, scores: ScoreMatrix, Y: Any) -> "RankedPositives":
        """Rank the positives of the truth Y (N, L), dense or sparse, by their scores (N, L)."""
        truth = positives(Y)
        N, L = truth.shape
        found = positive_scores(scores, truth)
        order = np.lexsort((-found, truth.indices))
        rows = np.repeat(np.arange(N), np.diff(truth.indptr))
        starts = np.append(0, np.cumsum(np.bincount(truth.indices, minlength=L)))
        return cls(starts, found[order], rows[order], N)

    @property
    def support(self) -> Counts:
        """Positives of each tag, (L,)."""
        return np.diff(self.starts)

    def of_tag(self, tag: int) -> slice:
        """Return where the positives of a tag lie."""
        return slice(int(self.starts[tag]), int(self.starts[tag + 1]))


Sorted = list[Scores]  # a block of columns, one a row, each sorted: the rows of each part apart


def each_sorted_block(scores: ScoreMatrix, parts: list[Rows], count: Callable[[slice, Sorted], None]) -> None:
    """Call `count` with the columns of each block and its sorted scores, from several threads.

    Parameters
    ----------
    scores : (N, L)
    parts : list of ndarray (n,)
        The rows to sort together.
    count : function
        Calls overlap, each for columns of its own.
    """

    def sort(columns: slice, block: Scores) -> None:
        count(columns, [np.sort(block[:, rows], axis=1) for rows in parts])

    workers = min(WORKERS, usable_cores())
    waiting: deque[Future[None]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        # the blocks are read here, one after the other: `scores` need not be safe to share
        for columns, block in column_blocks(scores):
            waiting.append(pool.submit(sort, columns, block))
            if len(waiting) > workers:  # no more blocks than that are held
                waiting.popleft().result()
        for done in waiting:
            done.result()


class FoldedCuts:
    """Each tag's best threshold by its own F1, tuned without each fold in turn.

    An F1 can only peak at a cut just at a positive's score (see the module `cuts`), so for each of the
    P positives it is counted how many scores of its tag reach it, and which is the highest that does not.
    """

    def __init__(self, ranked: RankedPositives, folds: list[Rows]) -> None:
        self.ranked = ranked
        self.folds = folds
        self._predicted = np.zeros((len(folds), len(ranked.score)), np.int64)
        self._below = np.zeros((len(folds), len(ranked.score)), np.float32)

    def count(self, columns: slice, parts: Sorted) -> None:
        """Count in a block of columns whose folds are sorted apart."""
        for number, tag in enumerate(range(columns.start, columns.stop)):
            own = self.ranked.of_tag(tag)
            cuts = self.ranked.score[own]
            for fold, part in enumerate(parts):
                at = np.searchsorted(part[number], cuts, side="left")
                self._predicted[fold, own] = part.shape[1] - at
                self._below[fold, own] = np.where(at > 0, part[number].take(at - 1, mode="clip"), 0)

    def thresholds(self) -> Floats:
        """Return the mean over folds, in logits, of the thresholds best on the others, (L,).

        nan for tags without positives. One fold alone is not left out of itself.
        """
        L = len(self.ranked.support)
        total, times = np.zeros(L), np.zeros(L)
        for fold in range(len(self.folds)):
            used = [other for other in range(len(self.folds)) if other != fold or len(self.folds) == 1]
            tags, found = self._best(used)
            total[tags] += logits(found)
            times[tags] += 1
        mean = np.divide(total, times, out=np.full(L, np.nan), where=times > 0)
        out: Floats = expit(mean)
        return out

    def _best(self, used: list[int]) -> tuple[Rows, Floats]:
        """Return the tags with positives in the folds used, and their best midpoints there."""
        ranked = self.ranked
        inside = np.isin(ranked.row, np.concatenate([self.folds[fold] for fold in used]))
        before = np.append(0, np.cumsum(inside))
        support = np.diff(before[ranked.starts])
        # of equal scores the last has all hits, so the highest F1; the others need not be told apart
        hits = before[1:] - np.repeat(before[ranked.starts[:-1]], ranked.support)
        counted = self._predicted[used].sum(axis=0) + np.repeat(support, ranked.support)
        f1 = 2 * hits / np.maximum(counted, 1)  # 0 of 0 where a tag has no positive in these folds
        tags = np.flatnonzero(support)
        there = np.flatnonzero(ranked.support)
        top = np.maximum.reduceat(f1, ranked.starts[there]) if len(there) else f1
        peaks = np.flatnonzero(f1 == np.repeat(top, ranked.support[there]))
        best = peaks[np.searchsorted(peaks, ranked.starts[tags])]  # of equal F1s the highest cut
        return tags, between(self._below[used].max(axis=0)[best], ranked.score[best]).astype(np.float64)


class AdjustedGrid:
    """Macro and micro F1 of thresholds that one number moves by the tags' priors, over a grid.

    ``logit t_l = logit t + offset + tau (logit pi_l - mean)``: to cut ``z_l - tau logit pi_l`` at one value.
    The mean, over positives, makes ``offset`` mean about the same for every tau.

    Parameters
    ----------
    ranked : RankedPositives
    common : float
        The threshold t that is best for micro-F1.
    """

    def __init__(self, ranked: RankedPositives, common: float) -> None:
        self.ranked = ranked
        support = ranked.support
        prior = logits((support + 0.5) / (ranked.n_rows + 1))
        self._moved = prior - np.average(prior, weights=support)
        self._levels = logits(common) + OFFSETS
        self._sums: dict[int, Floats] = {}  # by first column: F1, hits and predictions at each of the grid

    def count(self, columns: slice, parts: Sorted) -> None:
        """Count in a block of sorted columns."""
        cuts = self._cuts(columns)
        support = self.ranked.support[columns]
        predicted, hits = np.zeros(cuts.shape, np.int64), np.zeros(cuts.shape, np.int64)
        for number, tag in enumerate(range(columns.start, columns.stop)):
            for part in parts:
                predicted[number] += part.shape[1] - np.searchsorted(part[number], cuts[number])
            own = self.ranked.score[self.ranked.of_tag(tag)]
            hits[number] = len(own) - np.searchsorted(own[::-1], cuts[number])
        f1 = 2 * hits / np.maximum(predicted + support[:, None], 1)
        self._sums[columns.start] = np.stack([each.sum(axis=0) for each in (f1, hits, predicted)])

    def _cuts(self, columns: slice) -> Scores:
        """Return the thresholds of the grid for each tag, (l, taus x offsets)."""
        at = self._levels + TAUS[:, None] * self._moved[columns, None, None]
        cuts: Scores = np.asarray(expit(at.astype(np.float32)), np.float32).reshape(len(at), -1)
        return cuts

    def best(self) -> tuple[float, Floats]:
        """Return the tau of the best macro-F1 (of equal ones the best micro-F1), and its thresholds (L,)."""
        f1, hits, predicted = np.stack([self._sums[first] for first in sorted(self._sums)]).sum(axis=0)
        micro = hits / (predicted + len(self.ranked.score))
        tau, level = divmod(int(np.lexsort((micro, f1))[-1]), len(OFFSETS))
        return float(TAUS[tau]), expit(self._levels[level] + TAUS[tau] * self._moved)
