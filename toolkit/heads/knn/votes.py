"""Votes of neighbours, and what makes probabilities of them: few numbers, pooled over all tags."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.special import expit, logit

from toolkit.errors import OptionError
from toolkit.evaluation.calibration import non_negative_logistic

Array = NDArray[np.float32]
Ids = NDArray[np.int64]
Coefficients = tuple[float, float]

RAW: Coefficients = (1.0, 0.0)
"""The coefficients that leave smoothed votes as they are."""
SMOOTHING = 0.1
"""Votes that a tag has from nobody, as a share of all, dealt out by its share of the training rows.

No vote says "seldom", and of a rare tag "more seldom", not "never" (ML-kNN, Zhang and Zhou 2007, smooths its
counts likewise). Of 0 to 1 this gave the least log-loss on rows never seen that cost no micro-F1, over scene,
yeast and corel5k.
"""
_CELLS = 50  # to a unit of logit, in which votes are counted to learn coefficients


def as_coefficients(given: tuple[float, ...] | None) -> Coefficients | None:
    """Return the option `calibration` checked; `OptionError` if it is no slope and intercept."""
    if given is None:
        return None
    if len(given) != 2 or given[0] < 0:
        raise OptionError(
            f"option 'calibration' of head 'knn' got {','.join(map(str, given))}; it takes two numbers: "
            "a slope of 0 or more, and an intercept"
        )
    return given[0], given[1]


def votes(sims: Array, ids: Ids, Y: sp.csr_array, k: int, temperature: float) -> sp.csr_array:
    """Return the weighted share (n, L) of the first k neighbours that carry each tag.

    ``vote = sum_j w_j y_j / sum_j w_j`` with ``w_j = exp((s_j - max s) / T)``, the weights of DINO's kNN
    evaluation (arXiv 2104.14294).

    Parameters
    ----------
    sims : ndarray (n, K) float32, descending
    ids : ndarray (n, K)
        Row numbers in Y.
    Y : csr_array (N, L) float32
        The tags of the training rows.
    k : int
    temperature : float
    """
    near, who = sims[:, :k].astype(np.float64), ids[:, :k]
    weights = np.exp((near - near[:, :1]) / temperature)
    weights /= weights.sum(axis=1, keepdims=True)
    n, width = who.shape
    parts = (weights.astype(np.float32).ravel(), who.ravel(), np.arange(0, n * width + 1, width))
    cast: sp.csr_array = sp.csr_array(parts, shape=(n, Y.shape[0])) @ Y
    return cast


def shares(Y: sp.csr_array) -> Array:
    """Return each tag's share of the rows of Y (N, L), (L,) float32, half a row added to both sides."""
    support = np.bincount(Y.indices, minlength=Y.shape[1])
    return ((support + 0.5) / (Y.shape[0] + 1)).astype(np.float32)


def calibrated(cast: Array, share: Array, balance: float, coefficients: Coefficients) -> Array:
    """Return ``sigmoid(a (logit(smoothed vote) - balance logit(share)) + b)``, same shape.

    Parameters
    ----------
    cast : ndarray (n, L) float32
        Votes.
    share : ndarray (L,) float32
        Of the tags (`shares`).
    balance : float
        Above 0 rare tags weigh more.
    coefficients : (a, b)
    """
    slope, intercept = map(np.float32, coefficients)
    out = _smoothed_logits(cast, share)
    out -= np.float32(balance) * logit(share)
    out *= slope
    out += intercept
    return expit(out, out=out)


def _smoothed_logits(cast: Array, share: Array) -> Array:
    """Return the logits of votes smoothed as `SMOOTHING` says."""
    out = cast + np.float32(SMOOTHING) * share
    out /= np.float32(1 + SMOOTHING)
    logit(out, out=out)
    return out


@dataclass(frozen=True)
class Ballot:
    """The votes on n rows whose tags are known, kept sparse, and how good their scores can be.

    All votes of 0 on one tag score alike, so they are counted and never written out.

    Attributes
    ----------
    heard, heard_odds : ndarray (m,) float32
        Smoothed logits of the votes above 0, and the logits of their tags' shares.
    carried, carried_odds : ndarray (P,) float32
        The same of the votes on the tags that the rows do carry, 0s too.
    unheard, odds : ndarray (L,) float32
        The same of a vote of 0 on each tag, which `silent` (L,) int64 rows have.
    """

    heard: Array
    heard_odds: Array
    carried: Array
    carried_odds: Array
    unheard: Array
    odds: Array
    silent: NDArray[np.int64]

    @classmethod
    def count(cls, found: sp.csr_array, truth: sp.csr_array, share: Array) -> Self:
        """Take the votes (n, L), the truth (n, L) bool and the tags' shares (L,)."""
        rows, tags = truth.tocoo().coords
        # scipy answers an empty question with a sparse array
        carried = np.asarray(found[rows, tags], np.float32) if len(rows) else np.empty(0, np.float32)
        odds = logit(share)
        return cls(
            _smoothed_logits(found.data, share[found.indices]),
            odds[found.indices],
            _smoothed_logits(carried, share[tags]),
            odds[tags],
            _smoothed_logits(np.zeros_like(share), share),
            odds,
            found.shape[0] - np.bincount(found.indices, minlength=len(share)),
        )

    def fit(self, balance: float) -> Coefficients:
        """Return the (a, b) of least log-loss, ``a >= 0``; `RAW` where the truths are all alike.

        Platt scaling (1999) pooled over all tags. Balanced logits are counted in cells of 1 / `_CELLS`.
        """
        heard, carried, unheard = (np.rint(_CELLS * z).astype(np.int64) for z in self._all(balance))
        low = min(part.min(initial=0) for part in (heard, carried, unheard))
        weights = np.concatenate([np.ones(len(heard)), self.silent])
        total = np.bincount(np.concatenate([heard, unheard]) - low, weights)
        hits = np.bincount(carried - low, minlength=len(total)).astype(np.float64)
        if not 0 < hits.sum() < total.sum():
            return RAW
        z = (np.arange(len(total)) + low)[:, None] / _CELLS
        truth = np.repeat([True, False], len(total))
        counts = np.concatenate([hits, total - hits])
        slope, intercept = non_negative_logistic(np.vstack([z, z]), truth, counts)
        return slope, intercept

    def best_f1(self, balance: float) -> float:
        """Return micro-F1 at the best single threshold, 0 without positives; (a, b) do not matter to it.

        As `toolkit.evaluation.decisions.cuts.best_threshold` finds it on the dense scores.
        """
        if not self.carried.size:
            return 0.0
        heard, carried, unheard = self._all(balance)
        kept, ranked, order = np.sort(carried)[::-1], np.sort(heard), np.argsort(unheard)
        below = np.concatenate([[0], np.cumsum(self.silent[order])])
        predicted = ranked.size - np.searchsorted(ranked, kept)
        predicted += below[-1] - below[np.searchsorted(unheard[order], kept)]
        hits = np.searchsorted(-kept, -kept, side="right")
        return float((2 * hits / (predicted + kept.size)).max())

    def _all(self, balance: float) -> tuple[Array, Array, Array]:
        """Return balanced logits: of votes above 0 (m,), on true tags (P,), and of a vote of 0 (L,)."""
        weight = np.float32(balance)
        return (
            self.heard - weight * self.heard_odds,
            self.carried - weight * self.carried_odds,
            self.unheard - weight * self.odds,
        )
