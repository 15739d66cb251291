"""Compare heads: the same split, the same rows, one table, and how sure it is."""

import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.errors import OptionError
from toolkit.evaluation.bootstrap import LEVEL, METRICS, Interval, Resampled, resample
from toolkit.evaluation.decisions.registry import default_rule
from toolkit.evaluation.metrics import support_bands
from toolkit.evaluation.options import Metric
from toolkit.evaluation.splits import write_split
from toolkit.experiment.dataset import Dataset, load_dataset
from toolkit.experiment.measuring import COLUMNS, Deciding, FitReport
from toolkit.experiment.planning import Join, data_options, default_options, plan_heads
from toolkit.experiment.saved import write_best, write_json
from toolkit.experiment.training import FitOptions, run_plan
from toolkit.files.text import write_csv
from toolkit.heads.registry import HEADS
from toolkit.reports.page import write_report
from toolkit.runtime.progress import Progress, silent
from toolkit.runtime.stages import Stages


@dataclass(frozen=True, eq=False)
class Comparison:
    """Heads fitted and measured on the same rows, best first.

    Attributes
    ----------
    folder : Path
        ``artifacts/comparisons/<id>/``.
    dataset : Dataset
    reports : tuple of FitReport
    best : str
        The head with the highest F1 (`metric`).
    metric : {"micro", "macro", "samples"}
    resampled : Resampled
        The heads on resamples of the rows measured, alike for all; near-duplicates are drawn together.
    seconds : mapping of stage to float
        Where the time went.
    """

    folder: Path
    dataset: Dataset
    reports: tuple[FitReport, ...]
    best: str
    metric: Metric
    resampled: Resampled
    seconds: Mapping[str, float]

    @property
    def intervals(self) -> dict[str, Interval]:
        """Each head's 95 % interval of the F1 that decides."""
        return {
            report.head: self.resampled.interval(report.head, f"{self.metric}_f1") for report in self.reports
        }

    @property
    def leads(self) -> dict[str, Interval]:
        """The interval of how far `best` is ahead of each other head; one that holds 0 is noise."""
        others = [report.head for report in self.reports if report.head != self.best]
        return {head: self.resampled.lead(self.best, head, f"{self.metric}_f1") for head in others}

    def to_dict(self) -> dict[str, Any]:
        """Return what ``compare.json`` and ``compare --json`` hold."""
        split = self.dataset.split
        return {
            "store": self.dataset.source.name,
            "n_train": len(split.train),
            "n_val": len(split.val),
            "n_test": len(split.test),
            "n_tags": len(self.dataset.space),
            "n_tags_with_support": self.reports[0].metrics.n_tags_with_support,
            "measured_on": self.reports[0].measured_on,
            "split": split.source,
            "metric": self.metric,
            "heads": [report.row() for report in self.reports],
            "best": self.best,
            "folder": str(self.folder),
            "intervals": {head: [each.low, each.high] for head, each in self.intervals.items()},
            "leads": {head: [each.low, each.high] for head, each in self.leads.items()},
            "level": LEVEL,
            "intervals_by_metric": self._intervals_by_metric(),
            "leads_by_metric": self._leads_by_metric(),
            "bands": self.bands(),
            "macro_f1_all": {report.head: report.metrics.macro_f1_all for report in self.reports},
            "n_never_predicted": {report.head: report.metrics.n_never_predicted for report in self.reports},
            "optimism": {report.head: report.optimism for report in self.reports},
            "seconds": {stage: round(seconds, 3) for stage, seconds in self.seconds.items()},
        }

    def _resampled_metrics(self) -> tuple[str, ...]:
        """Return the metrics that have draws of every head."""
        return (*METRICS, "map") if all("map" in one for one in self.resampled.draws.values()) else METRICS

    def _intervals_by_metric(self) -> dict[str, dict[str, list[float]]]:
        found = {
            metric: {report.head: self.resampled.interval(report.head, metric) for report in self.reports}
            for metric in self._resampled_metrics()
        }
        return {
            metric: {head: [each.low, each.high] for head, each in by_head.items()}
            for metric, by_head in found.items()
        }

    def _leads_by_metric(self) -> dict[str, list[dict[str, Any]]]:
        """Return every pair of heads, by metric, with the interval of how far the first is ahead."""
        out: dict[str, list[dict[str, Any]]] = {}
        for metric in self._resampled_metrics():
            pairs = combinations([report.head for report in self.reports], 2)
            leads = [(pair, self.resampled.lead(*pair, metric)) for pair in pairs]
            out[metric] = [
                {"head": one, "other": other, "low": lead.low, "high": lead.high}
                for (one, other), lead in leads
            ]
        return out

    def bands(self) -> list[dict[str, Any]]:
        """Return macro F1 by positives in training: ``positives``, ``n_tags`` measured, ``f1`` by head."""
        Y, train = self.dataset.Y, self.dataset.split.train
        support = np.bincount(Y[train].indices, minlength=Y.shape[1])
        out = []
        for name, columns in support_bands(support):
            seen = columns[self.reports[0].metrics.support[columns] > 0]
            f1 = {
                report.head: float(report.metrics.f1[seen].mean()) if len(seen) else None
                for report in self.reports
            }
            out.append({"positives": name, "n_tags": len(seen), "f1": f1})
        return out


def compare(
    heads: Sequence[str] = tuple(HEADS),
    *,
    options: Mapping[str, Mapping[str, Any] | Sequence[str]] | None = None,
    metric: Metric = "micro",
    rule: str | None = None,
    min_tags: int = 0,
    refit: bool = True,
    folds: int = 0,
    join: Join = "side-by-side",
    device: str = "auto",
    progress: Progress = silent,
    **data: Any,
) -> Comparison:
    """Fit several heads on the same split, measure them on the same rows, save all and mark the best.

    ``ensemble`` mixes the other heads named. ``artifacts/comparisons/<id>/`` gets the table as csv, json and
    html, and the split; ``predict(head="best")`` uses the winner from now on.

    Parameters
    ----------
    heads : sequence of str
    options : mapping of head to its options
    metric : {"micro", "macro", "samples"}
        The F1 that decides which head is best, and picks the rule where none is given.
    rule, min_tags, refit, folds, join, device, **data
        As for `fit`.
    """
    where = data_options(data)
    deciding = Deciding(rule=rule or default_rule(metric), min_tags=min_tags)
    given = FitOptions(
        deciding=deciding, refit=refit, folds=folds, join=join, seed=where.seed, intervals=True
    )
    plan = plan_heads(list(heads), options or {}, default_options(device, data))
    stages = Stages()
    dataset = load_dataset(where, stages)
    reports = run_plan(plan, dataset, given, where.artifacts, progress, stages)
    ranked = tuple(sorted(reports, key=lambda report: -_deciding(report, metric)))
    with stages.timing("intervals"):
        predicted = {report.head: report.predicted for report in ranked}
        measured = ranked[0].rows
        map_draws = {report.head: report.map_draws for report in ranked if report.map_draws is not None}
        truth, groups = dataset.Y[measured], dataset.groups[measured]
        sure = resample(truth, predicted, groups=groups, map_draws=map_draws)
    folder = _new_folder(where.artifacts / "comparisons")
    comparison = Comparison(folder, dataset, ranked, ranked[0].head, metric, sure, stages)
    _write(comparison)
    write_best(where.artifacts, comparison.best, folder.name)
    return comparison


def _deciding(report: FitReport, metric: Metric) -> float:
    value = getattr(report.metrics, f"{metric}_f1")
    return -1.0 if math.isnan(value) else float(value)  # nan: nothing to measure


def _new_folder(parent: Path) -> Path:
    """Make a folder named after the time."""
    stem = datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
    for suffix in ("", *(f"-{number}" for number in range(2, 100))):
        folder = parent / f"{stem}{suffix}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        return folder
    raise OptionError(f"there are a hundred comparisons of {stem} in {parent}; clear some away")


def _write(comparison: Comparison) -> None:
    folder, dataset = comparison.folder, comparison.dataset
    try:
        rows = [report.row() for report in comparison.reports]
        write_csv(folder / "table.csv", COLUMNS, ([_cell(row[name]) for name in COLUMNS] for row in rows))
        write_json(folder / "compare.json", comparison.to_dict())
        write_split(folder / "split.csv", dataset.ids, dataset.split)
        write_report(
            folder / "report.html",
            comparison.to_dict(),
            notes=dataset.notes,
            tags=dataset.space.tags,
            metrics={report.head: report.metrics for report in comparison.reports},
            chosen={report.head: report.chosen for report in comparison.reports},
        )
    except BaseException:
        shutil.rmtree(folder)
        raise


def _cell(value: Any) -> Any:
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else value
