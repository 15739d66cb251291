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
from toolkit.experiment.options import BEST
from toolkit.experiment.saved import SavedHead
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
        ``machine``, ``artifacts``, ``stores``, ``heads`` and ``best``, as json can hold them.

    Examples
    --------
    >>> import toolkit
    >>> [store["store"] for store in toolkit.info(artifacts=artifacts)["stores"]]
    ['train']
    """
    artifacts = Path(options.artifacts)
    try:
        best = SavedHead.open(artifacts, BEST).name
    except (ToolkitError, OSError):
        best = None
    return {
        "machine": _machine(),
        "artifacts": str(artifacts),
        "stores": [_store(folder) for folder in _folders(artifacts / "embeddings")],
        "heads": [_head(artifacts, folder.name) for folder in _folders(artifacts / "heads")],
        "best": best,
    }


def _folders(parent: Path) -> list[Path]:
    """Return the folders in `parent` that are no work in progress, whatever they lack."""
    if not parent.is_dir():
        return []
    return sorted(path for path in parent.iterdir() if path.is_dir() and not path.name.startswith("."))


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
    except (ToolkitError, OSError, ValueError) as error:
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
        return _store_facts(EmbeddingStore(folder))
    except (ToolkitError, OSError) as error:
        return {"store": folder.name, "error": str(error)}


def _store_facts(store: EmbeddingStore) -> dict[str, Any]:
    meta = store.meta
    return {
        "store": store.name,
        "rows": len(store.rows),
        "failed": len(store.failures),
        "dim": meta.spec.dim,
        "dtype": meta.dtype,
        "views": meta.views,
        "mb": round(sum(path.stat().st_size for path in store.folder.rglob("*.npy")) / 2**20, 1),
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
        rule = saved.rule().describe()
    except (ToolkitError, OSError) as error:
        return {"head": name, "error": str(error)}
    facts = ("micro_f1", "macro_f1", "samples_f1", "measured_on", "fitted_on", "store")
    return {
        "head": name,
        "n_tags": len(saved.space),
        "rule": rule,
        **{key: saved.metrics.get(key) for key in facts},
    }
