"""The documents in the folder of a fitted head, checked against one another before anything is used."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from toolkit.errors import HeadError, ToolkitError
from toolkit.evaluation.decisions.registry import rule_from_dict
from toolkit.experiment.stores import StoreRecord
from toolkit.files.json import read_json, typed
from toolkit.labels.space import LabelSpace
from toolkit.runtime.messages import counted


class Decision(TypedDict):
    """``decision.json``: the rule in use, and every tuned rule by name."""

    rule: dict[str, Any]
    tuned: dict[str, dict[str, Any]]


class _Head(TypedDict, total=False):
    n_features: int
    n_tags: int


class _Spec(TypedDict):
    stores: list[dict[str, Any]]


class _Added(TypedDict):
    tags: list[str]


class _Metrics(TypedDict, total=False):
    id: str
    fitted_on: str
    measured_on: str
    store: str
    split: str
    added: list[_Added]


class _Best(TypedDict):
    head: str


@dataclass(frozen=True)
class HeadDocuments:
    """What a head's folder says of it; tags, rules and stores fit one another and the head."""

    space: LabelSpace
    stores: tuple[StoreRecord, ...]
    decision: Decision
    metrics: dict[str, Any]

    @classmethod
    def read(cls, folder: Path) -> "HeadDocuments":
        """Read the folder; `HeadError` if a document is missing, damaged, or contradicts another."""
        try:
            head = read_json(folder / "head.json", _Head)
            decision = read_json(folder / "decision.json", Decision)
            metrics = read_json(folder / "metrics.json", dict[str, Any])
            typed(metrics, _Metrics)
            stores = tuple(map(StoreRecord.from_dict, read_json(folder / "spec.json", _Spec)["stores"]))
            space = LabelSpace.read(folder / "tags.txt")
            _check_sizes(head, space, stores)
            _check_rules(decision, len(space))
        except (OSError, ValueError, ToolkitError) as error:
            raise HeadError(f"{folder} is not a complete head ({error}); fit it again") from error
        return cls(space, stores, decision, metrics)


def _check_sizes(head: _Head, space: LabelSpace, stores: tuple[StoreRecord, ...]) -> None:
    n_tags, n_features = head.get("n_tags"), head.get("n_features")
    if n_tags not in (None, len(space)):
        raise ValueError(f"tags.txt lists {counted(len(space), 'tag')}, but the head scores {n_tags:,}")
    dims = sum(record.spec.dim for record in stores)
    if n_features not in (None, dims):
        raise ValueError(f"spec.json is of {counted(dims, 'feature')}, but the head takes {n_features:,}")


def _check_rules(decision: Decision, n_tags: int) -> None:
    rule_from_dict(decision["rule"]).check(n_tags)
    for name, document in decision["tuned"].items():
        rule = rule_from_dict(document)
        rule.check(n_tags)
        if rule.name != name:
            raise ValueError(f"decision.json has the rule {rule.name!r} under the name {name!r}")


def read_best(path: Path) -> str:
    """Return the head that ``best.json`` names; `HeadError` if it is damaged or names no head beside it."""
    try:
        name = read_json(path, _Best)["head"]
        if name.startswith(".") or Path(name).name != name:
            raise ValueError(f"{name!r} is no name of a head")
        return name
    except (OSError, ValueError) as error:
        raise HeadError(f"{path} is damaged ({error}); run toolkit compare again or name a head") from error
