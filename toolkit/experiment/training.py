"""Fit heads on one split, tune their rules, measure them on rows that influenced nothing, and save them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from toolkit.decisions import DEFAULT_RULE, DecisionRule, parse_rule
from toolkit.errors import OptionError
from toolkit.experiment.dataset import DataOptions, Dataset, load_dataset
from toolkit.experiment.jobs import run_job, save_labels, work_folder
from toolkit.experiment.saved import write_head
from toolkit.heads import get_head, load_head
from toolkit.heads.ensemble import Ensemble
from toolkit.heads.options import check_options, parse_options
from toolkit.metrics import Metrics, evaluate
from toolkit.progress import Progress, silent
from toolkit.splits import halves

Scores = NDArray[np.float32]

TUNED_RULES = ("global", "per-tag", "expected-f1")
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


@dataclass(frozen=True, kw_only=True)
class FitOptions:
    """How heads are fitted, whatever they are.

    Attributes
    ----------
    rule : str
        As `toolkit.decisions.parse_rule` reads it.
    min_tags : int
        Tags every image gets at least.
    refit : bool
        Whether the head that is saved is fitted again on all labelled rows, with the options chosen.
    """

    rule: str = DEFAULT_RULE
    min_tags: int = 0
    refit: bool = True


@dataclass(frozen=True, eq=False)
class FitReport:
    """One fitted head and how good it is.

    Attributes
    ----------
    head : str
    folder : Path
        Where it is saved.
    metrics : Metrics
        On the test rows or, where there are none, cross-fitted on the val rows.
    measured_on : str
        Which of the two, in words.
    rule : DecisionRule
    chosen : dict
        The head's options, with all choices made.
    fit_seconds, score_seconds : float
        Of fitting on train (choices included), and of scoring the test rows.
    peak_mb : float
        Most memory (MiB) of the process doing so.
    history : list of dict
        Epochs, or the options tried.
    notes : tuple of str
        What was read and matched.
    predicted : csr_array (n, L) bool
        For the rows measured.
    """

    head: str
    folder: Path
    metrics: Metrics
    measured_on: str
    rule: DecisionRule
    chosen: dict[str, Any]
    fit_seconds: float
    score_seconds: float
    peak_mb: float
    history: list[dict[str, Any]]
    notes: tuple[str, ...]
    predicted: sp.csr_array

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


def fit(
    head: str = "mlp",
    *,
    options: Mapping[str, Any] | Sequence[str] = (),
    rule: str = DEFAULT_RULE,
    min_tags: int = 0,
    refit: bool = True,
    device: str = "auto",
    progress: Progress = silent,
    **data: Any,
) -> FitReport:
    """Fit one head on a cached store and save it as ``artifacts/heads/<head>/``.

    Parameters
    ----------
    head : str
        A name of `toolkit.heads.head_names`, or ``package.module:Class``.
    options : mapping, or sequence of ``name=value``
        Of the head's constructor.
    rule, min_tags, refit
        See `FitOptions`.
    device : str
        Where heads that have such an option train: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
    **data
        See `DataOptions`: ``artifacts, store, labels, tags, split, seed, ...``.

    Raises
    ------
    ToolkitError
        Something is missing, contradicts something else or has a value that is not allowed.
    """
    given = FitOptions(rule=rule, min_tags=min_tags, refit=refit)
    parse_rule(rule, min_tags=min_tags)
    plan = plan_heads([head], {head: options}, default_options(device, data))
    dataset = load_dataset(data_options(data))
    artifacts = data_options(data).artifacts
    return run_plan(plan, dataset, given, artifacts, progress)[-1]


@dataclass(frozen=True)
class _Planned:
    """A head to fit: its name as given, its class, its options, and whether the user asked for it."""

    given: str
    kind: Any
    options: dict[str, Any]
    shown: bool = True

    @property
    def name(self) -> str:
        return str(self.kind.name)


def data_options(data: Mapping[str, Any]) -> DataOptions:
    """Return the options of that name; `OptionError` lists them if one is not known."""
    paths = {
        key: Path(data[key]) for key in ("artifacts", "labels", "tags", "split") if data.get(key) is not None
    }
    try:
        return DataOptions(**{**data, **paths})
    except TypeError as error:
        allowed = ", ".join(asdict(DataOptions()))
        raise OptionError(f"unknown option ({error}); data options are {allowed}") from error


def default_options(device: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """Return options for the heads that have them and are not given them."""
    return {"seed": int(data.get("seed", 0)), "device": device}


def plan_heads(names: list[str], options: Mapping[str, Any], defaults: Mapping[str, Any]) -> list[_Planned]:
    """Return the heads to fit, ensembles after their members; members nobody asked for are not shown."""
    if not names:
        raise OptionError("no head is named; name at least one")
    stray = [name for name in options if name not in names]
    if stray:
        raise OptionError(f"options are given for head {stray[0]!r}, which is not among {', '.join(names)}")
    plan = [_planned(name, options.get(name, ()), defaults) for name in names]
    called = [planned.name for planned in plan]
    if len(set(called)) != len(called):
        raise OptionError(f"a head is named twice among {', '.join(called)}; name each once")
    single = [planned for planned in plan if planned.kind is not Ensemble]
    for ensemble in [planned for planned in plan if planned.kind is Ensemble]:
        members = ensemble.options.get("members") or tuple(planned.name for planned in single)
        if len(single) < 2 and "members" not in ensemble.options:
            members = Ensemble().members
        known = {planned.name for planned in single}
        for name in members:
            if name not in known:
                single.append(replace(_planned(name, (), defaults), shown=False))
        single.append(replace(ensemble, options=ensemble.options | {"members": members}))
    return single


def _planned(name: str, options: Mapping[str, Any] | Sequence[str], defaults: Mapping[str, Any]) -> _Planned:
    kind = get_head(name)
    values = dict(options) if isinstance(options, Mapping) else parse_options(kind, options)
    head: Any = kind()
    values = {key: value for key, value in defaults.items() if key in head.get_params()} | values
    head.set_params(**values)
    check_options(head)
    if kind is Ensemble:
        head.check_members()
    return _Planned(name, kind, values)


def run_plan(
    plan: list[_Planned], dataset: Dataset, options: FitOptions, artifacts: Path, progress: Progress
) -> list[FitReport]:
    """Fit and save all heads of the plan; return reports of those asked for, in order."""
    with work_folder(artifacts) as work:
        data = work / "data"
        data.mkdir()
        _save_data(data, dataset)
        finished: dict[str, _Finished] = {}
        for planned in plan:
            if planned.kind is Ensemble:
                done = _combine(work, planned, dataset, finished, progress)
            else:
                done = _fit_apart(work, planned, dataset, options, progress)
            finished[planned.name] = done
        shown = [planned for planned in plan if planned.shown]
        # saved last and together: the ensemble reads its members' folders, and Ctrl-C changes nothing
        return [_save(finished[planned.name], planned, dataset, options, artifacts) for planned in shown]


@dataclass(frozen=True, eq=False)
class _Finished:
    """What fitting a head left: scores, facts, and the folder the final head saved itself in."""

    val_scores: Scores
    test_scores: Scores
    result: dict[str, Any]
    folder: Path


def _save_data(folder: Path, dataset: Dataset) -> None:
    split = dataset.split
    for name, rows in (
        ("rows", dataset.rows),
        ("train", split.train),
        ("val", split.val),
        ("test", split.test),
    ):
        np.save(folder / f"{name}.npy", rows)
    save_labels(folder / "Y.npz", dataset.Y)


def _fit_apart(
    work: Path, planned: _Planned, dataset: Dataset, options: FitOptions, progress: Progress
) -> _Finished:
    job = work / planned.name
    document = {
        "kind": "fit",
        "head": planned.given,
        "options": planned.options,
        "store": str(dataset.store.folder.resolve()),
        "data": str(work / "data"),
        "refit": options.refit,
    }
    run_job(job, document, progress)
    result = json.loads((job / "result.json").read_text(encoding="utf-8"))
    val, test = (np.load(job / f"{part}_scores.npy", mmap_mode="r") for part in ("val", "test"))
    return _Finished(val, test, result, job / "head")


def _combine(
    work: Path, planned: _Planned, dataset: Dataset, finished: Mapping[str, _Finished], progress: Progress
) -> _Finished:
    """Mix the scores of heads fitted before; nothing but the coefficients is learned."""
    head = Ensemble(**planned.options)
    members = {name: finished[name] for name in head.members}
    progress("combine", 0, 1)
    head.combine({name: done.val_scores for name, done in members.items()}, dataset.Y[dataset.split.val])
    mixed = [
        head.mix({name: getattr(done, part) for name, done in members.items()})
        for part in ("val_scores", "test_scores")
    ]
    progress("combine", 1, 1)
    results = [done.result for done in members.values()]
    result = {
        "fit_seconds": sum(result["fit_seconds"] for result in results),
        "score_seconds": sum(result["score_seconds"] for result in results),
        "peak_mb": max(result["peak_mb"] for result in results),
        "chosen": head.chosen(),
        "history": [{"member": name, "weight": weight} for name, weight in head.weights().items()],
    }
    folder = work / planned.name
    folder.mkdir()
    head.attach({name: load_head(done.folder) for name, done in members.items()}).save(folder)
    return _Finished(mixed[0], mixed[1], result, folder)


def _save(
    done: _Finished, planned: _Planned, dataset: Dataset, options: FitOptions, artifacts: Path
) -> FitReport:
    split, Y = dataset.split, dataset.Y
    rule = parse_rule(options.rule, min_tags=options.min_tags).fit(done.val_scores, Y[split.val])
    if len(split.test):
        measured_on = f"{len(split.test):,} test rows"
        predicted = rule.apply(done.test_scores)
        metrics = evaluate(Y[split.test], predicted, done.test_scores)
    else:
        measured_on = f"{len(split.val):,} val rows, cross-fitted: options were chosen on them"
        predicted = _cross_fitted(done.val_scores, Y[split.val], options)
        metrics = evaluate(Y[split.val], predicted, done.val_scores)
    tuned = {name: parse_rule(name).fit(done.val_scores, Y[split.val]).to_dict() for name in TUNED_RULES}
    report = FitReport(
        planned.name,
        artifacts / "heads" / planned.name,
        metrics,
        measured_on,
        rule,
        done.result["chosen"],
        done.result["fit_seconds"],
        done.result["score_seconds"],
        done.result["peak_mb"],
        done.result["history"],
        dataset.notes,
        predicted,
    )
    facts = (
        report.row()
        | metrics.to_dict()
        | {
            "measured_on": measured_on,
            "n_train": len(split.train),
            "n_val": len(split.val),
            "n_test": len(split.test),
            "split": split.source,
            "store": dataset.store.name,
            "chosen": report.chosen,
            "fitted_on": "all labelled rows" if options.refit else "train rows",
        }
    )
    write_head(
        artifacts,
        planned.name,
        done.folder,
        space=dataset.space,
        spec=dataset.store.meta.spec,
        decision={"rule": rule.to_dict(), "tuned": tuned},
        metrics=facts,
        history=report.history,
    )
    return report


def _cross_fitted(scores: Scores, Y: sp.csr_array, options: FitOptions) -> sp.csr_array:
    """Return predictions for rows, each by a rule tuned on the half it is not in."""
    half = halves(len(scores))
    parts, rows = [], []
    for here in (0, 1):
        tuned_on, applied_to = np.flatnonzero(half != here), np.flatnonzero(half == here)
        rule = parse_rule(options.rule, min_tags=options.min_tags).fit(scores[tuned_on], Y[tuned_on])
        parts.append(rule.apply(scores[applied_to]))
        rows.append(applied_to)
    stacked: Any = sp.vstack(parts, format="csr")
    return sp.csr_array(stacked[np.argsort(np.concatenate(rows))])
