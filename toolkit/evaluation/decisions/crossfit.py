"""Predictions by rules tuned on other rows, and the optimism of tuning and measuring on the same rows."""

from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from toolkit.arrays.sampling import group_numbers
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
    """Return predictions (N, L), bool, each row's by a copy of the rule tuned on the other folds.

    Scores are (N, L) float32, the truth Y (N, L) is dense or sparse. Rows are dealt into `folds` of equal
    size at random; those of one group of `groups` (N,), such as near-duplicates, go into one fold.
    `OptionError` for fewer than 2 folds, or fewer rows or groups than folds.
    """
    truth = positives(Y)
    numbers, n_groups = group_numbers(scores.shape[0], groups)
    if not 2 <= folds <= n_groups:
        raise OptionError(
            f"rules are tuned and measured on {folds} folds of rows, near-duplicates together: that takes 2 "
            f"folds or more and as many groups, there are {n_groups}; hold out more val rows, or test rows"
        )
    fold_of = np.random.default_rng(seed).permutation(np.arange(n_groups) % folds)[numbers]
    predicted, rows = [], []
    for fold in range(folds):
        held_out, others = np.flatnonzero(fold_of == fold), np.flatnonzero(fold_of != fold)
        tuned = rule_from_dict(rule.to_dict()).fit(ChosenRows(scores, others), truth[others])
        predicted.append(tuned.apply(ChosenRows(scores, held_out)))
        rows.append(held_out)
    return sp.csr_array(sp.vstack(predicted, format="csr"))[np.argsort(np.concatenate(rows))]


def optimism(rule: DecisionRule, scores: ScoreMatrix, Y: Any, **options: Any) -> dict[str, float]:
    """Return the F1 of the rule on the rows it is tuned on, less its `cross_fitted` F1.

    `options` are those of `cross_fitted`. The keys are ``micro_f1``, ``macro_f1`` (tags with a positive) and
    ``samples_f1``; a value is nan if that F1 is.
    """
    truth = positives(Y)
    tuned = rule_from_dict(rule.to_dict()).fit(scores, truth).apply(scores)
    inside = evaluate(truth, tuned)
    outside = evaluate(truth, cross_fitted(rule, scores, truth, **options))
    names = ("micro_f1", "macro_f1", "samples_f1")
    return {name: getattr(inside, name) - getattr(outside, name) for name in names}
