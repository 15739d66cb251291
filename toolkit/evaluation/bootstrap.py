"""How sure a score, and a lead of one head over another, is: the paired bootstrap over images.

Efron and Tibshirani, An Introduction to the Bootstrap, 1993: percentile intervals. Every head is judged on
the same resampled images, so what makes an image hard for all of them cancels in their difference.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from toolkit.evaluation.metrics import TAG_BLOCK, per_image_counts

Draws = NDArray[np.float64]

SAMPLES = 1000
LEVEL = 0.95
METRICS = ("micro_f1", "macro_f1", "macro_f1_all", "samples_f1", "micro_precision", "micro_recall")
"""What is drawn: the names of `Metrics`."""
MAP_SAMPLES = 200  # of mAP, which takes a pass over all scores for each tag
_BLOCK = 64  # resamples at a time: 64 x 6,941 tags in float64 are 4 MB


@dataclass(frozen=True)
class Interval:
    """A percentile interval."""

    low: float
    high: float

    @classmethod
    def of(cls, draws: Draws, level: float = LEVEL) -> "Interval":
        """Return the central `level` of the draws (B,)."""
        low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
        return cls(float(low), float(high))

    def excludes_zero(self) -> bool:
        """Return whether 0 lies outside."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True, eq=False)
class Resampled:
    """Heads measured on the same resamples.

    Attributes
    ----------
    draws : dict of head to dict of metric to ndarray (B,) float64
        One value a resample; the metrics are `METRICS` and, where it was asked for, ``map``.
    """

    draws: dict[str, dict[str, Draws]]

    def interval(self, head: str, metric: str, level: float = LEVEL) -> Interval:
        """Return the interval of a head's metric."""
        return Interval.of(self.draws[head][metric], level)

    def lead(self, head: str, other: str, metric: str, level: float = LEVEL) -> Interval:
        """Return the interval of how far `head` is ahead of `other`; one that holds 0 is noise."""
        return Interval.of(self.draws[head][metric] - self.draws[other][metric], level)


def resample(
    Y_true: sp.csr_array,
    predictions: Mapping[str, sp.csr_array],
    *,
    groups: NDArray[Any] | None = None,
    map_draws: Mapping[str, Draws] | None = None,
    samples: int = SAMPLES,
    seed: int = 0,
) -> Resampled:
    """Measure every head on `samples` resamples of the N images, alike for all heads.

    Parameters
    ----------
    Y_true : csr_array (N, L) bool
    predictions : mapping of head to csr_array (N, L) bool
    groups : ndarray (N,), optional
        Images of one group, such as near-duplicates, are drawn together: as one, they tell less.
    map_draws : mapping of head to ndarray, optional
        What `resampled_map` returned for the same images and groups.

    Notes
    -----
    Macro is over the tags that have a positive in the resample. What is undefined is 0, as in
    `toolkit.evaluation.metrics`.
    """
    N, L = Y_true.shape
    parts = {head: _Counted.of(Y_true, predicted) for head, predicted in predictions.items()}
    truth = _seen(Y_true, Y_true)
    draws = {head: {metric: np.empty(samples) for metric in METRICS} for head in predictions}
    for block, times in _resamples(N, groups, samples, seed):
        support = np.asarray(times @ truth)
        for head, counted in parts.items():
            for metric, values in counted.measured(times, support, L).items():
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
) -> Draws:
    """Return mAP on the first `samples` of the resamples that `resample` draws with that seed, (samples,).

    Parameters
    ----------
    Y_true : csr_array (N, L) bool
    scores : ndarray (N, L) float32, in memory or mapped
    groups : ndarray (N,), optional
        As `resample` takes them.

    Notes
    -----
    Mean over the tags that have a positive in the resample; 0 where none has. Equal scores count as one cut,
    as in `average_precision`.
    """
    times = np.vstack([block for _, block in _resamples(Y_true.shape[0], groups, samples, seed)])
    weights = np.ascontiguousarray(times.T, np.float32)  # (N, B): an image's resamples lie together
    columns = Y_true.tocsc()
    total, counted = np.zeros(samples), np.zeros(samples)
    for start in range(0, Y_true.shape[1], TAG_BLOCK):
        block = np.asarray(scores[:, start : start + TAG_BLOCK])
        for tag in range(block.shape[1]):
            at = slice(columns.indptr[start + tag], columns.indptr[start + tag + 1])
            positives = columns.indices[at][columns.data[at].astype(bool)]
            if len(positives):
                support = weights[positives].sum(axis=0, dtype=np.float64)
                total += _ratio(_gained_precision(block[:, tag], positives, weights), support)
                counted += support > 0
    return _ratio(total, counted)


def _gained_precision(scores: NDArray[np.float32], positives: NDArray[Any], weights: Any) -> Draws:
    """Return, for each resample, the sum over a tag's positives of the precision at their cut, (B,)."""
    order = np.argsort(-scores, kind="stable")
    # the cut of a positive lies after the last of the scores equal to its own
    ends = np.searchsorted(-scores[order], -scores[positives], side="right")
    cuts, which = np.unique(ends, return_inverse=True)
    begins = np.append(0, cuts[:-1])
    predicted = np.add.reduceat(weights[order[: cuts[-1]]], begins, axis=0).cumsum(axis=0, dtype=np.float64)
    found = np.zeros_like(predicted)
    np.add.at(found, which, weights[positives])
    precision = _ratio(found.cumsum(axis=0), predicted)
    out: Draws = (found * precision).sum(axis=0)
    return out


def _resamples(n: int, groups: NDArray[Any] | None, samples: int, seed: int) -> Iterator[tuple[slice, Draws]]:
    """Yield how often each resample holds each image, (b, N), a block of resamples at a time."""
    number = np.arange(n) if groups is None else np.unique(groups, return_inverse=True)[1].ravel()
    many = int(number.max(initial=-1)) + 1
    random = np.random.default_rng(seed)
    for start in range(0, samples, _BLOCK):
        block = slice(start, min(start + _BLOCK, samples))
        drawn = random.multinomial(many, np.full(many, 1 / many), size=block.stop - start)
        yield block, drawn.astype(np.float64)[:, number]


@dataclass(frozen=True, eq=False)
class _Counted:
    """What a head got right and wrong, by image and by tag: all that its metrics are made of."""

    by_image: Draws  # (N, 3): true positives, false positives, false negatives
    f1: Draws  # (N,)
    guesses: sp.csr_array  # (N, tags with a positive)
    hits: sp.csr_array

    @classmethod
    def of(cls, Y_true: sp.csr_array, predicted: sp.csr_array) -> "_Counted":
        counts = per_image_counts(Y_true, predicted).astype(np.float64)
        tp, fp, fn = counts.T
        guesses = _seen(Y_true, predicted)
        hits = sp.csr_array(guesses.multiply(_seen(Y_true, Y_true)))
        return cls(counts, _ratio(2 * tp, 2 * tp + fp + fn), guesses, hits)

    def measured(self, times: Draws, support: Draws, n_tags: int) -> dict[str, Draws]:
        """Return every metric on resamples that hold each image `times` (b, N) times."""
        found, wrong, missed = (times @ self.by_image).T
        # no support leaves no hit: such a tag adds 0 to the sum
        each = _ratio(2 * np.asarray(times @ self.hits), support + np.asarray(times @ self.guesses))
        total = each.sum(axis=1)
        return {
            "micro_f1": _ratio(2 * found, 2 * found + wrong + missed),
            "macro_f1": total / np.maximum((support > 0).sum(axis=1), 1),
            "macro_f1_all": total / n_tags,
            "samples_f1": times @ self.f1 / times.sum(axis=1),
            "micro_precision": _ratio(found, found + wrong),
            "micro_recall": _ratio(found, found + missed),
        }


def _seen(Y_true: sp.csr_array, Y: sp.csr_array) -> sp.csr_array:
    """Return the columns of Y that have a positive among all images: others can never count."""
    support = np.bincount(Y_true.indices[Y_true.data.astype(bool)], minlength=Y_true.shape[1])
    return sp.csr_array(Y[:, np.flatnonzero(support)]).astype(np.float64)


def _ratio(numerator: Draws, denominator: Draws) -> Draws:
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0)
