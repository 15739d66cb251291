"""What this machine would do a pass with, and what lies in an artifacts folder."""

from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from toolkit.backbones.fidelity import measured
from toolkit.backbones.graphs import FACTS, Graph, cache_folder
from toolkit.backbones.registry import choose_engine
from toolkit.errors import ToolkitError
from toolkit.experiment.dataset import store_names
from toolkit.experiment.saved import BEST, SavedHead, saved_names
from toolkit.runtime.devices import cuda_count, resolve_devices
from toolkit.store.reading import EmbeddingStore


def info(artifacts: Path | str = "artifacts") -> dict[str, Any]:
    """Return ``machine``, and ``stores``, ``heads`` and ``best`` of the folder, as json can hold them.

    A store or head that cannot be opened is listed with its ``error``: looking never fails.
    """
    artifacts = Path(artifacts)
    stores = [_store(artifacts / "embeddings" / name) for name in store_names(artifacts)]
    heads = [_head(artifacts, name) for name in saved_names(artifacts)]
    try:
        best = SavedHead.open(artifacts, BEST).name
    except ToolkitError:
        best = None
    return {
        "machine": _machine(),
        "artifacts": str(artifacts),
        "stores": stores,
        "heads": heads,
        "best": best,
    }


def _machine() -> dict[str, Any]:
    """Say what ``auto`` means here, and how faithful the fast precisions were where that was measured."""
    device = resolve_devices("auto")[0]
    engine = choose_engine("auto", device)
    found: dict[str, Any] = {"device": device, "engine": engine, "cache": str(cache_folder())}
    if engine == "openvino":
        from toolkit.backbones.engines.openvino import fast_precisions, processor

        found |= {"processor": processor(), "fast_precisions": list(fast_precisions())}
    else:
        from toolkit.backbones import torch_devices as engines

        found |= {
            "processor": engines.processor(device),
            "fast_precisions": list(engines.fast_precisions(device)),
        }
    found |= {"engine_version": version(engine), "gpus": cuda_count()}
    kept = (cache_folder() / "graphs").glob("*/*.json")
    return found | {"networks": [_network(folder) for folder in sorted({path.parent for path in kept})]}


def _network(folder: Path) -> dict[str, Any]:
    """Say what is kept of a network: its graph, for OpenVINO, and how faithful precisions are."""
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
