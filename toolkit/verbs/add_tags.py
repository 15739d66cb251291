"""New tags for a fitted head: only their columns are learned, everything known stays as it is."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from toolkit.errors import OptionError
from toolkit.evaluation.decisions.crossfit import cross_fitted
from toolkit.evaluation.decisions.registry import rule_from_dict
from toolkit.evaluation.metrics import Metrics, evaluate
from toolkit.experiment.dataset import Dataset, load_dataset
from toolkit.experiment.jobs import run_job, save_data, work_folder
from toolkit.experiment.planning import data_options
from toolkit.experiment.saved import BEST, SPLIT, SavedHead, place_head, write_facts
from toolkit.labels.space import LabelSpace
from toolkit.runtime.messages import counted
from toolkit.runtime.progress import Progress, silent

Rows = NDArray[np.intp]
Scores = NDArray[np.float32]

FITTED_ON = {"train rows": ("train",), "train and val rows": ("train", "val")}
"""Parts of the split a head was fitted on, by what its metrics.json says; otherwise it was on all rows."""


@dataclass(frozen=True, eq=False)
class AddReport:
    """Which tags a head has learned, and how good it is at them.

    Attributes
    ----------
    head : str
    folder : Path
    added : tuple of str
        The new tags, in the order of their columns.
    n_tags : int
        All tags the head knows now.
    metrics : Metrics
        Over the new tags alone, by columns learned on the train rows only. What tags share, such as the
        hidden layers of `mlp`, is as it was fitted: after a refit on all rows, so it has seen the test rows
        and their known tags, though no new one.
    measured_on : str
        Test rows or, where there are none, val rows, in words: cross-fitted if thresholds were tuned on them.
    notes : tuple of str
        What was read and matched.
    """

    head: str
    folder: Path
    added: tuple[str, ...]
    n_tags: int
    metrics: Metrics
    measured_on: str
    notes: tuple[str, ...]


def add_tags(
    head: str = BEST, *, artifacts: Path | str = "artifacts", progress: Progress = silent, **data: Any
) -> AddReport:
    """Teach a fitted head the tags of the label file that it does not know yet, and save it.

    What it says of the tags it knows does not change. The new columns are learned from the rows the head was
    fitted on: all labelled rows or, without a refit, those parts of its split. A head that keeps its rows
    (`knn`) needs them to be the same images. Thresholds that are one a tag are tuned for the new ones on val
    rows; other rules stay.

    Parameters
    ----------
    head : str
        A fitted head; ``best`` is the last comparison's winner, or the only one there is.
    **data
        See `DataOptions`; by default the stores the head was fitted on and, without a refit, its split.

    Raises
    ------
    HeadError
        There is no such head, or it cannot learn tags without being fitted again.
    OptionError
        The label file has no tag the head does not know, or there are more or fewer stores than the head's.
    SpecMismatchError
        A store was made otherwise than the one the head was fitted on.
    """
    saved = SavedHead.open(Path(artifacts), head)
    parts = FITTED_ON.get(saved.metrics.get("fitted_on", ""))
    dataset = _dataset(saved, parts, data | {"artifacts": artifacts})
    fresh = [column for column, tag in enumerate(dataset.space.tags) if saved.space.column(tag) is None]
    if not fresh:
        raise OptionError(
            f"head {saved.name!r} knows every tag of the label file ({len(dataset.space):,}); give a file "
            "with new ones as --labels"
        )
    added = tuple(dataset.space.tags[column] for column in fresh)
    Y = sp.csr_array(dataset.Y[:, fresh])
    with work_folder(Path(artifacts)) as work:
        save_data(work / "data", dataset.source.rows, Y, dataset.split)
        np.save(work / "data" / "own.npy", _rows(dataset, parts))
        job = work / "add"
        document = {
            "kind": "add-tags",
            "head": head,
            "folder": str(saved.folder.resolve()),
            "source": dataset.source.to_dict(),
            "data": str(work / "data"),
        }
        run_job(job, document, progress)
        val, test = (np.load(job / f"{part}_scores.npy", mmap_mode="r") for part in ("val", "test"))
        decision, rule = _extended(saved, val, Y[dataset.split.val])
        metrics, measured_on = _measured(dataset, Y, rule, val, test)
        if (saved.folder / SPLIT).is_file():
            shutil.copy(saved.folder / SPLIT, job / "head" / SPLIT)
        facts = {"tags": list(added), "measured_on": measured_on, **metrics.to_dict()}
        write_facts(
            job / "head",
            space=LabelSpace((*saved.space.tags, *added)),
            parts=saved.parts,
            decision=decision,
            metrics=saved.metrics | {"added": [*saved.metrics.get("added", []), facts]},
            history=saved.history,
        )
        place_head(job / "head", saved.folder)
    n_tags = len(saved.space) + len(added)
    return AddReport(saved.name, saved.folder, added, n_tags, metrics, measured_on, dataset.notes)


def _dataset(saved: SavedHead, parts: Sequence[str] | None, data: dict[str, Any]) -> Dataset:
    """Load what the user asked for; what is not said is as when the head was fitted."""
    known: dict[str, Any] = {"store": [part.store for part in saved.parts]}
    if parts is not None:
        known["split"] = saved.folder / SPLIT
    said = {key: value for key, value in data.items() if value is not None and value != ()}
    dataset = load_dataset(data_options(known | said))
    saved.require(dataset.source.stores, remedy="fit the head on this store")
    # stores side by side may have grown since: the head knows them by the scales it was fitted with
    scales = tuple(part.scale for part in saved.parts)
    return replace(dataset, source=replace(dataset.source, scales=scales))


def _rows(dataset: Dataset, parts: Sequence[str] | None) -> Rows:
    """Return the rows of some parts of the split, ascending; all labelled rows for None."""
    if parts is None:
        return np.arange(len(dataset.ids))
    return np.sort(np.concatenate([getattr(dataset.split, part) for part in parts]))


def _extended(saved: SavedHead, scores: Scores, Y: sp.csr_array) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the head's rules with thresholds for the new tags, and the rule in use for these alone."""

    def tuned(rule: dict[str, Any]) -> dict[str, Any]:
        """Return the rule for the new tags: tuned where it has a threshold for each tag, else as it is."""
        if not _one_a_tag(rule):
            return rule
        return rule_from_dict(rule).fit(scores, Y).to_dict()

    def longer(rule: dict[str, Any]) -> dict[str, Any]:
        if not _one_a_tag(rule):
            return rule
        return rule | {"thresholds": [*rule["thresholds"], *tuned(rule)["thresholds"]]}

    decision = {
        "rule": longer(saved.decision["rule"]),
        "tuned": {name: longer(rule) for name, rule in saved.decision["tuned"].items()},
    }
    return decision, tuned(saved.decision["rule"])


def _one_a_tag(rule: dict[str, Any]) -> bool:
    return "thresholds" in rule and rule["rule"] not in ("fixed", "global")


def _measured(
    dataset: Dataset, Y: sp.csr_array, rule: dict[str, Any], val: Scores, test: Scores
) -> tuple[Metrics, str]:
    split, decision = dataset.split, rule_from_dict(rule)
    if len(split.test):
        return evaluate(Y[split.test], decision.apply(test), test), counted(len(split.test), "test row")
    truth, where = Y[split.val], counted(len(split.val), "val row")
    if not _one_a_tag(rule):  # as it was before there were these tags: no row of theirs tuned it
        return evaluate(truth, decision.apply(val), val), where
    predicted = cross_fitted(decision, val, truth, groups=dataset.groups[split.val])
    return evaluate(truth, predicted, val), f"{where}, cross-fitted"
