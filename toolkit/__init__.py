"""Multi-label image tagging on one frozen-backbone pass.

The verbs of the command line are functions here, and the parts are usable on plain arrays::

    import toolkit

    toolkit.embed("train/")
    toolkit.compare()
    toolkit.predict("test/", out="submit.csv")

    head = toolkit.get_head("logreg")(C=0.01).fit(X, Y)

Everything is imported when it is first used: ``import toolkit`` alone loads nothing heavy.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from toolkit.decisions import parse_rule as parse_rule
    from toolkit.demo import demo as demo
    from toolkit.embedding import embed as embed
    from toolkit.embedding import verify as verify
    from toolkit.experiment import SavedHead as SavedHead
    from toolkit.experiment import add_tags as add_tags
    from toolkit.experiment import compare as compare
    from toolkit.experiment import evaluate as evaluate
    from toolkit.experiment import export as export
    from toolkit.experiment import fit as fit
    from toolkit.experiment import info as info
    from toolkit.experiment import predict as predict
    from toolkit.experiment import tune as tune
    from toolkit.heads import get_head as get_head
    from toolkit.heads import head_names as head_names
    from toolkit.heads import load_head as load_head
    from toolkit.imported import import_features as import_features
    from toolkit.labels import read_labels as read_labels
    from toolkit.splits import stratified_split as stratified_split
    from toolkit.store import EmbeddingStore as EmbeddingStore

_WHERE = {
    "EmbeddingStore": "toolkit.store",
    "SavedHead": "toolkit.experiment",
    "add_tags": "toolkit.experiment",
    "compare": "toolkit.experiment",
    "demo": "toolkit.demo",
    "embed": "toolkit.embedding",
    "evaluate": "toolkit.experiment",
    "export": "toolkit.experiment",
    "fit": "toolkit.experiment",
    "get_head": "toolkit.heads",
    "head_names": "toolkit.heads",
    "import_features": "toolkit.imported",
    "info": "toolkit.experiment",
    "load_head": "toolkit.heads",
    "parse_rule": "toolkit.decisions",
    "predict": "toolkit.experiment",
    "read_labels": "toolkit.labels",
    "stratified_split": "toolkit.splits",
    "tune": "toolkit.experiment",
    "verify": "toolkit.embedding",
}

__all__ = list(_WHERE)


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'toolkit' has no attribute {name!r}; it has {', '.join(_WHERE)}")
    return getattr(importlib.import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_WHERE})
