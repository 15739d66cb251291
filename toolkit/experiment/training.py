"""Fit heads on one split: each in a process of its own, the ensemble from what they left."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from toolkit.errors import OptionError, SplitError
from toolkit.evaluation.decisions.registry import parse_rule
from toolkit.evaluation.splits import stratified_split
from toolkit.experiment.dataset import Dataset
from toolkit.experiment.jobs import run_job, save_data, work_folder
from toolkit.experiment.measuring import Deciding, FitReport, Fitted, complete, measure
from toolkit.experiment.planning import (
    JOINS,
    Join,
    Planned,
    one_a_store,
)
from toolkit.experiment.saved import place_head
from toolkit.heads.ensemble import Ensemble
from toolkit.heads.options import options_from_json
from toolkit.heads.registry import load_head
from toolkit.runtime.messages import counted
from toolkit.runtime.progress import Progress
from toolkit.runtime.stages import Stages

Rows = NDArray[np.intp]

MEMBER_STAGES = ("fit", "folds", "score")  # what an ensemble's time is made of


@dataclass(frozen=True, kw_only=True)
class FitOptions:
    """How heads are fitted, whatever they are.

    Attributes
    ----------
    deciding : Deciding
    refit : bool
        Whether the head that is saved is fitted again on all labelled rows, with the options chosen.
    folds : int
        0 tunes rules, and the ensemble's weights, on val rows. K of 2 or more tunes them on all train and val
        rows, each scored by a head that was fitted without its fold: K + 1 more fits, for many more rows to
        tune on.
    join : {"side-by-side", "average"}
        What becomes of several stores: one head on all their columns, or one on each, averaged.
    seed : int
        Of the folds.
    intervals : bool
        Whether what intervals of all metrics need is measured too.
    """

    deciding: Deciding
    refit: bool = True
    folds: int = 0
    join: Join = "side-by-side"
    seed: int = 0
    intervals: bool = False

    def __post_init__(self) -> None:
        """Check what can be checked before anything is read; `OptionError` on a value that is not allowed."""
        parse_rule(self.deciding.rule, min_tags=self.deciding.min_tags)
        if self.folds < 0 or self.folds == 1:
            raise OptionError(f"--folds got {self.folds}; give 0 (tune on val rows) or 2 or more")
        if self.join not in JOINS:
            raise OptionError(f"--join got {self.join!r}; allowed are {', '.join(JOINS)}")

    @property
    def fitted_on(self) -> str:
        """Say what rows the saved head is fitted on."""
        if self.refit:
            return "all labelled rows"
        return "train and val rows" if self.folds else "train rows"


def run_plan(
    plan: list[Planned],
    dataset: Dataset,
    options: FitOptions,
    artifacts: Path,
    progress: Progress,
    stages: Stages,
) -> list[FitReport]:
    """Fit and save all heads of the plan; return reports of those asked for, in order."""
    if options.join == "average":
        plan = one_a_store(plan, dataset.source.widths)
    with work_folder(artifacts) as work:
        tuning = _save_data(work / "data", dataset, options)
        finished: dict[str, Fitted] = {}
        for planned in plan:
            if planned.kind is Ensemble:
                with stages.timing(f"{planned.name}: combine"):
                    done = _combine(work, planned, dataset, tuning, finished, progress)
            else:
                done = _fit_apart(work, planned, dataset, options, progress, stages)
            finished[planned.name] = done
        shown = [planned for planned in plan if planned.shown]
        reports = []
        for planned in shown:
            with stages.timing(f"{planned.name}: tune rules, measure"):
                done = finished[planned.name]
                report = measure(
                    planned.name,
                    done,
                    dataset,
                    tuning,
                    options.deciding,
                    artifacts,
                    resample=options.intervals,
                )
                complete(report, done, dataset, tuning, fitted_on=options.fitted_on)
            reports.append(report)
        # moved into place last and together: until here an error or Ctrl-C changes nothing
        for report in reports:
            place_head(finished[report.head].folder, report.folder)
        return reports


def _save_data(folder: Path, dataset: Dataset, options: FitOptions) -> Rows:
    """Write what the jobs read; return the rows that rules are tuned on."""
    split = dataset.split
    if not options.folds:
        save_data(folder, dataset.source.rows, dataset.Y, split)
        return split.val
    pool = np.sort(np.concatenate([split.train, split.val]))
    save_data(folder, dataset.source.rows, dataset.Y, split, pool, _folds(dataset, pool, options))
    return pool


def _folds(dataset: Dataset, pool: Rows, options: FitOptions) -> Rows:
    """Deal the pool to folds, (n,): tags spread evenly, near-duplicates together."""
    K = options.folds
    dealt = stratified_split(dataset.Y[pool], [1 / K] * K, seed=options.seed, groups=dataset.groups[pool])
    if not all(len(rows) for rows in dealt):
        raise SplitError(
            f"{counted(len(pool), 'train or val row is', 'train and val rows are')} too few for --folds {K}; "
            "give fewer"
        )
    fold = np.empty(len(pool), np.intp)
    for number, rows in enumerate(dealt):
        fold[rows] = number
    return fold


def _fit_apart(
    work: Path,
    planned: Planned,
    dataset: Dataset,
    options: FitOptions,
    progress: Progress,
    stages: Stages,
) -> Fitted:
    job = work / planned.name
    document = {
        "kind": "fit",
        "head": planned.given,
        "options": planned.options,
        "source": dataset.source.to_dict(planned.block),
        "data": str(work / "data"),
        "refit": options.refit,
    }
    with stages.timing(f"{planned.name}: start and read"):
        run_job(job, document, progress)
    result = json.loads((job / "result.json").read_text(encoding="utf-8"))
    for stage, seconds in result["seconds"].items():
        stages[f"{planned.name}: {stage}"] = seconds
        stages[f"{planned.name}: start and read"] -= seconds
    tuning, test = (np.load(job / f"{part}_scores.npy", mmap_mode="r") for part in ("tuning", "test"))
    return Fitted(
        tuning,
        test,
        options_from_json(result["chosen"]),
        result["history"],
        result["seconds"],
        result["peak_mb"],
        job / "head",
        result["told"],
    )


def _combine(
    work: Path,
    planned: Planned,
    dataset: Dataset,
    tuning: Rows,
    finished: Mapping[str, Fitted],
    progress: Progress,
) -> Fitted:
    """Mix the scores of heads fitted before; nothing but the coefficients is learned."""
    head = Ensemble(**planned.options)
    members = {name: finished[name] for name in head.members}
    progress("combine", 0, 1)
    head.combine({name: done.tuning_scores for name, done in members.items()}, dataset.Y[tuning])
    job = work / planned.name
    folder = job / "head"
    folder.mkdir(parents=True)
    mixed = []
    for part in ("tuning_scores", "test_scores"):
        scores = {name: getattr(done, part) for name, done in members.items()}
        shape = next(iter(scores.values())).shape
        out = np.lib.format.open_memmap(job / f"{part}.npy", mode="w+", dtype=np.float32, shape=shape)
        mixed.append(head.mix(scores, out))
    head.attach({name: load_head(done.folder) for name, done in members.items()}).save(folder)
    progress("combine", 1, 1)
    seconds = {stage: sum(done.seconds.get(stage, 0) for done in members.values()) for stage in MEMBER_STAGES}
    history = [{"member": name, "weight": weight} for name, weight in head.weights().items()]
    peak = max(done.peak_mb for done in members.values())
    return Fitted(mixed[0], mixed[1], head.chosen(), history, seconds, peak, folder)
