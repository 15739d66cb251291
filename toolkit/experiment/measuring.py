"""From a fitted head's scores to its decision rule, its metrics, and its folder among the artifacts."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from toolkit.arrays.types import Float64Array as Draws
from toolkit.evaluation.bootstrap import resampled_map
from toolkit.evaluation.decisions.base import DecisionRule, ScoreMatrix
from toolkit.evaluation.decisions.crossfit import cross_fitted, optimism
from toolkit.evaluation.decisions.registry import RULES, parse_rule
from toolkit.evaluation.metrics import Metrics, evaluate
from toolkit.evaluation.splits import write_split
from toolkit.experiment.dataset import Dataset
from toolkit.experiment.saved import SPLIT, write_facts
from toolkit.experiment.saved_scores import KeptScores, Part
from toolkit.runtime.messages import counted

Scores = NDArray[np.float32]
Rows = NDArray[np.intp]

MAP_SCORES = 200_000_000
"""Scores up to which mAP gets an interval: 5,700 rows of 6,941 tags, which take some 20 s, are 40 million."""
TUNED_RULES = tuple(name for name in RULES if name not in ("fixed", "top-k"))
"""The rules a head is saved with, tuned."""
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


@dataclass(frozen=True, eq=False)
class Fitted:
    """What fitting a head left.

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
    folder : Path
        Where the final head saved itself.
    told : mapping
        What the head says of how well it solved its task.
    """

    tuning_scores: Scores
    test_scores: Scores
    chosen: dict[str, Any]
    history: list[dict[str, Any]]
    seconds: Mapping[str, float]
    peak_mb: float
    folder: Path
    told: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Deciding:
    """How scores become tags: `rule` as `parse_rule` reads it, and tags at least."""

    rule: str
    min_tags: int = 0

    def fitted(self, scores: Scores, Y: sp.csr_array) -> DecisionRule:
        """Return the rule tuned on scores (n, L) and the truth Y (n, L)."""
        return parse_rule(self.rule, min_tags=self.min_tags).fit(scores, Y)


@dataclass(frozen=True, eq=False)
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
        F1 of the tuned rule on the very rows it was tuned on, less its cross-fitted F1 there: what quoting
        the former would flatter.
    chosen : dict
        The head's options, with all choices made.
    seconds : mapping of stage to float
    peak_mb : float
        Most memory (MiB) of the process that fitted and scored.
    history : list of dict
        Epochs, or the options tried.
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
    rows: Rows
    map_draws: Draws | None
    predicted: sp.csr_array

    @property
    def fit_seconds(self) -> float:
        """Seconds of fitting what is measured: choices, and folds where there are any, included."""
        return self.seconds.get("fit", 0.0) + self.seconds.get("folds", 0.0)

    @property
    def score_seconds(self) -> float:
        """Seconds of scoring the test rows."""
        return self.seconds.get("score", 0.0)

    def row(self) -> dict[str, Any]:
        """Return the head's line of the comparison, `COLUMNS`; what is undefined is None."""
        facts = self.metrics.to_dict() | {
            "head": self.head,
            "rule": self.rule.describe(),
            "fit_seconds": round(self.fit_seconds, 3),
            "score_seconds": round(self.score_seconds, 3),
            "peak_mb": round(self.peak_mb, 1),
        }
        return {name: facts[name] for name in COLUMNS}


def measure(
    head: str,
    done: Fitted,
    dataset: Dataset,
    tuning: Rows,
    deciding: Deciding,
    artifacts: Path,
    *,
    resample: bool = False,
) -> FitReport:
    """Tune the rule on the `tuning` rows of `dataset`, and measure on rows that influenced nothing.

    With `resample` mAP is measured on resamples too: the one metric whose interval needs the scores.
    """
    split, Y = dataset.split, dataset.Y
    rows, scores = (split.test, done.test_scores) if len(split.test) else (tuning, done.tuning_scores)
    truth = Y[tuning]
    rule = deciding.fitted(done.tuning_scores, truth)
    if len(split.test):
        measured_on = counted(len(split.test), "test row")
        predicted = rule.apply(scores)
    else:
        which = "val" if len(tuning) == len(split.val) else "train and val"
        measured_on = f"{counted(len(tuning), f'{which} row')}, cross-fitted: options were chosen on val rows"
        predicted = cross_fitted(rule, scores, truth, groups=dataset.groups[tuning])
    draws = None
    if resample and scores.size <= MAP_SCORES:
        draws = resampled_map(Y[rows], scores, groups=dataset.groups[rows])
    return FitReport(
        head,
        artifacts / "heads" / head,
        evaluate(Y[rows], predicted, scores),
        measured_on,
        rule,
        flattery(rule, done.tuning_scores, truth, dataset.groups[tuning]),
        done.chosen,
        done.seconds,
        done.peak_mb,
        done.history,
        dataset.notes,
        rows,
        draws,
        predicted,
    )


def complete(report: FitReport, done: Fitted, dataset: Dataset, tuning: Rows, *, fitted_on: str) -> None:
    """Write into ``done.folder`` all that belongs to a saved head; `fitted_on` says what it was fitted on."""
    split, Y, source = dataset.split, dataset.Y, dataset.source
    used = report.rule.to_dict()
    tuned = {
        name: used | {"min_tags": 0}
        if used["rule"] == name
        else parse_rule(name).fit(done.tuning_scores, Y[tuning]).to_dict()
        for name in TUNED_RULES
    }
    told = dict(done.told)
    told["unconverged"] = [dataset.space.tags[column] for column in told.get("unconverged", ())]
    facts = (
        report.row()
        | report.metrics.to_dict()
        | {
            "measured_on": report.measured_on,
            "n_train": len(split.train),
            "n_val": len(split.val),
            "n_test": len(split.test),
            "split": split.source,
            "store": source.name,
            "optimism": report.optimism,
            "chosen": report.chosen,
            "fitted_on": fitted_on,
            **told,
        }
    )
    write_split(done.folder / SPLIT, dataset.ids, split)
    _keep_scores(done.folder, dataset, "tuning", done.tuning_scores, tuning)
    _keep_scores(done.folder, dataset, "test", done.test_scores, split.test)
    write_facts(
        done.folder,
        space=dataset.space,
        parts=source.parts,
        decision={"rule": report.rule.to_dict(), "tuned": tuned},
        metrics=facts,
        history=report.history,
    )


def flattery(
    rule: DecisionRule, scores: ScoreMatrix, truth: sp.csr_array, groups: Rows | None = None
) -> dict[str, float | None]:
    """Return `optimism`; None for what is undefined, as from rows too few for two folds."""
    if len(np.arange(truth.shape[0]) if groups is None else np.unique(groups)) < 2:
        return dict.fromkeys(("micro_f1", "macro_f1", "samples_f1"))
    found = optimism(rule, scores, truth, groups=groups)
    return {name: None if math.isnan(value) else value for name, value in found.items()}


def _keep_scores(folder: Path, dataset: Dataset, part: Part, scores: Scores, rows: Rows) -> None:
    ids = [dataset.ids[row] for row in rows]
    KeptScores.of(scores, ids, dataset.space.tags, dataset.Y[rows], dataset.groups[rows]).write(folder, part)
