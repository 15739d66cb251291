"""Predictions by rules that did not see the row they decide, and what tuning on the same rows flatters."""

from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from toolkit.errors import OptionError
from toolkit.evaluation.decisions.base import ChosenRows, DecisionRule, ScoreMatrix, positives
from toolkit.evaluation.decisions.registry import rule_from_dict
from toolkit.evaluation.metrics import evaluate


def cross_fitted(
    rule: DecisionRule,
    scores: ScoreMatrix,
    Y: Any,
    folds: int = 2,
    groups: NDArray[Any] | None = None,
    *,
    seed: int = 0,
) -> sp.csr_array:
    """Return predictions (N, L), bool, each row's by a copy of the rule tuned on the folds it is not in.

    Parameters
    ----------
    rule : DecisionRule
        Left as it is.
    scores : (N, L) float32
    Y : (N, L), dense or sparse
        The truth.
    folds : int
        Parts of equal size that rows are dealt into at random, 2 or more.
    groups : ndarray (N,), optional
        Rows of one group, such as near-duplicates, go into one fold.
    seed : int

    Raises
    ------
    OptionError
        There are fewer than 2 folds, or fewer rows or groups than folds.
    """
    truth = positives(Y)
    dealt = _dealt(scores.shape[0], folds, groups, seed)
    parts, rows = [], []
    for fold in range(folds):
        here, others = np.flatnonzero(dealt == fold), np.flatnonzero(dealt != fold)
        tuned = rule_from_dict(rule.to_dict()).fit(ChosenRows(scores, others), truth[others])
        parts.append(tuned.apply(ChosenRows(scores, here)))
        rows.append(here)
    stacked: Any = sp.vstack(parts, format="csr")
    return sp.csr_array(stacked[np.argsort(np.concatenate(rows))])


def optimism(
    rule: DecisionRule,
    scores: ScoreMatrix,
    Y: Any,
    folds: int = 2,
    groups: NDArray[Any] | None = None,
    *,
    seed: int = 0,
) -> dict[str, float]:
    """Return by how much tuning on the rows measured flatters: the F1 so tuned less the `cross_fitted` one.

    Takes what `cross_fitted` takes. The keys are ``micro_f1``, ``macro_f1`` (tags with a positive) and
    ``samples_f1``; nan where that F1 is.
    """
    truth = positives(Y)
    tuned = rule_from_dict(rule.to_dict()).fit(scores, truth).apply(scores)
    inside = evaluate(truth, tuned)
    outside = evaluate(truth, cross_fitted(rule, scores, truth, folds, groups, seed=seed))
    names = ("micro_f1", "macro_f1", "samples_f1")
    return {name: getattr(inside, name) - getattr(outside, name) for name in names}


def _dealt(n: int, folds: int, groups: NDArray[Any] | None, seed: int) -> NDArray[np.intp]:
    """Return the fold of each row; groups are dealt like rows, so that folds are even in them."""
    number = np.arange(n) if groups is None else np.unique(groups, return_inverse=True)[1].ravel()
    many = int(number.max(initial=-1)) + 1
    if not 2 <= folds <= many:
        raise OptionError(
            f"rules are tuned and measured on {folds} folds of rows, near-duplicates together: that takes 2 "
            f"folds or more and as many groups, there are {many}; hold out more val rows, or test rows"
        )
    dealt: NDArray[np.intp] = np.random.default_rng(seed).permutation(np.arange(many) % folds)[number]
    return dealt
