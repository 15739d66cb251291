"""How sure an F1, and a lead of one head over another, is: the paired bootstrap over images.

Efron and Tibshirani, An Introduction to the Bootstrap, 1993: percentile intervals. Every head is judged on
the same resampled images, so what makes an image hard for all of them cancels in their difference.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from toolkit.metrics import per_image_counts

Metric = Literal["micro", "macro", "samples"]
Draws = NDArray[np.float64]

SAMPLES = 1000
LEVEL = 0.95
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


def resampled_f1(
    Y_true: sp.csr_array,
    predictions: Mapping[str, sp.csr_array],
    metric: Metric,
    *,
    samples: int = SAMPLES,
    seed: int = 0,
) -> dict[str, Draws]:
    """Return the F1 of each head on `samples` resamples of the N images, (B,) float64, alike for all heads.

    Parameters
    ----------
    Y_true : csr_array (N, L) bool
    predictions : mapping of head to csr_array (N, L) bool
    metric : {"micro", "macro", "samples"}
        Macro over the tags that have a positive in the resample.
    """
    N = Y_true.shape[0]
    random = np.random.default_rng(seed)
    times = random.multinomial(N, np.full(N, 1 / N), size=samples).astype(np.float64)  # (B, N)
    score = _by_tags if metric == "macro" else _by_images
    return {head: score(Y_true, predicted, times, metric) for head, predicted in predictions.items()}


def _by_images(Y_true: sp.csr_array, predicted: sp.csr_array, times: Draws, metric: Metric) -> Draws:
    counts = per_image_counts(Y_true, predicted).astype(np.float64)
    if metric == "samples":
        tp, fp, fn = counts.T
        size = 2 * tp + fp + fn
        each = np.divide(2 * tp, size, out=np.zeros_like(size), where=size > 0)
        mean: Draws = times @ each / len(each)
        return mean
    tp, fp, fn = (times @ counts).T
    size = 2 * tp + fp + fn
    out: Draws = np.divide(2 * tp, size, out=np.zeros_like(size), where=size > 0)
    return out


def _by_tags(Y_true: sp.csr_array, predicted: sp.csr_array, times: Draws, _: Metric) -> Draws:
    hits = Y_true.multiply(predicted).tocsr()
    truth, guess, both = (matrix.astype(np.float64) for matrix in (Y_true, predicted, hits))
    out = np.empty(len(times))
    for start in range(0, len(times), _BLOCK):
        weights = times[start : start + _BLOCK]
        support, given, tp = (np.asarray(weights @ matrix) for matrix in (truth, guess, both))
        f1 = np.divide(2 * tp, support + given, out=np.zeros_like(tp), where=support + given > 0)
        seen = support > 0
        found = np.where(seen, f1, 0).sum(axis=1)
        out[start : start + _BLOCK] = found / np.maximum(seen.sum(axis=1), 1)
    return out
