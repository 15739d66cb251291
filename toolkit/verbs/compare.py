"""Compare heads on the same split and the same rows, with intervals."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.errors import OptionError
from toolkit.evaluation.bootstrap import LEVEL, METRICS, Interval, Resampled, resample
from toolkit.evaluation.metrics import support_bands
from toolkit.evaluation.options import Metric
from toolkit.evaluation.splits import write_split
from toolkit.experiment.dataset import Dataset
from toolkit.experiment.jobs import work_folder
from toolkit.experiment.measuring import COLUMNS, FitReport
from toolkit.experiment.saved import write_best
from toolkit.experiment.training import fit_heads
from toolkit.files.csv import write_csv
from toolkit.files.json import write_json
from toolkit.files.locks import holding
from toolkit.reports.page import write_report
from toolkit.runtime.options import takes
from toolkit.verbs.options import CompareOptions


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
    def heads(self) -> tuple[str, ...]:
        """The heads' names, best first."""
        return tuple(report.head for report in self.reports)

    @property
    def intervals(self) -> dict[str, Interval]:
        """Each head's 95 % interval of the F1 that decides."""
        return self._intervals(f"{self.metric}_f1")

    @property
    def leads(self) -> dict[str, Interval]:
        """The interval of the lead of `best` over each other head; if it holds 0, that may be chance."""
        return {other: self.resampled.lead(self.best, other, f"{self.metric}_f1") for other in self.heads[1:]}

    def to_dict(self) -> dict[str, Any]:
        """Return what ``compare.json`` and ``compare --json`` hold."""
        split, first = self.dataset.split, self.reports[0]
        has_map = all("map" in draws for draws in self.resampled.draws.values())
        resampled = (*METRICS, "map") if has_map else METRICS
        return {
            "store": self.dataset.store_set.name,
            "n_train": len(split.train),
            "n_val": len(split.val),
            "n_test": len(split.test),
            "n_tags": len(self.dataset.space),
            "n_tags_with_support": first.metrics.n_tags_with_support,
            "measured_on": first.measured_on,
            "split": split.source,
            "metric": self.metric,
            "heads": [report.row() for report in self.reports],
            "best": self.best,
            "folder": str(self.folder),
            "intervals": _as_lists(self.intervals),
            "leads": _as_lists(self.leads),
            "level": LEVEL,
            "intervals_by_metric": {metric: _as_lists(self._intervals(metric)) for metric in resampled},
            "leads_by_metric": {metric: self._leads_of_pairs(metric) for metric in resampled},
            "bands": self.bands(),
            "macro_f1_all": {report.head: report.metrics.macro_f1_all for report in self.reports},
            "n_never_predicted": {report.head: report.metrics.n_never_predicted for report in self.reports},
            "optimism": {report.head: report.optimism for report in self.reports},
            "seconds": {stage: round(seconds, 3) for stage, seconds in self.seconds.items()},
        }

    def _intervals(self, metric: str) -> dict[str, Interval]:
        return {head: self.resampled.interval(head, metric) for head in self.heads}

    def _leads_of_pairs(self, metric: str) -> list[dict[str, Any]]:
        """Return every pair of heads with the interval of the first one's lead."""
        leads = {pair: self.resampled.lead(*pair, metric) for pair in combinations(self.heads, 2)}
        return [
            {"head": head, "other": other, "low": lead.low, "high": lead.high}
            for (head, other), lead in leads.items()
        ]

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


@takes(CompareOptions)
def compare(options: CompareOptions) -> Comparison:
    """Fit several heads on the same split, measure them on the same rows, save all and mark the best.

    ``ensemble`` mixes the other heads named. ``artifacts/comparisons/<id>/`` gets the table as csv, json and
    html, and the split; ``predict(head="best")`` uses the winner from now on.

    Returns
    -------
    Comparison
        The heads, best first, with intervals of each F1 and of the winner's leads.

    Raises
    ------
    ToolkitError
        Something is missing, contradicts something else or has a value that is not allowed.

    See Also
    --------
    fit : Fit one head.
    predict : Tag images with the best head.

    Examples
    --------
    >>> import toolkit
    >>> comparison = toolkit.compare("logreg,knn", options=["knn.k=5", "logreg.C=1"], artifacts=artifacts)
    >>> sorted(report.head for report in comparison.reports)
    ['knn', 'logreg']
    """
    fitted = fit_heads(options.heads, options.options, options, intervals=True)
    dataset, seconds = fitted.dataset, fitted.seconds
    ranked = tuple(sorted(fitted.reports, key=lambda report: -_f1(report, options.metric)))
    with seconds.timing("intervals"):
        rows = ranked[0].rows
        map_draws = {report.head: report.map_draws for report in ranked if report.map_draws is not None}
        predicted = {report.head: report.predicted for report in ranked}
        resampled = resample(dataset.Y[rows], predicted, groups=dataset.groups[rows], map_draws=map_draws)
    artifacts = Path(options.artifacts)
    parent = artifacts / "comparisons"
    parent.mkdir(parents=True, exist_ok=True)
    with work_folder(artifacts) as work, holding(parent):
        folder = _free_name(parent)
        comparison = Comparison(folder, dataset, ranked, ranked[0].head, options.metric, resampled, seconds)
        _write(comparison, work / "comparison")
        (work / "comparison").rename(folder)
        write_best(artifacts, comparison.best, folder.name)
    return comparison


def _as_lists(intervals: Mapping[str, Interval]) -> dict[str, list[float]]:
    return {head: [each.low, each.high] for head, each in intervals.items()}


def _f1(report: FitReport, metric: Metric) -> float:
    value = getattr(report.metrics, f"{metric}_f1")
    return -1.0 if math.isnan(value) else float(value)  # nan: nothing to measure


def _free_name(parent: Path) -> Path:
    """Return a folder that does not exist, named after the time."""
    stem = datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
    names = (f"{stem}{suffix}" for suffix in ("", *(f"-{number}" for number in range(2, 100))))
    free = next((parent / name for name in names if not (parent / name).exists()), None)
    if free is None:
        raise OptionError(f"there are a hundred comparisons of {stem} in {parent}; clear some away")
    return free


def _write(comparison: Comparison, folder: Path) -> None:
    dataset = comparison.dataset
    folder.mkdir()
    rows = (report.row().values() for report in comparison.reports)
    write_csv(folder / "table.csv", COLUMNS, ([_cell(value) for value in row] for row in rows))
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


def _cell(value: Any) -> Any:
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else value
