"""What lies in an artifacts folder: stores and fitted heads, one line each."""

from pathlib import Path
from typing import Any

from toolkit.errors import ToolkitError
from toolkit.experiment.dataset import store_names
from toolkit.experiment.saved import BEST, SavedHead, saved_names
from toolkit.store import EmbeddingStore


def info(artifacts: Path | str = "artifacts") -> dict[str, Any]:
    """Return ``stores``, ``heads`` and ``best`` of the folder, as json can hold them.

    A store or head that cannot be opened is listed with its ``error``: looking never fails.
    """
    artifacts = Path(artifacts)
    stores = [_store(artifacts / "embeddings" / name) for name in store_names(artifacts)]
    heads = [_head(artifacts, name) for name in saved_names(artifacts)]
    try:
        best = SavedHead.open(artifacts, BEST).name
    except ToolkitError:
        best = None
    return {"artifacts": str(artifacts), "stores": stores, "heads": heads, "best": best}


def _store(folder: Path) -> dict[str, Any]:
    try:
        store = EmbeddingStore(folder)
    except ToolkitError as error:
        return {"store": folder.name, "error": str(error)}
    meta = store.meta
    return {
        "store": store.name,
        "rows": len(store.rows),
        "failed": len(store.failures),
        "dim": meta.spec.dim,
        "dtype": meta.dtype,
        "views": meta.views,
        "mb": round(sum(path.stat().st_size for path in folder.rglob("*.npy")) / 2**20, 1),
        "backbone": meta.spec.backbone,
        "weights": meta.spec.weights,
        "preprocessing": meta.spec.preprocessing,
        "precision": meta.spec.precision,
        "root": meta.root,
        "files": meta.files,
        "made_by_predict": meta.for_prediction,
    }


def _head(artifacts: Path, name: str) -> dict[str, Any]:
    try:
        saved = SavedHead.open(artifacts, name)
    except ToolkitError as error:
        return {"head": name, "error": str(error)}
    facts = ("micro_f1", "macro_f1", "samples_f1", "measured_on", "fitted_on", "store")
    return {
        "head": name,
        "n_tags": len(saved.space),
        "rule": saved.rule().describe(),
        **{key: saved.metrics.get(key) for key in facts},
    }
