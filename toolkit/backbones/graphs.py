"""Networks as OpenVINO graphs, converted once and kept in the user's cache.

With a graph in the cache a pass starts in a second and never imports torch (seconds, and 400 MB). Converting
needs torch and is done in a child process, see `toolkit.backbones.convert`.

Layout of ``<cache>/graphs/<key>/``: ``graph.xml``, ``graph.bin``, ``graph.json`` (`NetworkFacts`) and
``fidelity-*.json`` (see `toolkit.backbones.fidelity`). The key is a digest of all that decides the graph.
"""

import hashlib
import importlib.metadata
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs

from toolkit.backbones.preprocessing import Recipe
from toolkit.backbones.weights import identity
from toolkit.errors import OptionError, WeightsError
from toolkit.files.json import read_json
from toolkit.runtime.children import ChildError, call_in_child
from toolkit.runtime.progress import Progress, silent

FORMAT = 1  # of the folder; raised when the meaning of its files changes
FACTS = "graph.json"  # written last: a folder that has it is complete


@dataclass(frozen=True, kw_only=True)
class NetworkFacts:
    """The facts of a network for a spec, and the recipe of its weights."""

    backbone: str
    weights: str
    weights_sha256: str
    pooling: str
    dim: int
    recipe: Recipe


@dataclass(frozen=True)
class Graph:
    """A graph on disk: uint8 (B, H, W, 3) to float32 (B, D)."""

    folder: Path
    facts: NetworkFacts

    @property
    def path(self) -> Path:
        """The ``.xml`` that OpenVINO reads; its ``.bin`` is beside it."""
        return self.folder / "graph.xml"

    @classmethod
    def open(cls, folder: Path) -> "Graph":
        """Open a folder; `OptionError` if it is incomplete or damaged."""
        try:
            document = read_json(folder / FACTS, dict[str, Any])
            recipe = Recipe.from_dict(document["recipe"])
            return cls(folder, NetworkFacts(**document | {"recipe": recipe}))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise OptionError(
                f"{folder} holds no readable graph ({error}); delete it and embed again"
            ) from error


def cache_folder() -> Path:
    """Return ``TOOLKIT_CACHE``, or else the user's cache folder for this toolkit."""
    named = os.environ.get("TOOLKIT_CACHE")
    return Path(named).expanduser() if named else Path(platformdirs.user_cache_dir("toolkit"))


def graph_folder(backbone: str, weights: str) -> Path:
    """Return the folder for the graph of a backbone and weights; it need not exist."""
    versions = map(_version, ("torch", "torchvision", "openvino"))
    deciding = [FORMAT, backbone, identity(weights), *versions]
    key = hashlib.sha256(json.dumps(deciding).encode()).hexdigest()[:16]
    return cache_folder() / "graphs" / key


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""  # the torch engine, which keeps only fidelity here, works without openvino


def load_graph(backbone: str, weights: str, *, progress: Progress = silent) -> Graph:
    """Return the graph; if the cache lacks it, convert the network first."""
    folder = graph_folder(backbone, weights)
    if not (folder / FACTS).is_file():
        progress(f"prepare {backbone}, once", 0, None)
        make_folder(folder, lambda target: run_apart("convert", backbone, backbone, weights, target))
        progress(f"prepare {backbone}, once", 1, 1)
    return Graph.open(folder)


def run_apart(function: str, backbone: str, *arguments: Any) -> None:
    """Call a function of `toolkit.backbones.convert` in a child process; `WeightsError` if it fails."""
    try:
        call_in_child(
            f"toolkit.backbones.convert:{function}",
            *arguments,
            environment={"PYTHONWARNINGS": "ignore"},  # the libraries' own deprecations
            quiet=True,
        )
    except ChildError as error:
        raise WeightsError(
            f"{backbone} cannot be converted for OpenVINO ({error}); give --engine torch"
        ) from error


def make_folder(folder: Path, fill: Callable[[Path], object]) -> None:
    """Let `fill(path)` write a new folder beside `folder`, then rename it: a reader never sees half a graph.

    If another process does the same, the graph of the faster one is kept.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise OptionError(
            f"{folder.parent} cannot be written ({error.strerror}); name another folder with TOOLKIT_CACHE, "
            "or give --engine torch"
        ) from error
    try:
        fill(work)
        work.chmod(0o755)
        _install(work, folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _install(work: Path, folder: Path) -> None:
    """Rename `work` to `folder`, without disturbing readers of an existing graph."""
    try:
        work.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise
        if not (folder / FACTS).is_file():  # it holds only fidelity
            for path in sorted(work.iterdir(), key=lambda path: path.name == FACTS):
                path.replace(folder / path.name)
