"""Rules that choose the best tags of each image: as many as given, or as many as its own scores ask for."""

import logging
from typing import Any, Self

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.special import expit, logit

from toolkit.arrays.ranking import best_columns
from toolkit.errors import OptionError
from toolkit.evaluation.calibration import CLIP, clipped_logits, non_negative_logistic, tuning_rows
from toolkit.evaluation.decisions.base import ScoreMatrix, Scores, checked, decide_by_blocks, positives

logger = logging.getLogger(__name__)

CLIPS = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
STEP = 0.005  # logits are counted in steps: millions of them are a few thousand different ones
RANKED = 256  # tags ranked of an image at first; more where its set turns out larger


class TopK:
    """The K best tags of every image."""

    name = "top-k"

    def __init__(self, *, k: int, min_tags: int = 0) -> None:
        self.k = k
        self.min_tags = min_tags

    def fit(self, scores: ScoreMatrix, Y: Any) -> Self:  # noqa: ARG002, RUF100 - the protocol's signature
        """Return itself: there is nothing to tune."""
        return self

    def apply(self, scores: ScoreMatrix) -> sp.csr_array:
        """Return K tags an image (all, where there are fewer); of equal scores the first column wins."""

        def chosen(block: Scores) -> NDArray[np.bool_]:
            picked = np.zeros(block.shape, bool)
            np.put_along_axis(picked, best_columns(block, max(self.k, self.min_tags)), True, axis=1)
            return picked

        return decide_by_blocks(scores, chosen)

    def to_dict(self) -> dict[str, Any]:
        """Return name and options."""
        return {"rule": self.name, "k": self.k, "min_tags": self.min_tags}

    def describe(self) -> str:
        """Return name and K."""
        return f"top-k {self.k}"


class ExpectedF1:
    """For every image the set of tags whose expected F1 is highest; for samples-F1.

    With calibrated probabilities p, sorted, the set is the best k with ``k = argmax 2 sum_{i<=k} p_i / (k +
    sum_j p_j)``: the ratio of expectations for the expectation of the ratio (Dembczynski, Waegeman, Cheng and
    Huellermeier, NIPS 2011, maximise the latter exactly; at several tags an image the two hardly differ).
    Every image gets at least one tag. `fit` learns the calibration: a slope and an intercept for all tags,
    and of `CLIPS` the level below which scores tell nothing more, each by log-loss.

    The sum over all tags comes out right whatever the level (the intercept sees to it); what the level
    decides is how the sum is spread. Samples-F1 at 1e-3 and at 1e-5: of scores that are smooth down to zero
    and too sure (6,941 drawn tags, 28 an image) .231 and .239, of votes of 50 neighbours drawn from the same
    .229 and .195, of knn on corel5k .285 and .260. So it is chosen.
    """

    name = "expected-f1"

    def __init__(
        self,
        *,
        min_tags: int = 0,
        slope: float | None = None,
        intercept: float = 0.0,
        clip: float = CLIP,
    ) -> None:
        self.min_tags = min_tags
        self.slope = slope
        self.intercept = intercept
        self.clip = clip

    def fit(self, scores: ScoreMatrix, Y: Any) -> Self:
        """Calibrate on scores (N, L) and the truth Y (N, L), dense or sparse."""
        truth = positives(Y)
        rows = tuning_rows(truth.shape[0], truth.shape[1], seed=0)
        y = truth[rows].toarray().ravel()
        if y.all() or not y.any():
            logger.warning("no tags to tell apart: the scores are taken for probabilities as they are")
            self.slope, self.intercept, self.clip = 1.0, 0.0, CLIP
            return self
        logits = clipped_logits(checked(np.asarray(scores[rows])).ravel(), min(CLIPS))
        fits = [(*_calibrated(logits, y, clip), clip) for clip in CLIPS]
        _, self.slope, self.intercept, self.clip = min(fits)
        return self

    def calibrated(self, scores: Scores) -> Scores:
        """Return the probabilities of scores, same shape; `OptionError` if the rule is not tuned."""
        if self.slope is None:
            raise OptionError(f"decision rule {self.name!r} is not tuned; call fit(scores, Y) first")
        logits = clipped_logits(scores, self.clip)
        p: Scores = expit(np.float32(self.slope) * logits + np.float32(self.intercept))
        return p

    def apply(self, scores: ScoreMatrix) -> sp.csr_array:
        """Return each image's best set; of equal scores the first column wins."""

        def chosen(block: Scores) -> NDArray[np.bool_]:
            total = self.calibrated(block).sum(axis=1, dtype=np.float64)
            picked = np.zeros(block.shape, bool)
            self._choose(block, total, np.arange(len(block)), RANKED, picked)
            return picked

        return decide_by_blocks(scores, chosen)

    def _choose(
        self, block: Scores, total: NDArray[np.float64], rows: NDArray[np.intp], K: int, picked: Any
    ) -> None:
        """Mark in `picked` (n, L) the best sets of some rows, ranking only their K best tags at first.

        The ratio rises with k up to its one peak, as p falls: a set smaller than K is the best of all sizes.
        """
        K = min(max(K, self.min_tags), block.shape[1])
        columns = best_columns(block[rows], K)
        ranked = self.calibrated(np.take_along_axis(block[rows], columns, axis=1))
        size = self.sizes(ranked, total[rows])
        done = (size < K) | (block.shape[1] == K)
        wanted = np.maximum(size, self.min_tags)
        inside = (np.arange(K) < wanted[:, None]) & done[:, None]
        picked[np.repeat(rows, K)[inside.ravel()], columns[inside]] = True
        if not done.all():
            self._choose(block, total, rows[~done], 4 * K, picked)

    @staticmethod
    def sizes(ranked: Scores, total: NDArray[np.float64]) -> NDArray[np.intp]:
        """Return the best size, 1 to K, of sets of probabilities (n, K), best first, all tags' sums (n,)."""
        k = np.arange(1, ranked.shape[1] + 1)
        found = np.cumsum(ranked, axis=1, dtype=np.float64)
        best: NDArray[np.intp] = np.argmax(found / (k + total[:, None]), axis=1) + 1
        return best

    def to_dict(self) -> dict[str, Any]:
        """Return name, option and calibration."""
        return {
            "rule": self.name,
            "min_tags": self.min_tags,
            "slope": self.slope,
            "intercept": self.intercept,
            "clip": self.clip,
        }

    def describe(self) -> str:
        """Return the name."""
        return f"expected-f1{f', at least {self.min_tags}' if self.min_tags else ''}"


def _calibrated(logits: Scores, y: NDArray[np.bool_], clip: float) -> tuple[float, float, float]:
    """Return log-loss, slope and intercept of logits (n,) clipped at the logit of `clip`, against y (n,)."""
    most = float(logit(1 - clip))
    step = np.rint(np.clip(logits, -most, most) / STEP).astype(np.int32)
    first = int(step.min())
    every, found = (np.bincount(each - first).astype(np.float64) for each in (step, step[y]))
    found = np.append(found, np.zeros(len(every) - len(found)))
    z = (first + np.arange(len(every))) * STEP
    slope, intercept = non_negative_logistic(
        np.append(z, z)[:, None], np.arange(2 * len(z)) < len(z), np.append(found, every - found)
    )
    at = slope * z + intercept
    loss = (every @ np.logaddexp(0, at) - found @ at) / len(y)
    return float(loss), slope, intercept
