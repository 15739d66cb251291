"""Confidence intervals of metrics and of differences between heads: the paired bootstrap over images.

Percentile intervals, see Efron and Tibshirani, An Introduction to the Bootstrap, 1993. All heads are measured
on the same resamples, so the difficulty of an image cancels in their difference.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from toolkit.arrays.sampling import group_numbers
from toolkit.arrays.types import Float32Array, Float64Array, RowNumbers
from toolkit.evaluation.metrics import TAG_BLOCK, per_image_counts, ratio

SAMPLES = 1000
LEVEL = 0.95  # of all intervals
METRICS = ("micro_f1", "macro_f1", "macro_f1_all", "samples_f1", "micro_precision", "micro_recall")
"""The fields of `Metrics` that are resampled."""
MAP_SAMPLES = 200  # mAP takes a pass over all scores for each tag
_BLOCK = 64  # resamples at a time: 64 x 6,941 tags in float64 are 4 MB


@dataclass(frozen=True)
class Interval:
    """A percentile interval of level `LEVEL`."""

    low: float
    high: float

    @classmethod
    def of(cls, draws: Float64Array) -> "Interval":
        """Return the central interval of the draws (B,)."""
        low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return cls(float(low), float(high))


@dataclass(frozen=True, eq=False)
class Resampled:
    """Heads measured on the same resamples.

    Attributes
    ----------
    draws : dict of head to dict of metric to ndarray (B,) float64
        One value a resample. The metrics are `METRICS` and, if it was measured, ``map``.
    """

    draws: dict[str, dict[str, Float64Array]]

    def interval(self, head: str, metric: str) -> Interval:
        """Return the interval of a head's metric."""
        return Interval.of(self.draws[head][metric])

    def lead(self, head: str, other: str, metric: str) -> Interval:
        """Return the interval of the metric of `head` less that of `other`; one that holds 0 is noise."""
        return Interval.of(self.draws[head][metric] - self.draws[other][metric])


def resample(
    Y_true: sp.csr_array,
    predictions: Mapping[str, sp.csr_array],
    *,
    groups: NDArray[Any] | None = None,
    map_draws: Mapping[str, Float64Array] | None = None,
    samples: int = SAMPLES,
    seed: int = 0,
) -> Resampled:
    """Measure every head on `samples` resamples of the N images, the same for all heads.

    Macro is over the tags that have a positive in the resample. Undefined values count 0.

    Parameters
    ----------
    Y_true : csr_array (N, L) bool
    predictions : mapping of head to csr_array (N, L) bool
    groups : ndarray (N,), optional
        Images of one group, such as near-duplicates, are drawn together, as one observation.
    map_draws : mapping of head to ndarray, optional
        Results of `resampled_map` for the same images and groups.
    """
    N, L = Y_true.shape
    seen = np.flatnonzero(np.bincount(Y_true.indices[Y_true.data.astype(bool)], minlength=L))
    counts = {head: _Counts(Y_true, predicted, seen) for head, predicted in predictions.items()}
    truth = _columns(Y_true, seen)
    draws = {head: {metric: np.empty(samples) for metric in METRICS} for head in predictions}
    for block, times in _resamples(N, groups, samples, seed):
        support = np.asarray(times @ truth)
        for head, counted in counts.items():
            for metric, values in counted.metrics(times, support, L).items():
                draws[head][metric][block] = values
    for head, values in (map_draws or {}).items():
        draws[head]["map"] = values
    return Resampled(draws)


def resampled_map(
    Y_true: sp.csr_array,
    scores: Any,
    *,
    groups: NDArray[Any] | None = None,
    samples: int = MAP_SAMPLES,
    seed: int = 0,
) -> Float64Array:
    """Return mAP on the first `samples` of the resamples of `resample`, (samples,).

    Takes the truth, groups and seed of `resample`, and scores (N, L) float32, in memory or mapped. Mean over
    the tags that have a positive in the resample; 0 without any. AP is that of `average_precision`.
    """
    times = np.vstack([block for _, block in _resamples(Y_true.shape[0], groups, samples, seed)])
    weights = np.ascontiguousarray(times.T, np.float32)  # (N, B): an image's resamples lie together
    columns = Y_true.tocsc()
    total, n_tags = np.zeros(samples), np.zeros(samples)
    for start in range(0, Y_true.shape[1], TAG_BLOCK):
        block = np.asarray(scores[:, start : start + TAG_BLOCK])
        for tag in range(block.shape[1]):
            at = slice(columns.indptr[start + tag], columns.indptr[start + tag + 1])
            positives = columns.indices[at][columns.data[at].astype(bool)]
            if len(positives):
                support = weights[positives].sum(axis=0, dtype=np.float64)
                total += ratio(_gained_precision(block[:, tag], positives, weights), support)
                n_tags += support > 0
    return ratio(total, n_tags)


def _gained_precision(scores: Float32Array, positives: NDArray[Any], weights: Float32Array) -> Float64Array:
    """Return, for each resample, the sum over a tag's positives of the precision at their cut, (B,)."""
    order = np.argsort(-scores, kind="stable")
    # the cut of a positive lies after the last of the scores equal to its own
    ends = np.searchsorted(-scores[order], -scores[positives], side="right")
    cuts, cut_of = np.unique(ends, return_inverse=True)
    begins = np.append(0, cuts[:-1])
    predicted = np.add.reduceat(weights[order[: cuts[-1]]], begins, axis=0).cumsum(axis=0, dtype=np.float64)
    hits = np.zeros_like(predicted)
    np.add.at(hits, cut_of, weights[positives])
    return np.asarray((hits * ratio(hits.cumsum(axis=0), predicted)).sum(axis=0))


def _resamples(
    n: int, groups: NDArray[Any] | None, samples: int, seed: int
) -> Iterator[tuple[slice, Float64Array]]:
    """Yield how often each resample holds each image, (b, N), a block of resamples at a time."""
    numbers, n_groups = group_numbers(n, groups)
    random = np.random.default_rng(seed)
    for start in range(0, samples, _BLOCK):
        block = slice(start, min(start + _BLOCK, samples))
        drawn = random.multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=block.stop - start)
        yield block, drawn.astype(np.float64)[:, numbers]


class _Counts:
    """Right and wrong predictions of a head by image and by tag, from which its metrics are computed."""

    def __init__(self, Y_true: sp.csr_array, predicted: sp.csr_array, seen: RowNumbers) -> None:
        self.by_image = per_image_counts(Y_true, predicted).astype(np.float64)  # (N, 3)
        tp, fp, fn = self.by_image.T
        self.f1 = ratio(2 * tp, 2 * tp + fp + fn)
        self.predicted = _columns(predicted, seen)  # (N, tags with a positive)
        self.hits = sp.csr_array(self.predicted.multiply(_columns(Y_true, seen)))

    def metrics(self, times: Float64Array, support: Float64Array, n_tags: int) -> dict[str, Float64Array]:
        """Return every metric on resamples that hold each image `times` (b, N) times."""
        tp, fp, fn = (times @ self.by_image).T
        # a tag without support has no hit, so it adds 0 to the sum
        f1 = ratio(2 * np.asarray(times @ self.hits), support + np.asarray(times @ self.predicted))
        total = f1.sum(axis=1)
        return {
            "micro_f1": ratio(2 * tp, 2 * tp + fp + fn),
            "macro_f1": total / np.maximum((support > 0).sum(axis=1), 1),
            "macro_f1_all": total / n_tags,
            "samples_f1": times @ self.f1 / times.sum(axis=1),
            "micro_precision": ratio(tp, tp + fp),
            "micro_recall": ratio(tp, tp + fn),
        }


def _columns(Y: sp.csr_array, seen: RowNumbers) -> sp.csr_array:
    return sp.csr_array(Y[:, seen]).astype(np.float64)
