"""From a fitted head's scores to its decision rule and its metrics."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from toolkit.arrays.types import Float32Array, Float64Array, RowNumbers
from toolkit.evaluation.bootstrap import resampled_map
from toolkit.evaluation.decisions.base import DecisionRule, ScoreMatrix
from toolkit.evaluation.decisions.crossfit import cross_fitted, optimism
from toolkit.evaluation.decisions.registry import parse_rule
from toolkit.evaluation.metrics import Metrics, evaluate
from toolkit.experiment.dataset import Dataset
from toolkit.experiment.options import TrainingOptions
from toolkit.runtime.messages import counted

MAP_SCORES = 200_000_000
"""Scores up to which mAP gets an interval: 5,700 rows of 6,941 tags, which take some 20 s, are 40 million."""
COLUMNS = (
    "head",
    "micro_f1",
    "macro_f1",
    "samples_f1",
    "micro_precision",
    "micro_recall",
    "map",
    "rule",
    "fit_seconds",
    "score_seconds",
    "peak_mb",
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Fitted:
    """The results of fitting a head.

    Attributes
    ----------
    tuning_scores : ndarray (n, L) float32
        Of the rows its rule is tuned on.
    test_scores : ndarray (m, L) float32
    chosen : dict
        The head's options, with all choices made.
    history : list of dict
        Epochs, or the options tried.
    seconds : mapping of stage to float
    peak_mb : float
        Most memory (MiB) of the process that fitted and scored.
    folder : Path
        Where the final head saved itself.
    diagnostics : mapping
        How well the head solved its task: see `toolkit.heads.base.Head.diagnostics`.
    """

    tuning_scores: Float32Array
    test_scores: Float32Array
    chosen: dict[str, Any]
    history: list[dict[str, Any]]
    seconds: Mapping[str, float]
    peak_mb: float
    folder: Path
    diagnostics: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, eq=False)
class FitReport:
    """One fitted head and how good it is.

    Attributes
    ----------
    head : str
    folder : Path
        Where it is saved.
    metrics : Metrics
        On the test rows or, where there are none, cross-fitted on the rows the rule is tuned on.
    measured_on : str
        Which of the two, in words.
    rule : DecisionRule
    optimism : dict of metric to float or None
        F1 of the tuned rule on the very rows it was tuned on, less its cross-fitted F1 there.
    chosen, history, seconds, peak_mb
        As in `Fitted`.
    notes : tuple of str
        What was read and matched.
    rows : ndarray (n,)
        The rows of the dataset that were measured.
    map_draws : ndarray (B,) or None
        mAP on resamples of them (`resampled_map`); None past `MAP_SCORES` scores.
    predicted : csr_array (n, L) bool
        For these.
    """

    head: str
    folder: Path
    metrics: Metrics
    measured_on: str
    rule: DecisionRule
    optimism: dict[str, float | None]
    chosen: dict[str, Any]
    seconds: Mapping[str, float]
    peak_mb: float
    history: list[dict[str, Any]]
    notes: tuple[str, ...]
    rows: RowNumbers
    map_draws: Float64Array | None
    predicted: sp.csr_array

    def row(self) -> dict[str, Any]:
        """Return the head's line of the comparison, `COLUMNS`; what is undefined is None."""
        facts = self.metrics.to_dict() | {
            "head": self.head,
            "rule": self.rule.describe(),
            # choices, and folds if there are any, are part of fitting what is measured
            "fit_seconds": round(self.seconds.get("fit", 0.0) + self.seconds.get("folds", 0.0), 3),
            "score_seconds": round(self.seconds.get("score", 0.0), 3),
            "peak_mb": round(self.peak_mb, 1),
        }
        return {name: facts[name] for name in COLUMNS}


def measure(
    head: str,
    fitted: Fitted,
    dataset: Dataset,
    tuning: RowNumbers,
    options: TrainingOptions,
    *,
    intervals: bool = False,
) -> FitReport:
    """Tune the rule on the `tuning` rows of `dataset`, and measure on rows that influenced nothing.

    With `intervals` mAP is measured on resamples too: the one metric whose interval needs the scores.
    """
    split, Y, truth, groups = dataset.split, dataset.Y, dataset.Y[tuning], dataset.groups
    rule = parse_rule(options.rule_text, min_tags=options.min_tags).fit(fitted.tuning_scores, truth)
    if len(split.test):
        rows, scores, measured_on = split.test, fitted.test_scores, counted(len(split.test), "test row")
        predicted = rule.apply(scores)
    else:
        rows, scores = tuning, fitted.tuning_scores
        which = "val" if len(tuning) == len(split.val) else "train and val"
        measured_on = f"{counted(len(tuning), f'{which} row')}, cross-fitted: options were chosen on val rows"
        predicted = cross_fitted(rule, scores, truth, groups=groups[tuning])
    draws = None
    if intervals and scores.size <= MAP_SCORES:
        draws = resampled_map(Y[rows], scores, groups=groups[rows])
    return FitReport(
        head=head,
        folder=Path(options.artifacts) / "heads" / head,
        metrics=evaluate(Y[rows], predicted, scores),
        measured_on=measured_on,
        rule=rule,
        optimism=optimism_or_none(rule, fitted.tuning_scores, truth, groups[tuning]),
        chosen=fitted.chosen,
        seconds=fitted.seconds,
        peak_mb=fitted.peak_mb,
        history=fitted.history,
        notes=dataset.notes,
        rows=rows,
        map_draws=draws,
        predicted=predicted,
    )


def optimism_or_none(
    rule: DecisionRule, scores: ScoreMatrix, truth: sp.csr_array, groups: RowNumbers
) -> dict[str, float | None]:
    """Return `optimism`; None for what is undefined, as for fewer than two groups of rows."""
    if len(np.unique(groups)) < 2:
        return dict.fromkeys(("micro_f1", "macro_f1", "samples_f1"))
    values = optimism(rule, scores, truth, groups=groups)
    return {name: None if math.isnan(value) else value for name, value in values.items()}
