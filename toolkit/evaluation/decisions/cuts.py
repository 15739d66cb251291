"""The threshold of the highest micro-F1, counted over blocks of the scores.

An F1 can only peak at a cut just at a positive's score: a lower one, down to the next positive's score,
predicts more and hits nothing more. So the positives are ranked, never all scores.
"""

import logging
from typing import Any

import numpy as np

from toolkit.arrays.types import Float32Array, Int64Array
from toolkit.evaluation.decisions.base import ScoreMatrix, positive_scores, positives, row_blocks

logger = logging.getLogger(__name__)

UNTUNED = 0.5  # the threshold without positives to tune on
BINS = 1024


def best_threshold(scores: ScoreMatrix, Y: Any) -> tuple[float, float]:
    """Return the threshold at which micro-F1 is highest, and that F1.

    Every cut between two different scores (N, L) is considered; the threshold is the midpoint of the cut. Of
    equal F1s the highest cut wins. Without positives in the truth Y (N, L), dense or sparse, it is `UNTUNED`
    and 0, with a warning. The scores are read block by block, two or three times.
    """
    truth = positives(Y)
    if not truth.nnz:
        logger.warning("no positives to tune a threshold on: %s is used", UNTUNED)
        return UNTUNED, 0.0
    positive = np.sort(positive_scores(scores, truth))
    least = _worth_counting(_histogram_of_all(scores), positive)
    cuts = positive[positive >= least]
    predicted, below = _count(scores, cuts, least)
    hits = np.arange(len(cuts), 0, -1)  # of equal scores the last, with most hits, has the highest F1
    f1 = 2 * hits / (predicted + truth.nnz)
    at = len(f1) - 1 - int(np.argmax(f1[::-1]))
    lower = below[at]
    if lower < 0:
        lower = max(np.where(block < least, block, 0).max() for _, block in row_blocks(scores))
    return float(between(lower, cuts[at])), float(f1[at])


def _histogram_of_all(scores: ScoreMatrix) -> Int64Array:
    counts = np.zeros(BINS, np.int64)
    for _, block in row_blocks(scores):
        high = block[block >= np.float32(1 / BINS)]  # few, if tags are many: the others are counted as one
        counts += _histogram(high)
        counts[0] += block.size - high.size
    return counts


def _histogram(values: Float32Array) -> Int64Array:
    # a power of two: the product is exact, so bin k holds exactly the scores in [k / BINS, (k + 1) / BINS)
    bins = np.minimum(values * np.float32(BINS), BINS - 1).astype(np.int16)
    return np.bincount(bins, minlength=BINS).astype(np.int64)


def _worth_counting(histogram: Int64Array, positive: Float32Array) -> np.float32:
    """Return a score below which no cut can be best, so that thousands of rare tags need not be sorted.

    A cut that predicts n has an F1 of at most 2 P / (n + P), P being the number of positives. With the best
    F1 among `BINS` even cuts known, all cuts that predict more than 2 P / F1 - P are out.
    """
    edges = np.arange(BINS, dtype=np.float32) / np.float32(BINS)
    predicted, hits = (np.cumsum(counts[::-1])[::-1] for counts in (histogram, _histogram(positive)))
    best = (2 * hits / (predicted + positive.size)).max()
    most = 2 * positive.size / best - positive.size
    return np.float32(edges[np.flatnonzero(predicted >= min(most, histogram.sum()))[-1]])


def _count(scores: ScoreMatrix, cuts: Float32Array, least: np.float32) -> tuple[Int64Array, Float32Array]:
    """Return, for each of the ascending `cuts`, how many scores reach it, and the highest that does not.

    The latter is -1 if no score from `least` up is below the cut.
    """
    predicted = np.zeros(len(cuts), np.int64)
    below = np.full(len(cuts), -1, np.float32)
    for _, block in row_blocks(scores):
        ranked = np.sort(np.append(np.float32(-1), block[block >= least]))
        at = np.searchsorted(ranked, cuts, side="left")
        predicted += ranked.size - at
        np.maximum(below, ranked[at - 1], out=below)
    return predicted, below


def between(lower: Any, upper: Any) -> Any:
    """Return the midpoints, as float32 that still separate the two."""
    middle = ((np.asarray(lower, np.float64) + upper) / 2).astype(np.float32)
    return np.where(middle > lower, middle, np.float32(upper))
