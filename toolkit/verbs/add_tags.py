"""New tags for a fitted head: only their columns are learned, everything known stays as it is."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from toolkit.arrays.types import Float32Array, RowNumbers
from toolkit.errors import OptionError
from toolkit.evaluation.decisions.base import DecisionRule
from toolkit.evaluation.decisions.crossfit import cross_fitted
from toolkit.evaluation.decisions.registry import rule_from_dict
from toolkit.evaluation.metrics import Metrics, evaluate
from toolkit.experiment.dataset import Dataset, load_dataset
from toolkit.experiment.jobs import run_job, save_data, work_folder
from toolkit.experiment.saved import SPLIT, SavedHead, place_head, write_facts
from toolkit.files.npy import map_array
from toolkit.labels.space import LabelSpace
from toolkit.runtime.messages import counted
from toolkit.runtime.options import takes
from toolkit.verbs.options import AddTagsOptions

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


@takes(AddTagsOptions)
def add_tags(options: AddTagsOptions) -> AddReport:
    r"""Teach a fitted head the tags of the label file that it does not know yet, and save it.

    The scores of the tags it knows do not change. The new columns are learned from the rows the head was
    fitted on: all labelled rows or, without a refit, those parts of its split. A head that keeps its rows
    (`knn`) needs them to be the same images. Thresholds that are one a tag are tuned for the new ones on val
    rows; other rules stay. By default the stores are those the head was fitted on and, without a refit, the
    split is its own.

    Returns
    -------
    AddReport

    Raises
    ------
    HeadError
        There is no such head, or it cannot learn tags without being fitted again.
    OptionError
        The label file has no tag the head does not know, or there are more or fewer stores than the head's.
    SpecMismatchError
        A store was made otherwise than the one the head was fitted on.

    Examples
    --------
    >>> from pathlib import Path
    >>> import toolkit
    >>> report = toolkit.fit("knn", options={"k": 5}, artifacts=artifacts)
    >>> more = Path(artifacts) / "more.csv"
    >>> _ = more.write_text("img_path,tags\n" + "".join(f"{n}.jpg,new\n" for n in range(60)))
    >>> toolkit.add_tags("knn", labels=more, artifacts=artifacts).added
    ('new',)
    """
    artifacts = Path(options.artifacts)
    saved = SavedHead.open(artifacts, options.head)
    parts = FITTED_ON.get(saved.metrics.get("fitted_on", ""))
    dataset = _dataset(saved, parts, options)
    fresh = [column for column, tag in enumerate(dataset.space.tags) if saved.space.column(tag) is None]
    if not fresh:
        raise OptionError(
            f"head {saved.name!r} knows every tag of the label file ({len(dataset.space):,}); give a file "
            "with new ones as --labels"
        )
    added = tuple(dataset.space.tags[column] for column in fresh)
    Y = sp.csr_array(dataset.Y[:, fresh])
    with work_folder(artifacts) as work:
        save_data(work / "data", dataset.store_set.rows, Y, dataset.split)
        job = work / "add"
        run_job(
            "add_tags",
            options.head,
            job,
            options.progress,
            saved=saved.folder.resolve(),
            store_set=dataset.store_set.to_dict(),
            data=work / "data",
            rows=_rows(dataset, parts),
        )
        val, test = (map_array(job / f"{part}_scores.npy") for part in ("val", "test"))
        decision, rule = _extended(saved, val, Y[dataset.split.val])
        metrics, measured_on = _measured(dataset, Y, rule, val, test)
        if (saved.folder / SPLIT).is_file():
            shutil.copy(saved.folder / SPLIT, job / "head" / SPLIT)
        facts = {"tags": list(added), "measured_on": measured_on, **metrics.to_dict()}
        write_facts(
            job / "head",
            space=LabelSpace((*saved.space.tags, *added)),
            stores=saved.stores,
            decision=decision,
            metrics=saved.metrics | {"added": [*saved.metrics.get("added", []), facts]},
            history=saved.history,
        )
        place_head(job / "head", saved.folder)
    n_tags = len(saved.space) + len(added)
    return AddReport(saved.name, saved.folder, added, n_tags, metrics, measured_on, dataset.notes)


def _dataset(saved: SavedHead, parts: Sequence[str] | None, options: AddTagsOptions) -> Dataset:
    """Load the data; stores and split that are not named are those the head was fitted with."""
    store = options.stores or tuple(record.store for record in saved.stores)
    split = saved.folder / SPLIT if options.split is None and parts is not None else options.split
    dataset = load_dataset(replace(options, store=store, split=split))
    saved.require(dataset.store_set.stores, remedy="fit the head on this store")
    # stores side by side may have grown since: the head knows them by the scales it was fitted with
    scales = tuple(record.scale for record in saved.stores)
    return replace(dataset, store_set=replace(dataset.store_set, scales=scales))


def _rows(dataset: Dataset, parts: Sequence[str] | None) -> RowNumbers:
    """Return the rows of some parts of the split, ascending; all labelled rows for None."""
    if parts is None:
        return np.arange(len(dataset.ids))
    return np.sort(np.concatenate([getattr(dataset.split, part) for part in parts]))


def _extended(saved: SavedHead, scores: Float32Array, Y: sp.csr_array) -> tuple[dict[str, Any], DecisionRule]:
    """Return the head's rules for all tags, and the rule in use for the new tags alone."""

    def for_new_tags(document: dict[str, Any]) -> DecisionRule:
        rule = rule_from_dict(document)
        return rule.fit(scores, Y) if rule.per_tag else rule

    def for_all_tags(document: dict[str, Any]) -> dict[str, Any]:
        return rule_from_dict(document).extended(for_new_tags(document)).to_dict()

    decision = {
        "rule": for_all_tags(saved.decision["rule"]),
        "tuned": {name: for_all_tags(rule) for name, rule in saved.decision["tuned"].items()},
    }
    return decision, for_new_tags(saved.decision["rule"])


def _measured(
    dataset: Dataset, Y: sp.csr_array, rule: DecisionRule, val: Float32Array, test: Float32Array
) -> tuple[Metrics, str]:
    split = dataset.split
    if len(split.test):
        return evaluate(Y[split.test], rule.apply(test), test), counted(len(split.test), "test row")
    truth, rows = Y[split.val], counted(len(split.val), "val row")
    if not rule.per_tag:  # it was tuned before there were these tags, so no row of theirs tuned it
        return evaluate(truth, rule.apply(val), val), rows
    predicted = cross_fitted(rule, val, truth, groups=dataset.groups[split.val])
    return evaluate(truth, predicted, val), f"{rows}, cross-fitted"
