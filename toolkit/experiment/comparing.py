"""Compare heads: the same split, the same rows, one table, and how sure it is."""

import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.bootstrap import LEVEL, Interval, Metric, resample
from toolkit.decisions import DEFAULT_RULE, parse_rule
from toolkit.errors import OptionError
from toolkit.experiment.dataset import Dataset, load_dataset
from toolkit.experiment.saved import write_best, write_json
from toolkit.experiment.training import (
    COLUMNS,
    FitOptions,
    FitReport,
    data_options,
    default_options,
    plan_heads,
    run_plan,
)
from toolkit.heads import HEADS
from toolkit.metrics import support_bands
from toolkit.progress import Progress, silent
from toolkit.report import write_report
from toolkit.splits import write_split
from toolkit.textfiles import write_csv


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
    intervals : dict of head to Interval
        Of that F1, 95 %, by the bootstrap over the rows measured.
    leads : dict of head to Interval
        Of how far `best` is ahead of each other head, on the same resamples; one that holds 0 is noise.
    """

    folder: Path
    dataset: Dataset
    reports: tuple[FitReport, ...]
    best: str
    metric: Metric
    intervals: dict[str, Interval]
    leads: dict[str, Interval]

    def to_dict(self) -> dict[str, Any]:
        """Return what ``compare.json`` and ``compare --json`` hold."""
        split = self.dataset.split
        return {
            "store": self.dataset.store.name,
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
            "bands": self.bands(),
        }

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
    rule: str = DEFAULT_RULE,
    min_tags: int = 0,
    refit: bool = True,
    device: str = "auto",
    metric: Metric = "micro",
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
        The F1 that decides, and that intervals are given for.
    rule, min_tags, refit, device, **data
        As for `fit`.
    """
    if metric not in ("micro", "macro", "samples"):
        raise OptionError(f"--metric got {metric!r}; allowed are micro, macro, samples")
    parse_rule(rule, min_tags=min_tags)
    given = FitOptions(rule=rule, min_tags=min_tags, refit=refit)
    plan = plan_heads(list(heads), options or {}, default_options(device, data))
    where = data_options(data)
    dataset = load_dataset(where)
    reports = run_plan(plan, dataset, given, where.artifacts, progress)
    ranked = tuple(sorted(reports, key=lambda report: -_deciding(report, metric)))
    folder = _new_folder(where.artifacts / "comparisons")
    comparison = Comparison(folder, dataset, ranked, ranked[0].head, metric, *_sure(dataset, ranked, metric))
    _write(comparison)
    write_best(where.artifacts, comparison.best, folder.name)
    return comparison


def _sure(
    dataset: Dataset, ranked: Sequence[FitReport], metric: Metric
) -> tuple[dict[str, Interval], dict[str, Interval]]:
    """Return each head's interval, and those of the first one's lead over the others."""
    measured = dataset.split.test if len(dataset.split.test) else dataset.split.val
    predicted = {report.head: report.predicted for report in ranked}
    drawn = resample(dataset.Y[measured], predicted)
    name = f"{metric}_f1"
    leads = {report.head: drawn.lead(ranked[0].head, report.head, name) for report in ranked[1:]}
    return {head: drawn.interval(head, name) for head in predicted}, leads


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
