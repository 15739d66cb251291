"""How sure a score, and a lead of one head over another, is: the paired bootstrap over images.

Efron and Tibshirani, An Introduction to the Bootstrap, 1993: percentile intervals. Every head is judged on
the same resampled images, so what makes an image hard for all of them cancels in their difference.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from toolkit.metrics import per_image_counts

Metric = Literal["micro", "macro", "samples"]
Draws = NDArray[np.float64]

SAMPLES = 1000
LEVEL = 0.95
METRICS = ("micro_f1", "macro_f1", "samples_f1", "micro_precision", "micro_recall")
"""What is drawn: the names of `toolkit.metrics.Metrics`."""
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
        One value a resample; the metrics are `METRICS`.
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

    Notes
    -----
    Macro is over the tags that have a positive in the resample. What is undefined is 0, as in
    `toolkit.metrics`.
    """
    times = _times(Y_true.shape[0], groups, samples, seed)
    macro = _macro(Y_true, predictions, times)
    draws = {}
    for head, predicted in predictions.items():
        found = _by_images(Y_true, predicted, times) | {"macro_f1": macro[head]}
        draws[head] = {metric: found[metric] for metric in METRICS}
    return Resampled(draws)


def _times(n: int, groups: NDArray[Any] | None, samples: int, seed: int) -> Draws:
    """Return how often each resample holds each image, (B, N)."""
    number = np.arange(n) if groups is None else np.unique(groups, return_inverse=True)[1].ravel()
    many = int(number.max(initial=-1)) + 1
    drawn = np.random.default_rng(seed).multinomial(many, np.full(many, 1 / many), size=samples)
    times: Draws = drawn.astype(np.float64)[:, number]
    return times


def _by_images(Y_true: sp.csr_array, predicted: sp.csr_array, times: Draws) -> dict[str, Draws]:
    counts = per_image_counts(Y_true, predicted).astype(np.float64)
    tp, fp, fn = counts.T
    each = _ratio(2 * tp, 2 * tp + fp + fn)
    found, wrong, missed = (times @ counts).T
    return {
        "micro_f1": _ratio(2 * found, 2 * found + wrong + missed),
        "micro_precision": _ratio(found, found + wrong),
        "micro_recall": _ratio(found, found + missed),
        "samples_f1": times @ each / times.sum(axis=1),
    }


def _macro(Y_true: sp.csr_array, predictions: Mapping[str, sp.csr_array], times: Draws) -> dict[str, Draws]:
    """Return macro-F1 on each resample; tags without a positive among all images can never count."""
    seen = np.flatnonzero(np.bincount(Y_true.indices[Y_true.data.astype(bool)], minlength=Y_true.shape[1]))
    truth = sp.csr_array(Y_true[:, seen]).astype(np.float64)
    guesses = {head: sp.csr_array(each[:, seen]).astype(np.float64) for head, each in predictions.items()}
    hits = {head: sp.csr_array(guess.multiply(truth)) for head, guess in guesses.items()}
    out = {head: np.empty(len(times)) for head in predictions}
    for rows, weights in _blocks(times):
        support = np.asarray(weights @ truth)
        counted = np.maximum((support > 0).sum(axis=1), 1)
        for head, draws in out.items():
            tp, given = np.asarray(weights @ hits[head]), np.asarray(weights @ guesses[head])
            # no support leaves no hit: such a tag adds 0 to the sum
            draws[rows] = _ratio(2 * tp, support + given).sum(axis=1) / counted
    return out


def _blocks(times: Draws) -> Iterator[tuple[slice, Draws]]:
    for start in range(0, len(times), _BLOCK):
        rows = slice(start, start + _BLOCK)
        yield rows, times[rows]


def _ratio(numerator: Draws, denominator: Draws) -> Draws:
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0)
