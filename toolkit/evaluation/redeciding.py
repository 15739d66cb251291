"""Decide again from the scores kept of each image, and say which images all scores might decide otherwise.

Kept are the K best scores of an image and the sum of the others (`TopScores`). No other tag scores above the
K-th, so for an image a decision from what is kept equals that from all scores

- by thresholds, where no tag that is not kept has a threshold the K-th score reaches;
- by the K' best tags, where K' is at most K;
- by expected F1, where the set is smaller than K, and the same however the sum is spread over the others;
- by any rule, where all tags are kept, or all others score 0.

`doubtful` marks the images for which none of this holds.
"""

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from toolkit.evaluation.decisions.base import DecisionRule
from toolkit.evaluation.decisions.ranked import ExpectedF1, TopK
from toolkit.evaluation.decisions.thresholds import Fixed, Global, Thresholds
from toolkit.evaluation.topscores import TopScores
from toolkit.runtime.messages import counted

logger = logging.getLogger(__name__)

Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]

SPREAD = 16  # points of the calibration curve from which the tail's sum is bounded


@dataclass(frozen=True, eq=False)
class Redecision:
    """What a rule decides from the scores kept.

    Attributes
    ----------
    predicted : csr_array (N, L) bool
        Images without an embedding have no tags.
    doubtful : ndarray (N,) bool
        Images that all scores might decide otherwise.
    """

    predicted: sp.csr_array
    doubtful: Mask


def redecide(rule: DecisionRule, top: TopScores) -> Redecision:
    """Apply a tuned rule to the scores kept; a warning counts the doubtful images, if any.

    Raises
    ------
    OptionError
        The rule is not tuned, or was tuned for another number of tags.
    """
    predicted = rule.apply(top)
    seen = sp.csr_array((top.readable.astype(bool), (np.arange(len(top.rest)),) * 2))
    unsure = doubtful(rule, top)
    if unsure.any():
        logger.warning(
            "%s of %s might be decided otherwise from all scores: %s may reach below the best %s kept "
            "of each; let the head score them again to be sure",
            f"{unsure.sum():,}",
            counted(len(unsure), "image"),
            rule.describe(),
            top.columns.shape[1],
        )
    return Redecision(sp.csr_array(seen @ predicted, dtype=bool), unsure)


def doubtful(rule: DecisionRule, top: TopScores) -> Mask:
    """Return the images that all scores might decide otherwise than the scores kept, (N,)."""
    known: Mask = (top.rest == 0) | ~top.readable
    unsure: Mask
    if known.all():
        return np.zeros_like(known)
    if isinstance(rule, Thresholds):
        unsure = _reached(rule, top) | (rule.min_tags > top.columns.shape[1])
    elif isinstance(rule, TopK):
        unsure = np.full(len(top.rest), max(rule.k, rule.min_tags) > top.columns.shape[1])
    elif isinstance(rule, ExpectedF1):
        unsure = _unsettled(rule, top)
    else:  # a rule of another package: nothing is known about it
        unsure = np.ones(len(top.rest), bool)
    unsure = unsure & ~known
    return unsure


def _reached(rule: Thresholds, top: TopScores) -> Mask:
    """Return where the K-th score reaches the threshold of a tag that is not kept."""
    L = len(top.tags)
    cuts = np.broadcast_to(rule.cuts(L), (L,))
    last = top.scores[:, -1]
    of_all = np.searchsorted(np.sort(cuts), last, side="right")
    of_kept = (cuts[top.columns] <= last[:, None]).sum(axis=1)
    reached: Mask = of_all > of_kept
    return reached


def _unsettled(rule: ExpectedF1, top: TopScores) -> Mask:
    ranked = rule.calibrated(top.scores)
    kept = ranked.sum(axis=1, dtype=np.float64)
    low, high = (rule.sizes(ranked, kept + tail) for tail in _tails(rule, top))
    K = top.columns.shape[1]
    unsettled: Mask = (low != high) | (high >= K) | (rule.min_tags > K)
    return unsettled


def _tails(rule: ExpectedF1, top: TopScores) -> tuple[Floats, Floats]:
    """Return the least and the most that the calibrated scores of the tags not kept can add up to, (N,).

    Among scores of a given mean in [0, last] a sum of ``g`` lies between the curve's lower and upper hull at
    the mean: between the lowest and highest chord over it, here of `SPREAD` points and the mean itself.
    """
    others = top.shape[1] - top.columns.shape[1]
    last = top.scores[:, -1].astype(np.float64)
    mean = np.minimum(top.rest / others, last)
    share = np.append(0, np.geomspace(1e-4, 1, SPREAD))
    at = last[:, None] * share
    curve = rule.calibrated(at.astype(np.float32)).astype(np.float64)
    low = rule.calibrated(mean.astype(np.float32)).astype(np.float64)
    high = low.copy()
    for left in range(SPREAD):
        for right in range(left + 1, SPREAD + 1):
            width = at[:, right] - at[:, left]
            over = (at[:, left] <= mean) & (mean <= at[:, right]) & (width > 0)
            part = np.divide(mean - at[:, left], width, out=np.zeros_like(mean), where=over)
            chord = (1 - part) * curve[:, left] + part * curve[:, right]
            low = np.where(over, np.minimum(low, chord), low)
            high = np.where(over, np.maximum(high, chord), high)
    return others * low, others * high


@dataclass(frozen=True, eq=False)
class Retuned:
    """A rule tuned on the scores kept.

    Attributes
    ----------
    rule : DecisionRule
    exact : bool
        Whether all scores are certain to have tuned it alike.
    """

    rule: DecisionRule
    exact: bool


def retune(rule: DecisionRule, top: TopScores, Y: Any) -> Retuned:
    """Tune a rule on the scores kept and the truth Y (N, L); a warning says if all scores might differ.

    A global threshold is that of all scores wherever no cut at or below a K-th score can have a higher F1:
    such a cut predicts what is kept above it at least, and finds what is kept above it and, at most, all
    positives not kept of the images whose K-th score reaches it. Other rules have no such bound; they are
    exact where all tags are kept or nothing is tuned.
    """
    tuned = rule.fit(top, Y)
    exact = bool((top.rest == 0).all()) or isinstance(rule, Fixed | TopK)
    if not exact and isinstance(tuned, Global):
        exact = _beyond_doubt(tuned, top, sp.csr_array(Y, dtype=bool))
    if not exact:
        logger.warning(
            "%s was tuned on the best %s scores of each image; all scores might tune it otherwise",
            tuned.describe(),
            top.columns.shape[1],
        )
    return Retuned(tuned, exact)


def _beyond_doubt(rule: Global, top: TopScores, truth: sp.csr_array) -> bool:
    """Return whether no cut at or below a K-th score can beat the threshold tuned."""
    cut = float(rule.cuts(1)[0])
    last = top.scores[:, -1]
    if cut <= last.max():
        return False
    hit = _kept(truth, top.columns)
    found, kept = np.sort(top.scores[hit]), np.sort(top.scores.ravel())
    missed = np.asarray(truth.sum(axis=1)).ravel() - hit.sum(axis=1)
    order = np.argsort(last, kind="stable")
    after = np.append(np.cumsum(missed[order][::-1])[::-1], 0)  # positives not kept, by K-th score
    cuts = np.concatenate([found, last])
    cuts = cuts[cuts <= last.max()]
    hits = _reaching(found, cuts) + after[np.searchsorted(last[order], cuts)]
    most = 2 * hits / (_reaching(kept, cuts) + truth.nnz)
    tuned = 2 * _reaching(found, cut) / (_reaching(kept, cut) + truth.nnz)
    return bool(most.max(initial=0) < tuned)


def _reaching(ascending: NDArray[np.float32], cuts: Any) -> Any:
    return len(ascending) - np.searchsorted(ascending, cuts)


def _kept(truth: sp.csr_array, columns: NDArray[np.int32]) -> Mask:
    """Return which of the columns (N, K) are positives of their image."""
    N, L = truth.shape
    row, place = truth.nonzero()
    inside = np.isin(np.arange(N)[:, None] * L + columns.astype(np.int64), row.astype(np.int64) * L + place)
    return inside
