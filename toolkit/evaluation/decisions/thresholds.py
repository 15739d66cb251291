"""Rules that compare scores with thresholds: a fixed one, one for all tags, or one for each tag."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Annotated, Any, Self

import numpy as np
import scipy.sparse as sp
from msgspec import Meta
from scipy.special import expit

from toolkit.arrays.ranking import best_columns
from toolkit.arrays.types import BoolArray, Float32Array, RowNumbers
from toolkit.errors import OptionError
from toolkit.evaluation.decisions.base import DecisionRule, MinTags, ScoreMatrix, decide_by_blocks, logits
from toolkit.evaluation.decisions.cuts import best_threshold
from toolkit.evaluation.decisions.tagcuts import AdjustedGrid, FoldedCuts, RankedPositives, each_sorted_block
from toolkit.runtime.messages import counted

SHRINK = 20.0
"""Number of positives at which a tag's own threshold and the adjusted one have equal weight.

On the sets of `PerTag` values of 2 to 50 give macro-F1s within a point of one another; what grows with it is
micro-F1 (corel5k, knn: .09 at 2, .15 at 20, .19 at 50).
"""
Share = Annotated[float, Meta(ge=0, le=1)]
FOLDS = 3  # LibMultiLabel's number of folds


@dataclass(kw_only=True, eq=False)
class Thresholds(DecisionRule):
    """Base of rules that compare scores with thresholds.

    Attributes
    ----------
    thresholds : list of float, or None
        One for all tags, or one for each; None until tuned.
    """

    min_tags: MinTags = 0
    thresholds: list[Share] | None = None

    def fit(self, scores: ScoreMatrix, Y: Any) -> Self:
        """Tune the thresholds on scores (N, L) and the truth Y (N, L), dense or sparse."""
        if self.tuned:
            self.thresholds = [float(value) for value in self._tune(scores, Y)]
        return self

    def _tune(self, scores: ScoreMatrix, Y: Any) -> Iterable[float]:
        raise NotImplementedError

    def cuts(self, n_tags: int) -> Float32Array:
        """Return the thresholds, (1,) or (L,) float32; `OptionError` if the rule is not tuned."""
        if self.thresholds is None:
            raise OptionError(f"decision rule {self.name!r} is not tuned; call fit(scores, Y) first")
        cut = np.asarray(self.thresholds, dtype=np.float32)
        if cut.size not in (1, n_tags):
            raise OptionError(
                f"the rule was tuned for {counted(cut.size, 'tag')}, these scores have {n_tags}"
            )
        return cut

    def check(self, n_tags: int) -> None:
        """Raise `OptionError` if the thresholds are for another number of tags."""
        if self.thresholds is not None:
            self.cuts(n_tags)

    def apply(self, scores: ScoreMatrix) -> sp.csr_array:
        """Return the tags that score at least their threshold, and the best `min_tags` of every image."""
        cut = self.cuts(scores.shape[1])

        def decide(block: Float32Array) -> BoolArray:
            picked = block >= cut
            if self.min_tags:
                short = np.flatnonzero(picked.sum(axis=1) < self.min_tags)
                picked[short[:, None], best_columns(block[short], self.min_tags)] = True
            return picked

        return decide_by_blocks(scores, decide)

    def extended(self, new: Self) -> Self:
        """Return the rule with the thresholds of `new` after its own, or itself if one serves all tags."""
        if not self.per_tag:
            return self
        return replace(self, thresholds=[*(self.thresholds or ()), *(new.thresholds or ())])

    def _tuned_text(self) -> str:
        return f" (median {np.median(self.thresholds):.3f})" if self.thresholds else ""


class Fixed(Thresholds):
    """One threshold chosen by the user, never tuned."""

    name = "fixed"
    tuned = False

    @classmethod
    def from_text(cls, value: str, *, min_tags: int) -> Self | None:
        """Build the rule from a threshold in [0, 1]."""
        try:
            threshold = float(value)
        except ValueError:
            return None
        return cls(min_tags=min_tags, thresholds=[threshold]) if 0 <= threshold <= 1 else None

    def _tuned_text(self) -> str:
        return f" {self.cuts(1)[0]:.3g}"


class Global(Thresholds):
    """One threshold for all tags, at the highest micro-F1."""

    name = "global"

    def _tune(self, scores: ScoreMatrix, Y: Any) -> Iterable[float]:
        return [best_threshold(scores, Y)[0]]

    def _tuned_text(self) -> str:
        return f" {self.thresholds[0]:.3f}" if self.thresholds else ""


@dataclass(kw_only=True, eq=False)
class LogitAdjusted(Thresholds):
    """Thresholds that one number moves by how common a tag is, at the highest macro-F1.

    Scores' logits less ``tau logit pi_l`` are cut at one value, pi_l being the tag's share of the tuning rows
    (half a positive added): logit adjustment after Menon et al., Long-tail learning via logit adjustment,
    ICLR 2021 (arXiv 2007.07314). Tau and the cut are the only numbers tuned, so rare tags cannot be fitted
    to their noise; tau 0 is one threshold for all.
    """

    name = "logit-adjusted"
    per_tag = True

    tau: Share | None = None

    def _tune(self, scores: ScoreMatrix, Y: Any) -> Iterable[float]:
        common = best_threshold(scores, Y)[0]
        ranked = RankedPositives(scores, Y)
        if not len(ranked.score):
            self.tau = 0.0
            return [common] * scores.shape[1]
        grid = AdjustedGrid(ranked, common)
        each_sorted_block(scores, [np.arange(ranked.n_rows)], grid.count)
        self.tau, thresholds = grid.best()
        return thresholds

    def _tuned_text(self) -> str:
        return f" tau {self.tau:.1f}" if self.tau is not None else ""


class PerTag(Thresholds):
    """One threshold for each tag: that of its highest F1, shrunk towards the logit-adjusted one.

    ``logit t = (n logit t_own + SHRINK logit t_adjusted) / (n + SHRINK)`` with n the tag's positives: few
    positives do not determine a threshold (Lin and Lin, On the thresholding strategy for infrequent labels,
    CIKM 2023). ``t_own`` is the mean, in logits, of the thresholds best on all rows but one of `FOLDS` folds.

    Macro / micro F1 on test rows, mean of 5 random 60/20/20 splits of each of knn and logreg:

    ========================================  =============  =============  =============  ==============
    thresholds                                scene          yeast          corel5k, knn   corel5k, logreg
    ========================================  =============  =============  =============  ==============
    one for all (`Global`)                    .7389 / .7292  .4210 / .6708  .0609 / .2928  .0550 / .2812
    own, shrunk to `Global` (rare: `Global`)  .7400 / .7291  .4762 / .6484  .0683 / .2626  .0602 / .2696
    own                                       .7361 / .7259  .4880 / .6161  .0824 / .0270  .0765 / .0417
    own, in folds                             .7432 / .7307  .4917 / .6184  .0836 / .0880  .0775 / .0833
    micro and macro together, in folds [1]_   .7439 / .7321  .4803 / .6502  .0838 / .0881  .0766 / .0902
    `LogitAdjusted`                           .7405 / .7305  .4823 / .6053  .0818 / .2030  .0734 / .1739
    own, in folds, shrunk to it (this rule)   .7450 / .7323  .4894 / .6194  .0872 / .1415  .0773 / .1824
    ========================================  =============  =============  =============  ==============

    .. [1] LibMultiLabel's: tags in order of their positives, each cut where its F1 over the tags so far, plus
       the micro-F1 of all tags so far, is highest; with this shrinkage .7454, .4856, .0876, .0770 macro.
    """

    name = "per-tag"
    per_tag = True

    def _tune(self, scores: ScoreMatrix, Y: Any) -> Iterable[float]:
        common = best_threshold(scores, Y)[0]
        ranked = RankedPositives(scores, Y)
        if not len(ranked.score):
            return [common] * scores.shape[1]
        folds = _folds(ranked.n_rows)
        grid, folded = AdjustedGrid(ranked, common), FoldedCuts(ranked, folds)
        each_sorted_block(scores, folds, grid.count, folded.count)
        _, thresholds = grid.best()
        best = folded.thresholds()
        weight = ranked.support / (ranked.support + SHRINK)
        known = np.isfinite(best)
        thresholds[known] = expit((weight * logits(best) + (1 - weight) * logits(thresholds))[known])
        return thresholds


def _folds(n: int) -> list[RowNumbers]:
    """Deal n rows into `FOLDS` folds at random; into one if there are fewer than two a fold."""
    if n < 2 * FOLDS:
        return [np.arange(n)]
    fold = np.random.default_rng(0).permutation(np.arange(n) % FOLDS)
    return [np.flatnonzero(fold == each) for each in range(FOLDS)]
