"""Rules that choose the best tags of each image: a fixed number, or as many as its scores suggest."""

import logging
from dataclasses import dataclass
from typing import Annotated, Any, Self

import numpy as np
import scipy.sparse as sp
from msgspec import Meta
from scipy.special import expit, logit

from toolkit.arrays.ranking import best_columns
from toolkit.arrays.types import BoolArray, Float32Array, Float64Array, RowNumbers
from toolkit.errors import OptionError
from toolkit.evaluation.calibration import CLIP, clipped_logits, non_negative_logistic, tuning_rows
from toolkit.evaluation.decisions.base import (
    DecisionRule,
    MinTags,
    ScoreMatrix,
    checked,
    decide_by_blocks,
    positives,
)

logger = logging.getLogger(__name__)

CLIPS = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
STEP = 0.005  # logits are rounded to steps: millions of them become a few thousand different values
RANKED = 256  # tags of an image ranked at first; more if its set turns out larger


@dataclass(kw_only=True, eq=False)
class TopK(DecisionRule):
    """The K best tags of every image."""

    name = "top-k"
    tuned = False

    k: Annotated[int, Meta(ge=1, le=2**31 - 1)]
    min_tags: MinTags = 0

    @classmethod
    def from_text(cls, value: str, *, min_tags: int) -> Self | None:
        """Build the rule from K, 1 or more."""
        try:
            k = int(value)
        except ValueError:
            return None
        return cls(k=k, min_tags=min_tags) if k >= 1 else None

    def fit(self, scores: ScoreMatrix, Y: Any) -> Self:  # noqa: ARG002, RUF100 - the protocol's signature
        """Return itself: nothing is tuned."""
        return self

    def apply(self, scores: ScoreMatrix) -> sp.csr_array:
        """Return K tags an image (all, if there are fewer); of equal scores the first column wins."""

        def decide(block: Float32Array) -> BoolArray:
            picked = np.zeros(block.shape, bool)
            np.put_along_axis(picked, best_columns(block, max(self.k, self.min_tags)), True, axis=1)
            return picked

        return decide_by_blocks(scores, decide)

    def n_needed(self, n_tags: int) -> int:
        """Return K."""
        return min(max(self.k, self.min_tags), n_tags)

    def describe(self) -> str:
        """Return name and K."""
        return f"top-k {self.k}"


@dataclass(kw_only=True, eq=False)
class ExpectedF1(DecisionRule):
    """For every image the set of tags whose expected F1 is highest; for samples-F1.

    With calibrated probabilities p, sorted, the set is the best k with ``k = argmax 2 sum_{i<=k} p_i / (k +
    sum_j p_j)``: the ratio of expectations for the expectation of the ratio (Dembczynski, Waegeman, Cheng and
    Huellermeier, NIPS 2011, maximise the latter exactly; at several tags an image the two hardly differ).
    Every image gets at least one tag. `fit` learns the calibration by log-loss: a slope and an intercept for
    all tags, and the level of `CLIPS` at which scores are clipped.

    The intercept makes the sum over all tags right at any level; the level decides how the sum is spread.
    Samples-F1 at 1e-3 and at 1e-5: of overconfident scores that are smooth down to zero (6,941 drawn tags,
    28 an image) .231 and .239, of votes of 50 neighbours drawn from the same .229 and .195, of knn on corel5k
    .285 and .260.
    """

    name = "expected-f1"

    min_tags: MinTags = 0
    slope: Annotated[float, Meta(ge=0)] | None = None
    intercept: float = 0.0
    clip: Annotated[float, Meta(gt=0, lt=0.5)] = CLIP

    def fit(self, scores: ScoreMatrix, Y: Any) -> Self:
        """Calibrate on scores (N, L) and the truth Y (N, L), dense or sparse."""
        truth = positives(Y)
        rows = tuning_rows(truth.shape[0], truth.shape[1], seed=0)
        y = truth[rows].toarray().ravel()
        if y.all() or not y.any():
            logger.warning("all tags or none are positive: the scores are used as probabilities")
            self.slope, self.intercept, self.clip = 1.0, 0.0, CLIP
            return self
        logits = clipped_logits(checked(np.asarray(scores[rows])).ravel(), min(CLIPS))
        fits = [(*_calibrated(logits, y, clip), clip) for clip in CLIPS]
        _, self.slope, self.intercept, self.clip = min(fits)
        return self

    def calibrated(self, scores: Float32Array) -> Float32Array:
        """Return the probabilities of scores, same shape; `OptionError` if the rule is not tuned."""
        if self.slope is None:
            raise OptionError(f"decision rule {self.name!r} is not tuned; call fit(scores, Y) first")
        logits = clipped_logits(scores, self.clip)
        return np.asarray(expit(np.float32(self.slope) * logits + np.float32(self.intercept)))

    def apply(self, scores: ScoreMatrix) -> sp.csr_array:
        """Return each image's best set; of equal scores the first column wins."""

        def decide(block: Float32Array) -> BoolArray:
            total = self.calibrated(block).sum(axis=1, dtype=np.float64)
            picked = np.zeros(block.shape, bool)
            self._choose(block, total, np.arange(len(block)), RANKED, picked)
            return picked

        return decide_by_blocks(scores, decide)

    def _choose(
        self, block: Float32Array, total: Float64Array, rows: RowNumbers, K: int, picked: BoolArray
    ) -> None:
        """Mark in `picked` (n, L) the best sets of some rows, ranking only their K best tags at first.

        As p falls, the ratio rises with k to its one peak: a set smaller than K is the best of all sizes.
        """
        K = min(max(K, self.min_tags), block.shape[1])
        columns = best_columns(block[rows], K)
        ranked = self.calibrated(np.take_along_axis(block[rows], columns, axis=1))
        expected = np.cumsum(ranked, axis=1, dtype=np.float64) / (np.arange(1, K + 1) + total[rows][:, None])
        size = np.argmax(expected, axis=1) + 1
        settled = (size < K) | (block.shape[1] == K)
        inside = (np.arange(K) < np.maximum(size, self.min_tags)[:, None]) & settled[:, None]
        picked[np.repeat(rows, K)[inside.ravel()], columns[inside]] = True
        if not settled.all():
            self._choose(block, total, rows[~settled], 4 * K, picked)


def _calibrated(logits: Float32Array, y: BoolArray, clip: float) -> tuple[float, float, float]:
    """Return log-loss, slope and intercept of logits (n,) clipped at the logit of `clip`, against y (n,)."""
    most = float(logit(1 - clip))
    step = np.rint(np.clip(logits, -most, most) / STEP).astype(np.int32)
    first = int(step.min())
    every = np.bincount(step - first).astype(np.float64)
    positive = np.bincount(step[y] - first, minlength=len(every)).astype(np.float64)
    z = (first + np.arange(len(every))) * STEP
    slope, intercept = non_negative_logistic(
        np.append(z, z)[:, None], np.arange(2 * len(z)) < len(z), np.append(positive, every - positive)
    )
    at = slope * z + intercept
    loss = (every @ np.logaddexp(0, at) - positive @ at) / len(y)
    return float(loss), slope, intercept
