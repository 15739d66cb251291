"""What this machine would embed with, and what an artifacts folder holds."""

from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from toolkit.backbones.fidelity import measured
from toolkit.backbones.graphs import FACTS, Graph, cache_folder
from toolkit.backbones.registry import ENGINES, choose_engine
from toolkit.errors import ToolkitError
from toolkit.experiment.dataset import store_names
from toolkit.experiment.leftovers import leftovers
from toolkit.experiment.options import BEST
from toolkit.experiment.saved import SavedHead, saved_names
from toolkit.runtime.devices import cuda_count, resolve_devices
from toolkit.runtime.options import takes
from toolkit.store.reading import EmbeddingStore
from toolkit.verbs.options import InfoOptions


@takes(InfoOptions)
def info(options: InfoOptions) -> dict[str, Any]:
    """Describe this machine, and the stores and fitted heads of an artifacts folder.

    A store or head that cannot be opened is listed with its ``error``.

    Returns
    -------
    dict
        ``machine``, ``artifacts``, ``stores``, ``heads``, ``best``, and ``leftovers`` of killed commands, as
        json can hold them.

    Examples
    --------
    >>> import toolkit
    >>> [store["store"] for store in toolkit.info(artifacts=artifacts)["stores"]]
    ['train']
    """
    artifacts = Path(options.artifacts)
    try:
        best = SavedHead.open(artifacts, BEST).name
    except ToolkitError:
        best = None
    return {
        "machine": _machine(),
        "artifacts": str(artifacts),
        "stores": [_store(artifacts / "embeddings" / name) for name in store_names(artifacts)],
        "heads": [_head(artifacts, name) for name in saved_names(artifacts)],
        "best": best,
        "leftovers": [
            {"path": str(each.path), "what": each.what, "in_use": each.in_use}
            for each in leftovers(artifacts)
        ],
    }


def _machine() -> dict[str, Any]:
    """Return what ``auto`` means here, and how faithful the fast precisions are where that was measured."""
    device = resolve_devices("auto")[0]
    engine = choose_engine("auto", device)
    describe = ENGINES[engine].describe
    processor, fast_precisions = resolve_name(describe)(device) if describe else (device, ())
    facts = {
        "device": device,
        "engine": engine,
        "cache": str(cache_folder()),
        "processor": processor,
        "fast_precisions": list(fast_precisions),
        "engine_version": version(engine),
        "gpus": cuda_count(),
    }
    kept = (cache_folder() / "graphs").glob("*/*.json")
    return facts | {"networks": [_network(folder) for folder in sorted({path.parent for path in kept})]}


def _network(folder: Path) -> dict[str, Any]:
    """Return what the cache holds of a network: a graph for OpenVINO, and how faithful precisions are."""
    try:
        fidelity = measured(folder)
        graph = (folder / FACTS).is_file()
        known = asdict(Graph.open(folder).facts) if graph else fidelity[0]
    except (ToolkitError, OSError, ValueError, KeyError, TypeError) as error:
        return {"folder": str(folder), "error": f"{folder} cannot be read ({error}); it can be deleted"}
    size = sum(path.stat().st_size for path in folder.iterdir())
    return {
        "backbone": known["backbone"],
        "weights": known["weights"],
        "mb": round(size / 2**20, 1),
        "graph": graph,
        "fidelity": [
            {name: one[name] for name in ("precision", "mean", "worst", "faithful", "what")}
            for one in fidelity
        ],
    }


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
        "engine": meta.spec.engine,
        "precision": meta.spec.precision,
        "made_with": meta.made_with,
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
