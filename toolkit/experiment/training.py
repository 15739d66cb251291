"""Fit heads on one split: each in a process of its own, the ensemble from the scores of the others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.arrays.types import RowNumbers
from toolkit.errors import SplitError
from toolkit.evaluation.splits import stratified_split
from toolkit.experiment.dataset import Dataset, load_dataset
from toolkit.experiment.jobs import run_job, save_data, work_folder
from toolkit.experiment.measuring import FitReport, Fitted, measure
from toolkit.experiment.options import TrainingOptions
from toolkit.experiment.planning import HeadOptions, Planned, plan_heads
from toolkit.experiment.saved import place_head, save_report
from toolkit.files.npy import map_array
from toolkit.heads.ensemble import Ensemble
from toolkit.heads.registry import load_head
from toolkit.runtime.messages import counted
from toolkit.runtime.progress import Progress
from toolkit.runtime.stages import Stages

MEMBER_STAGES = ("fit", "folds", "score")  # the stages an ensemble's time is the sum of


@dataclass(frozen=True, eq=False)
class FittedHeads:
    """Heads fitted and measured on one dataset.

    Attributes
    ----------
    dataset : Dataset
    reports : list of FitReport
        Of the heads asked for, in their order.
    seconds : Stages
        Where the time went.
    """

    dataset: Dataset
    reports: list[FitReport]
    seconds: Stages


def fit_heads(
    heads: str | Sequence[str],
    head_options: Mapping[str, HeadOptions] | Sequence[str],
    options: TrainingOptions,
    *,
    intervals: bool = False,
) -> FittedHeads:
    """Fit, measure and save heads, planned by `plan_heads`; `intervals` measures what intervals need too."""
    plan = plan_heads(heads, head_options, {"seed": options.seed, "device": options.device})
    seconds = Stages()
    dataset = load_dataset(options, seconds)
    return FittedHeads(dataset, _fit_plan(plan, dataset, options, seconds, intervals=intervals), seconds)


def _fit_plan(
    plan: list[Planned], dataset: Dataset, options: TrainingOptions, stages: Stages, *, intervals: bool
) -> list[FitReport]:
    artifacts = Path(options.artifacts)
    with work_folder(artifacts) as work:
        tuning = _save_data(work / "data", dataset, options)
        fitted: dict[str, Fitted] = {}
        for planned in plan:
            if planned.kind is Ensemble:
                with stages.timing(f"{planned.name}: combine"):
                    fitted[planned.name] = _combine(
                        work / planned.name, planned, dataset.Y[tuning], fitted, options.progress
                    )
            else:
                fitted[planned.name] = _fit_in_child(work, planned, dataset, options, stages)
        reports = []
        for planned in plan:
            if not planned.shown:
                continue
            with stages.timing(f"{planned.name}: tune rules, measure"):
                report = measure(
                    planned.name, fitted[planned.name], dataset, tuning, options, intervals=intervals
                )
                save_report(report, fitted[planned.name], dataset, tuning, fitted_on=options.fitted_on)
            reports.append(report)
        # moved into place last and together: until here an error or Ctrl-C changes nothing
        for report in reports:
            place_head(fitted[report.head].folder, report.folder)
        return reports


def _save_data(folder: Path, dataset: Dataset, options: TrainingOptions) -> RowNumbers:
    """Write what the jobs read; return the rows that rules are tuned on."""
    split, rows = dataset.split, dataset.store_set.rows
    if not options.folds:
        save_data(folder, rows, dataset.Y, split)
        return split.val
    pool = np.sort(np.concatenate([split.train, split.val]))
    save_data(folder, rows, dataset.Y, split, pool, _folds(dataset, pool, options))
    return pool


def _folds(dataset: Dataset, pool: RowNumbers, options: TrainingOptions) -> RowNumbers:
    """Return the fold of each row of the pool, (n,): tags spread evenly, near-duplicates together."""
    K = options.folds
    parts = stratified_split(dataset.Y[pool], [1 / K] * K, seed=options.seed, groups=dataset.groups[pool])
    if not all(len(rows) for rows in parts):
        raise SplitError(
            f"{counted(len(pool), 'train or val row is', 'train and val rows are')} too few for --folds {K}; "
            "give fewer"
        )
    fold = np.empty(len(pool), np.intp)
    for number, rows in enumerate(parts):
        fold[rows] = number
    return fold


def _fit_in_child(
    work: Path, planned: Planned, dataset: Dataset, options: TrainingOptions, stages: Stages
) -> Fitted:
    folder = work / planned.name
    with stages.timing(f"{planned.name}: start and read"):
        result = run_job(
            "fit",
            planned.given,
            folder,
            options.progress,
            options=planned.options,
            store_set=dataset.store_set.to_dict(),
            data=work / "data",
            refit=options.refit,
        )
    for stage, seconds in result["seconds"].items():
        stages[f"{planned.name}: {stage}"] = seconds
        stages[f"{planned.name}: start and read"] -= seconds
    tuning, test = (map_array(folder / f"{part}_scores.npy") for part in ("tuning", "test"))
    return Fitted(tuning_scores=tuning, test_scores=test, folder=folder / "head", **result)


def _combine(
    folder: Path, planned: Planned, truth: Any, fitted: Mapping[str, Fitted], progress: Progress
) -> Fitted:
    """Mix the scores of heads fitted before; nothing but the coefficients is learned."""
    head = Ensemble(**planned.options)
    members = {name: fitted[name] for name in head.members}
    progress("combine", 0, 1)
    head.combine({name: member.tuning_scores for name, member in members.items()}, truth)
    (folder / "head").mkdir(parents=True)
    mixed = []
    for part in ("tuning_scores", "test_scores"):
        scores = {name: getattr(member, part) for name, member in members.items()}
        shape = next(iter(scores.values())).shape
        out = np.lib.format.open_memmap(folder / f"{part}.npy", mode="w+", dtype=np.float32, shape=shape)
        mixed.append(head.mix(scores, out))
    head.attach({name: load_head(member.folder) for name, member in members.items()}).save(folder / "head")
    progress("combine", 1, 1)
    seconds = {
        stage: sum(member.seconds.get(stage, 0) for member in members.values()) for stage in MEMBER_STAGES
    }
    history = [{"member": name, "weight": weight} for name, weight in head.weights().items()]
    peak = max(member.peak_mb for member in members.values())
    return Fitted(
        tuning_scores=mixed[0],
        test_scores=mixed[1],
        chosen=head.chosen(),
        history=history,
        seconds=seconds,
        peak_mb=peak,
        folder=folder / "head",
    )
