"""Each tag's own best threshold, and thresholds adjusted by the tags' priors: counts over sorted columns.

A block of columns is in memory at a time. Each column is sorted once in each fold, then searched for how many
of its scores reach a threshold.
"""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
from scipy.special import expit

from toolkit.arrays.types import Float32Array, Float64Array, RowNumbers
from toolkit.evaluation.decisions.base import ScoreMatrix, column_blocks, logits, positive_scores, positives
from toolkit.evaluation.decisions.cuts import between
from toolkit.runtime.devices import usable_cores

TAUS = np.linspace(0, 1, 11)
"""0 is one threshold for all tags, 1 the full adjustment of Menon et al. (arXiv 2007.07314)."""
OFFSETS = np.linspace(-4, 4, 81)  # in logits, from the threshold that is best for micro-F1
WORKERS = 4  # threads, at most: each holds two blocks of scores


class RankedPositives:
    """The P positives of the truth Y (N, L), dense or sparse, tag by tag, highest of the scores (N, L) first.

    Attributes
    ----------
    score, row : ndarray (P,)
    support : ndarray (L,) int64
        Positives of each tag.
    starts : ndarray (L + 1,) int64
        Those of tag l are from ``starts[l]`` to ``starts[l + 1]``.
    """

    def __init__(self, scores: ScoreMatrix, Y: Any) -> None:
        truth = positives(Y)
        self.n_rows, L = truth.shape
        unordered = positive_scores(scores, truth)
        order = np.lexsort((-unordered, truth.indices))
        self.score = unordered[order]
        self.row = np.repeat(np.arange(self.n_rows), np.diff(truth.indptr))[order]
        self.support = np.bincount(truth.indices, minlength=L)
        self.starts = np.append(0, np.cumsum(self.support))

    def of_tag(self, tag: int) -> slice:
        """Return the slice of a tag's positives."""
        return slice(int(self.starts[tag]), int(self.starts[tag + 1]))


def each_sorted_block(
    scores: ScoreMatrix, folds: list[RowNumbers], *counts: Callable[[slice, list[Float32Array]], None]
) -> None:
    """Call each of `counts` with the columns of every block of scores (N, L), from several threads.

    The second argument has, for each of `folds`, the scores (l, n) of its rows, sorted tag by tag. Calls for
    different blocks overlap.
    """

    def sort(columns: slice, block: Float32Array) -> None:
        parts = [np.sort(block[:, rows], axis=1) for rows in folds]
        for count in counts:
            count(columns, parts)

    workers = min(WORKERS, usable_cores())
    waiting: deque[Future[None]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        # blocks are read in this thread: `scores` need not be thread-safe
        for columns, block in column_blocks(scores):
            waiting.append(pool.submit(sort, columns, block))
            if len(waiting) > workers:  # limits the blocks in memory
                waiting.popleft().result()
        for future in waiting:
            future.result()


class FoldedCuts:
    """Each tag's best threshold by its own F1, tuned without each fold in turn.

    An F1 can only peak at a cut just at a positive's score (see the module `cuts`). So for each of the P
    positives, the scores of its tag that reach it are counted, and the highest below it is kept.
    """

    def __init__(self, ranked: RankedPositives, folds: list[RowNumbers]) -> None:
        self.ranked = ranked
        self.folds = folds
        self._predicted = np.zeros((len(folds), len(ranked.score)), np.int64)
        self._below = np.zeros((len(folds), len(ranked.score)), np.float32)

    def count(self, columns: slice, parts: list[Float32Array]) -> None:
        """Count in a block of columns, sorted by fold."""
        for number, tag in enumerate(range(columns.start, columns.stop)):
            span = self.ranked.of_tag(tag)
            cuts = self.ranked.score[span]
            for fold, part in enumerate(parts):
                at = np.searchsorted(part[number], cuts, side="left")
                self._predicted[fold, span] = part.shape[1] - at
                self._below[fold, span] = np.where(at > 0, part[number].take(at - 1, mode="clip"), 0)

    def thresholds(self) -> Float64Array:
        """Return the mean over folds, in logits, of the thresholds best on the other folds, (L,).

        nan for tags without positives. A single fold is not left out.
        """
        L, n_folds = len(self.ranked.support), len(self.folds)
        total, times = np.zeros(L), np.zeros(L)
        for fold in range(n_folds):
            tags, best = self._best([other for other in range(n_folds) if other != fold or n_folds == 1])
            total[tags] += logits(best)
            times[tags] += 1
        return np.asarray(expit(np.divide(total, times, out=np.full(L, np.nan), where=times > 0)))

    def _best(self, used: list[int]) -> tuple[RowNumbers, Float64Array]:
        """Return the tags with positives in the folds used, and their best midpoints there."""
        ranked = self.ranked
        inside = np.isin(ranked.row, np.concatenate([self.folds[fold] for fold in used]))
        before = np.append(0, np.cumsum(inside))
        support = np.diff(before[ranked.starts])
        # of equal scores the last counts all hits, so it has the highest F1
        hits = before[1:] - np.repeat(before[ranked.starts[:-1]], ranked.support)
        counted = self._predicted[used].sum(axis=0) + np.repeat(support, ranked.support)
        f1 = 2 * hits / np.maximum(counted, 1)  # 0 of 0 if a tag has no positive in these folds
        tags = np.flatnonzero(support)
        ever = np.flatnonzero(ranked.support)
        top = np.maximum.reduceat(f1, ranked.starts[ever]) if len(ever) else f1
        peaks = np.flatnonzero(f1 == np.repeat(top, ranked.support[ever]))
        best = peaks[np.searchsorted(peaks, ranked.starts[tags])]  # of equal F1s the highest cut
        return tags, between(self._below[used].max(axis=0)[best], ranked.score[best]).astype(np.float64)


class AdjustedGrid:
    """Macro and micro F1 of thresholds that one number moves by the tags' priors, over a grid.

    ``logit t_l = logit t + offset + tau (logit pi_l - mean)``: ``z_l - tau logit pi_l`` is cut at one value.
    The mean is over positives, so an offset means about the same for every tau. `common` is the threshold t
    that is best for micro-F1.
    """

    def __init__(self, ranked: RankedPositives, common: float) -> None:
        self.ranked = ranked
        support = ranked.support
        prior = logits((support + 0.5) / (ranked.n_rows + 1))
        self._moved = prior - np.average(prior, weights=support)
        self._levels = logits(common) + OFFSETS
        self._sums: dict[int, Float64Array] = {}  # F1, hits and predictions over the grid, by first column

    def count(self, columns: slice, parts: list[Float32Array]) -> None:
        """Count in a block of columns, sorted by fold."""
        levels = self._levels + TAUS[:, None] * self._moved[columns, None, None]
        cuts = expit(levels.astype(np.float32)).reshape(len(levels), -1)  # (l, taus x offsets)
        support = self.ranked.support[columns]
        predicted, hits = np.zeros(cuts.shape, np.int64), np.zeros(cuts.shape, np.int64)
        for number, tag in enumerate(range(columns.start, columns.stop)):
            for part in parts:
                predicted[number] += part.shape[1] - np.searchsorted(part[number], cuts[number])
            positive = self.ranked.score[self.ranked.of_tag(tag)]
            hits[number] = len(positive) - np.searchsorted(positive[::-1], cuts[number])
        f1 = 2 * hits / np.maximum(predicted + support[:, None], 1)
        self._sums[columns.start] = np.stack([each.sum(axis=0) for each in (f1, hits, predicted)])

    def best(self) -> tuple[float, Float64Array]:
        """Return the tau of the best macro-F1 (of equal ones the best micro-F1), and its thresholds (L,)."""
        f1, hits, predicted = np.stack([self._sums[first] for first in sorted(self._sums)]).sum(axis=0)
        micro = hits / (predicted + len(self.ranked.score))
        tau, level = divmod(int(np.lexsort((micro, f1))[-1]), len(OFFSETS))
        return float(TAUS[tau]), expit(self._levels[level] + TAUS[tau] * self._moved)
