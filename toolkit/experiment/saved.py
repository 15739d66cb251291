"""A fitted head on disk, with all that predicting needs: tags, decision rule, spec, and how good it is.

Layout of ``artifacts/heads/<head>/``::

    head.json, *.npy   the head itself
    tags.txt           one tag a line, in the order of the columns
    decision.json      the rule in use, and every tuned rule, so that another can be chosen without refitting
    metrics.json       what was measured, on which rows, and how the head came about
    history.csv        epochs, or the options tried
    spec.json          the stores it was fitted on: what made their embeddings, and how they are scaled
    split.csv          which rows it was fitted, chosen and measured on
    scores/            the top scores, and the tags, of the rows that are tuned and measured on

``artifacts/heads/best.json`` names the winner of the last comparison.
"""

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

from toolkit.arrays.types import Float32Array, RowNumbers
from toolkit.errors import HeadError, OptionError
from toolkit.evaluation.decisions.base import DecisionRule
from toolkit.evaluation.decisions.registry import parse_rule, rule_from_dict, tuned_rules
from toolkit.evaluation.splits import write_split
from toolkit.experiment.dataset import Dataset
from toolkit.experiment.documents import Decision, HeadDocuments, read_best
from toolkit.experiment.identity import identity_of, read_same
from toolkit.experiment.measuring import FitReport, Fitted
from toolkit.experiment.options import BEST
from toolkit.experiment.saved_scores import SavedScores, ScorePart
from toolkit.experiment.stores import StoreRecord
from toolkit.files.csv import read_csv, write_csv
from toolkit.files.folders import beside, copied, discard, names_of, read_steadily, replace, restore
from toolkit.files.json import write_json
from toolkit.files.locks import holding
from toolkit.heads.registry import get_head
from toolkit.labels.space import LabelSpace
from toolkit.runtime.messages import counted
from toolkit.store.reading import EmbeddingStore

R = TypeVar("R")

SPLIT = "split.csv"


@dataclass(frozen=True)
class SavedHead:
    """One folder of ``artifacts/heads``, opened.

    Attributes
    ----------
    folder : Path
    space : LabelSpace
    stores : tuple of StoreRecord
        The stores it was fitted on.
    identity : str
        Which fit it is; see `toolkit.experiment.identity`.
    decision : Decision
        ``rule`` in use and ``tuned`` rules by name, as `DecisionRule.to_dict` wrote them.
    metrics : dict
    given : str
        What the user called it: its name, ``best`` or ``package.module:Class``.
    """

    folder: Path
    space: LabelSpace
    stores: tuple[StoreRecord, ...]
    identity: str
    decision: Decision
    metrics: dict[str, Any]
    given: str

    @property
    def name(self) -> str:
        """The head's name."""
        return self.folder.name

    @property
    def id(self) -> str:
        """Which fit this is: drawn anew whenever a head is saved; empty in heads saved without one."""
        return str(self.metrics.get("id", ""))

    @classmethod
    def open(cls, artifacts: Path, name: str) -> Self:
        """Open the head `name`; ``best`` is the last comparison's winner, or the only head there is.

        A head that was given as ``package.module:Class`` is found by that too. `HeadError` if the head does
        not exist, or its folder is incomplete.
        """
        given = name
        if ":" in name:
            name = get_head(name).name
        target = artifacts / "heads" / (_best(artifacts) if name == BEST else name)

        return read_steadily(target, lambda folder: cls._read(folder, target, artifacts, given))

    @classmethod
    def _read(cls, folder: Path, target: Path, artifacts: Path, given: str) -> Self:
        """Read `folder`, which is `target` or, while that is being replaced, beside it."""
        if not (folder / "head.json").is_file():
            there = ", ".join(saved_names(artifacts)) or "none yet; fit one with: toolkit fit --head NAME"
            raise HeadError(
                f"there is no fitted head {target.name!r} in {artifacts / 'heads'}; there are: {there}"
            )
        known = HeadDocuments.read(folder)
        return cls(
            target, known.space, known.stores, identity_of(folder), known.decision, known.metrics, given
        )

    def read(self, read: Callable[[Path], R]) -> R:
        """Return ``read(folder)``, all read from this fit; `ChangedError` if it was replaced since."""
        return read_same(self.folder, self.identity, read)

    @property
    def history(self) -> list[dict[str, str]]:
        """Epochs, or the options tried, as history.csv has them; empty if it has none."""
        path = self.folder / "history.csv"
        if not path.is_file():
            return []
        rows = read_csv(path, error=HeadError)
        _, header = next(rows)
        return [dict(zip(header, cells, strict=True)) for _, cells in rows]

    def require(self, stores: Sequence[EmbeddingStore], *, remedy: str) -> None:
        """Raise `OptionError` or `SpecMismatchError` unless the stores are like those it was fitted on."""
        if len(stores) != len(self.stores):
            want = "+".join(record.store for record in self.stores)
            have = "+".join(store.name for store in stores)
            raise OptionError(
                f"head {self.name!r} was fitted on {counted(len(self.stores), 'store')} ({want}), {have!r} "
                f"names {len(stores)}; name as many, made alike and in that order (for predict joined by +)"
            )
        for store, record in zip(stores, self.stores, strict=True):
            record.spec.require(
                store.meta.spec, have=f"head {self.name!r}", want=f"store {store.name!r}", remedy=remedy
            )

    def rule(self, text: str | None = None, *, min_tags: int | None = None) -> DecisionRule:
        """Return the head's rule, or the one `text` names, as tuned when the head was fitted."""
        document = dict(self.decision["rule"])
        if text is not None:
            asked = parse_rule(text).to_dict()
            document = dict(self.decision["tuned"].get(asked["rule"], asked))
        if min_tags is not None:
            if min_tags < 0:
                raise OptionError(f"--min-tags got {min_tags}; give 0 or more")
            document["min_tags"] = min_tags
        return rule_from_dict(document)

    def decide_by(self, rule: DecisionRule, facts: Mapping[str, Any]) -> None:
        """Make `rule`, tuned, the head's own, and enter what was measured with it."""
        document = rule.to_dict()
        tuned = self.decision["tuned"]
        if document["rule"] in tuned:
            tuned = tuned | {document["rule"]: document}
        fresh = beside(self.folder, "next")
        with holding(self.folder.parent):  # both files change at once: the folder is replaced
            discard(fresh, self.folder)
            self.read(lambda folder: copied(folder, fresh))
            write_json(fresh / "decision.json", {"rule": document, "tuned": tuned})
            write_json(fresh / "metrics.json", {**self.metrics, **facts})
            replace(fresh, self.folder)


def saved_names(artifacts: Path) -> list[str]:
    """Return the names of all fitted heads."""
    return names_of(artifacts / "heads", "head.json")


def save_report(
    report: FitReport, fitted: Fitted, dataset: Dataset, tuning: RowNumbers, *, fitted_on: str
) -> None:
    """Write all that belongs to a saved head into ``fitted.folder``; `fitted_on` says which rows it learned.

    `tuning` are the rows its rule was tuned on.
    """
    split, Y, folder = dataset.split, dataset.Y, fitted.folder
    used = report.rule.to_dict()
    tuned = {
        name: used | {"min_tags": 0}
        if used["rule"] == name
        else parse_rule(name).fit(fitted.tuning_scores, Y[tuning]).to_dict()
        for name in tuned_rules()
    }
    diagnostics = dict(fitted.diagnostics)
    unconverged = [dataset.space.tags[column] for column in diagnostics.pop("unconverged", ())]
    facts = (
        report.row()
        | report.metrics.to_dict()
        | {
            "measured_on": report.measured_on,
            "n_train": len(split.train),
            "n_val": len(split.val),
            "n_test": len(split.test),
            "split": split.source,
            "store": dataset.store_set.name,
            "optimism": report.optimism,
            "chosen": report.chosen,
            "fitted_on": fitted_on,
            **diagnostics,
            "unconverged": unconverged,
        }
    )
    write_split(folder / SPLIT, dataset.ids, split)
    _save_scores(folder, dataset, "tuning", fitted.tuning_scores, tuning)
    _save_scores(folder, dataset, "test", fitted.test_scores, split.test)
    write_facts(
        folder,
        space=dataset.space,
        stores=dataset.store_set.records,
        decision={"rule": report.rule.to_dict(), "tuned": tuned},
        metrics=facts,
        history=report.history,
    )


def _save_scores(
    folder: Path, dataset: Dataset, part: ScorePart, scores: Float32Array, rows: RowNumbers
) -> None:
    ids = [dataset.ids[row] for row in rows]
    tags, Y, groups = dataset.space.tags, dataset.Y[rows], dataset.groups[rows]
    SavedScores.of(scores, ids, tags, Y, groups).write(folder, part)


def write_facts(
    folder: Path,
    *,
    space: LabelSpace,
    stores: Sequence[StoreRecord],
    decision: Mapping[str, Any],
    metrics: Mapping[str, Any],
    history: Sequence[Mapping[str, Any]],
) -> None:
    """Write what else belongs to a head into `folder`, where it saved itself."""
    space.write(folder / "tags.txt")
    write_json(folder / "spec.json", {"stores": [record.to_dict() for record in stores]})
    write_json(folder / "decision.json", decision)
    write_json(folder / "metrics.json", {**metrics, "id": secrets.token_hex(8)})
    if history:
        header = list(history[0])
        write_csv(folder / "history.csv", header, ([row.get(key, "") for key in header] for row in history))


def place_head(fitted: Path, target: Path, *, instead_of: str | None = None) -> None:
    """Move the complete folder `fitted` to ``artifacts/heads/<head>``; an earlier head there is replaced.

    With `instead_of`, the identity of the head that `fitted` was made of, `ChangedError` if another is there.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with holding(target.parent):
        restore(target)
        if instead_of is not None:
            read_same(target, instead_of, lambda _: None)
        replace(fitted, target)


def write_best(artifacts: Path, name: str, comparison: str) -> None:
    """Note the winner of a comparison."""
    write_json(artifacts / "heads" / "best.json", {"head": name, "comparison": comparison})


def _best(artifacts: Path) -> str:
    path = artifacts / "heads" / "best.json"
    if path.is_file():
        return read_best(path)
    names = saved_names(artifacts)
    if len(names) == 1:
        return names[0]
    if not names:
        raise HeadError(
            f"there is no fitted head in {artifacts / 'heads'}; fit one with: toolkit fit --head NAME"
        )
    raise HeadError(
        f"no comparison has chosen the best of {', '.join(names)}; name one, or run: toolkit compare"
    )
