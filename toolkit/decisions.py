"""Decision rules: scores in [0, 1] to tags. Tune them on rows the head never saw."""

import importlib
import logging
import math
from collections.abc import Callable
from typing import Any, Protocol, Self

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.special import expit

from toolkit.calibration import clipped_logits, non_negative_logistic, tuning_rows
from toolkit.errors import OptionError

logger = logging.getLogger(__name__)

Scores = NDArray[np.float32]

DEFAULT_RULE = "global"
UNTUNED = 0.5  # where there is nothing to tune on
SHRINK = 20.0  # positives at which a tag's own threshold and the global one weigh the same
FEW = 5  # tags with fewer positives keep the global threshold: theirs would be noise
ROW_BLOCK = 1024
BINS = 4096

RULES: dict[str, str] = {
    "fixed": "toolkit.decisions:Fixed",
    "global": "toolkit.decisions:Global",
    "per-tag": "toolkit.decisions:PerTag",
    "top-k": "toolkit.decisions:TopK",
    "expected-f1": "toolkit.decisions:ExpectedF1",
}


class DecisionRule(Protocol):
    """Turns scores (N, L) into predictions (N, L)."""

    def fit(self, scores: Scores, Y: Any) -> Self:
        """Tune on rows the head never saw; a rule with nothing to tune returns itself."""

    def apply(self, scores: Scores) -> sp.csr_array:
        """Return boolean CSR predictions."""

    def to_dict(self) -> dict[str, Any]:
        """Return what `rule_from_dict` needs to build an equal rule."""

    def describe(self) -> str:
        """Return a few words for a table, such as ``global 0.312``."""


class _Threshold:
    """What the rules that compare scores with thresholds share."""

    name: str

    def __init__(self, *, min_tags: int = 0, thresholds: list[float] | None = None) -> None:
        self.min_tags = min_tags
        self.thresholds = thresholds

    def fit(self, scores: Scores, Y: Any) -> Self:
        """Tune the thresholds on scores (N, L) and the truth Y (N, L), dense or sparse."""
        self.thresholds = self._tune(_checked(scores), sp.csr_array(Y))
        return self

    def _tune(self, scores: Scores, Y: sp.csr_array) -> list[float]:
        raise NotImplementedError

    def apply(self, scores: Scores) -> sp.csr_array:
        """Return the tags that score at least their threshold, and the best `min_tags` of every image."""
        if self.thresholds is None:
            raise OptionError(f"decision rule {self.name!r} is not tuned; call fit(scores, Y) first")
        cut = np.asarray(self.thresholds, dtype=np.float32)
        if cut.size not in (1, scores.shape[1]):
            raise OptionError(f"the rule was tuned for {cut.size} tags, these scores have {scores.shape[1]}")

        def chosen(block: Scores) -> NDArray[np.bool_]:
            picked = block >= cut
            if self.min_tags:
                short = np.flatnonzero(picked.sum(axis=1) < self.min_tags)
                picked[short] |= _best(block[short], self.min_tags)
            return picked

        return _by_blocks(_checked(scores), chosen)

    def to_dict(self) -> dict[str, Any]:
        """Return name, option and thresholds."""
        return {"rule": self.name, "min_tags": self.min_tags, "thresholds": self.thresholds}

    def _suffix(self) -> str:
        return f", at least {self.min_tags}" if self.min_tags else ""


class Fixed(_Threshold):
    """One threshold given by the user, never tuned."""

    name = "fixed"

    def _tune(self, scores: Scores, Y: sp.csr_array) -> list[float]:
        assert self.thresholds is not None
        return self.thresholds

    def describe(self) -> str:
        """Return name and threshold."""
        assert self.thresholds is not None
        return f"fixed {self.thresholds[0]:.3g}{self._suffix()}"


class Global(_Threshold):
    """One threshold for all tags, where micro-F1 is highest."""

    name = "global"

    def _tune(self, scores: Scores, Y: sp.csr_array) -> list[float]:
        return [best_threshold(scores, Y)[0]]

    def describe(self) -> str:
        """Return name and threshold."""
        return f"global {self.thresholds[0]:.3f}{self._suffix()}" if self.thresholds else "global"


class PerTag(_Threshold):
    """A threshold a tag, where its F1 is highest, shrunk towards the global one in logit space.

    ``logit t = (n logit t_tag + SHRINK logit t_global) / (n + SHRINK)`` with n the tag's positives: a few
    positives say little about where to cut (Lin and Lin, CIKM 2023, on thresholds of rare labels).
    """

    name = "per-tag"

    def _tune(self, scores: Scores, Y: sp.csr_array) -> list[float]:
        common = best_threshold(scores, Y)[0]
        columns = Y.tocsc()
        support = np.bincount(Y.indices, minlength=Y.shape[1])
        out = np.full(Y.shape[1], common)
        for tag in np.flatnonzero(support >= FEW):
            own = best_threshold(scores[:, [tag]], columns[:, [tag]].tocsr())[0]
            weight = support[tag] / (support[tag] + SHRINK)
            out[tag] = 1 / (1 + math.exp(-(weight * _logit(own) + (1 - weight) * _logit(common))))
        return [float(value) for value in out]

    def describe(self) -> str:
        """Return name and the middle threshold."""
        middle = f" (median {np.median(self.thresholds):.3f})" if self.thresholds else ""
        return f"per-tag{middle}{self._suffix()}"


class TopK:
    """The K best tags of every image."""

    name = "top-k"

    def __init__(self, *, k: int, min_tags: int = 0) -> None:
        self.k = k
        self.min_tags = min_tags

    def fit(self, scores: Scores, Y: Any) -> Self:  # noqa: ARG002, RUF100 - the protocol's signature
        """Return itself: there is nothing to tune."""
        return self

    def apply(self, scores: Scores) -> sp.csr_array:
        """Return K tags an image (all, where there are fewer); of equal scores the first column wins."""
        return _by_blocks(_checked(scores), lambda block: _best(block, max(self.k, self.min_tags)))

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
    Every image gets at least one tag. `fit` learns the calibration, a slope and an intercept for all tags.
    """

    name = "expected-f1"

    def __init__(self, *, min_tags: int = 0, slope: float | None = None, intercept: float = 0.0) -> None:
        self.min_tags = min_tags
        self.slope = slope
        self.intercept = intercept

    def fit(self, scores: Scores, Y: Any) -> Self:
        """Calibrate on scores (N, L) and the truth Y (N, L), dense or sparse."""
        truth = sp.csr_array(Y)
        rows = tuning_rows(truth.shape[0], truth.shape[1], seed=0)
        y = truth[rows].toarray().astype(bool).ravel()
        if y.all() or not y.any():
            logger.warning("no tags to tell apart: the scores are taken for probabilities as they are")
            self.slope, self.intercept = 1.0, 0.0
            return self
        logits = clipped_logits(_checked(scores)[rows]).reshape(-1, 1)
        self.slope, self.intercept = non_negative_logistic(logits.astype(np.float64), y)
        return self

    def apply(self, scores: Scores) -> sp.csr_array:
        """Return each image's best set; of equal scores the first column wins."""
        if self.slope is None:
            raise OptionError(f"decision rule {self.name!r} is not tuned; call fit(scores, Y) first")
        slope, intercept = np.float32(self.slope), np.float32(self.intercept)

        def chosen(block: Scores) -> NDArray[np.bool_]:
            order = np.argsort(-block, axis=1, kind="stable")
            ranked = expit(slope * clipped_logits(np.take_along_axis(block, order, axis=1)) + intercept)
            k = np.arange(1, block.shape[1] + 1, dtype=np.float32)
            found = np.cumsum(ranked, axis=1, dtype=np.float64)
            best = np.argmax(found / (k + found[:, -1:]), axis=1) + 1
            wanted = np.maximum(best, self.min_tags)[:, None]
            picked = np.zeros(block.shape, bool)
            np.put_along_axis(picked, order, k <= wanted, axis=1)
            return picked

        return _by_blocks(_checked(scores), chosen)

    def to_dict(self) -> dict[str, Any]:
        """Return name, option and calibration."""
        return {
            "rule": self.name,
            "min_tags": self.min_tags,
            "slope": self.slope,
            "intercept": self.intercept,
        }

    def describe(self) -> str:
        """Return the name."""
        return f"expected-f1{f', at least {self.min_tags}' if self.min_tags else ''}"


def parse_rule(text: str, *, min_tags: int = 0) -> DecisionRule:
    """Build a rule from its text, such as ``global`` or ``fixed:0.5``; else `OptionError` names all."""
    name, _, value = text.partition(":")
    allowed = "fixed:T (T in 0..1), global, per-tag, top-k:K (K of 1 or more), expected-f1"
    if min_tags < 0:
        raise OptionError(f"--min-tags got {min_tags}; give 0 or more")
    try:
        if name == "fixed" and 0 <= float(value) <= 1:
            return Fixed(min_tags=min_tags, thresholds=[float(value)])
        if name == "top-k" and int(value) >= 1:
            return TopK(k=int(value), min_tags=min_tags)
        if name in RULES and not value and name not in ("fixed", "top-k"):
            return _rule_class(name)(min_tags=min_tags)
    except ValueError as error:
        raise OptionError(f"--rule got {text!r}; allowed are {allowed}") from error
    raise OptionError(f"--rule got {text!r}; allowed are {allowed}")


def rule_from_dict(document: dict[str, Any]) -> DecisionRule:
    """Build the rule that `to_dict` described; `OptionError` if it is none of `RULES`."""
    options = {key: value for key, value in document.items() if key != "rule"}
    if document.get("rule") not in RULES:
        raise OptionError(f"there is no decision rule {document.get('rule')!r}; there are {', '.join(RULES)}")
    return _rule_class(document["rule"])(**options)


def best_threshold(scores: Scores, Y: sp.csr_array) -> tuple[float, float]:
    """Return the threshold at which micro-F1 is highest, and that F1.

    Every cut between two different scores is considered (F1 can only peak just at a positive's score); the
    threshold is the midpoint of the cut. Of equal F1s the highest cut wins. Without positives it is `UNTUNED`
    and 0, with a warning.
    """
    truth = Y.tocoo()
    mask = truth.data.astype(bool)
    positive = scores[truth.coords[0][mask], truth.coords[1][mask]]
    if not positive.size:
        logger.warning("no positives to tune a threshold on: %s is used", UNTUNED)
        return UNTUNED, 0.0
    least = _worth_sorting(scores, positive)
    ranked = np.sort(scores[scores >= least])
    kept = np.sort(positive[positive >= least])[::-1]
    # predicted positive at the cut just at each positive's score; ties: the last of equal ones counts
    predicted = ranked.size - np.searchsorted(ranked, kept, side="left")
    hits = np.searchsorted(-kept, -kept, side="right")
    f1 = 2 * hits / (predicted + positive.size)
    at = int(np.argmax(f1))
    below = int(np.searchsorted(ranked, kept[at], side="left"))
    lower = ranked[below - 1] if below else scores[scores < least].max(initial=0)
    return _between(float(lower), float(kept[at])), float(f1[at])


def _worth_sorting(scores: Scores, positive: Scores) -> np.float32:
    """Return a score below which no cut can be best, so that thousands of rare tags need not be sorted.

    A cut that predicts n has an F1 of at most 2 P / (n + P), P being the number of positives. With the best
    F1 among `BINS` even cuts known, all cuts that predict more than 2 P / F1 - P are out.
    """
    edges = np.arange(BINS, dtype=np.float32) / np.float32(BINS)
    predicted, hits = (
        np.cumsum(np.bincount(_bins(values), minlength=BINS)[::-1])[::-1] for values in (scores, positive)
    )
    best = (2 * hits / (predicted + positive.size)).max()
    most = 2 * positive.size / best - positive.size
    return np.float32(edges[np.flatnonzero(predicted >= min(most, scores.size))[-1]])


def _bins(scores: Scores) -> NDArray[np.intp]:
    # a power of two: the product is exact, so bin k holds exactly the scores in [k / BINS, (k + 1) / BINS)
    found: NDArray[np.intp] = np.minimum(scores.ravel() * np.float32(BINS), BINS - 1).astype(np.intp)
    return found


def _between(lower: float, upper: float) -> float:
    """Return the midpoint, as a float32 that still separates the two."""
    middle = float(np.float32((lower + upper) / 2))
    return middle if middle > lower else upper


def _rule_class(name: str) -> Callable[..., DecisionRule]:
    module, _, attribute = RULES[name].partition(":")
    rule: Callable[..., DecisionRule] = getattr(importlib.import_module(module), attribute)
    return rule


def _logit(value: float) -> float:
    inside = min(max(value, 1e-7), 1 - 1e-7)
    return math.log(inside / (1 - inside))


def _checked(scores: Scores) -> Scores:
    if np.isnan(scores).any():
        raise OptionError("the scores hold NaN; fit the head again")
    return scores


def _best(scores: Scores, k: int) -> NDArray[np.bool_]:
    """Mark the k best columns of each row; of equal scores the first column wins."""
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    picked = np.zeros(scores.shape, bool)
    np.put_along_axis(picked, order, True, axis=1)
    return picked


def _by_blocks(scores: Scores, chosen: Callable[[Scores], NDArray[np.bool_]]) -> sp.csr_array:
    """Apply `chosen` to blocks of rows, so that only a block is dense at a time."""
    blocks = [
        sp.csr_array(chosen(scores[start : start + ROW_BLOCK])) for start in range(0, len(scores), ROW_BLOCK)
    ]
    if not blocks:
        return sp.csr_array((0, scores.shape[1]), dtype=bool)
    stacked: Any = sp.vstack(blocks, format="csr")
    out: sp.csr_array = stacked
    return out
