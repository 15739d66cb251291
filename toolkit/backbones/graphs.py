"""Networks as OpenVINO graphs, converted once and kept in the user's cache.

With a graph in the cache a pass starts in a second and never imports torch (seconds, and 400 MB). Converting
needs torch, so it happens in a process of its own: ``python -m toolkit.backbones.convert``.

Layout of ``<cache>/graphs/<key>/``: ``graph.xml``, ``graph.bin``, ``graph.json`` (`GraphFacts`) and
``fidelity-*.json`` (see `toolkit.backbones.fidelity`). The key is a digest of all that decides the graph.
"""

import hashlib
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import platformdirs

from toolkit import errors
from toolkit.backbones.preprocessing import Recipe
from toolkit.backbones.weights import identity
from toolkit.errors import OptionError, ToolkitError, WeightsError
from toolkit.runtime.progress import Progress, silent

FORMAT = 1  # of the folder; raised when the meaning of its files changes
FACTS = "graph.json"  # written last: a folder that has it is finished
_DECIDING = ("torch", "torchvision", "openvino")


@dataclass(frozen=True, kw_only=True)
class GraphFacts:
    """What a graph's file does not say: recipe, digest of the tensors, pooling, and length of a row."""

    backbone: str
    weights: str
    weights_sha256: str
    pooling: str
    dim: int
    recipe: Recipe

    def write(self, path: Path) -> None:
        """Write as json."""
        path.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> "GraphFacts":
        """Read what `write` wrote."""
        document = json.loads(path.read_text(encoding="utf-8"))
        return cls(**document | {"recipe": Recipe.from_dict(document["recipe"])})


@dataclass(frozen=True)
class Graph:
    """A graph on disk, uint8 (B, H, W, 3) to float32 (B, D), all sizes free."""

    folder: Path
    facts: GraphFacts

    @property
    def path(self) -> Path:
        """The ``.xml`` that OpenVINO reads, with its ``.bin`` beside it."""
        return self.folder / "graph.xml"

    @classmethod
    def open(cls, folder: Path) -> "Graph":
        """Open a finished folder; `OptionError` if it is not one."""
        try:
            return cls(folder, GraphFacts.read(folder / FACTS))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise OptionError(
                f"{folder} holds no readable graph ({error}); delete it and embed again"
            ) from error


def cache_folder() -> Path:
    """Return ``TOOLKIT_CACHE``, or else the user's cache folder for this toolkit."""
    given = os.environ.get("TOOLKIT_CACHE")
    return Path(given).expanduser() if given else Path(platformdirs.user_cache_dir("toolkit"))


def graph_folder(backbone: str, weights: str) -> Path:
    """Return where the graph of a backbone and weights lies, or will lie."""
    versions = [_version(name) for name in _DECIDING]
    deciding = [FORMAT, backbone, identity(weights), *versions]
    key = hashlib.sha256(json.dumps(deciding).encode()).hexdigest()[:16]
    return cache_folder() / "graphs" / key


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""  # the torch engine, which only remembers fidelity here, does without openvino


def load_graph(family: str, backbone: str, weights: str, *, progress: Progress = silent) -> Graph:
    """Return the graph, converting the network first where the cache lacks it.

    Raises
    ------
    OptionError, WeightsError
        As the family's function does; or the cache cannot be written.
    """
    folder = graph_folder(backbone, weights)
    if not (folder / FACTS).is_file():
        progress(f"prepare {backbone}, once", 0, None)
        job = {"family": family, "backbone": backbone, "weights": weights}
        make_folder(folder, lambda target: convert({**job, "kind": "convert", "target": str(target)}))
        progress(f"prepare {backbone}, once", 1, 1)
    return Graph.open(folder)


def make_folder(folder: Path, fill: Any) -> None:
    """Let `fill(path)` write a new folder beside `folder`, then rename it: nobody sees half a graph.

    Another process may do the same; the graph of the faster one is kept.
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
    """Make `work` the folder `folder`, taking nothing away from those who read in one that is there."""
    try:
        work.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise
        if not (folder / FACTS).is_file():  # there is but what `fidelity` remembers
            for path in sorted(work.iterdir(), key=lambda path: path.name == FACTS):
                path.replace(folder / path.name)


def convert(job: dict[str, Any]) -> None:
    """Run one job of `toolkit.backbones.convert` in a process of its own."""
    environment = os.environ | {"PYTHONWARNINGS": "ignore"}  # of the libraries' own deprecations
    command = [sys.executable, "-m", "toolkit.backbones.convert", json.dumps(job)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)  # noqa: S603
    error = Path(job["target"]) / "error.json"
    if error.is_file():
        document = json.loads(error.read_text(encoding="utf-8"))
        kind: type[ToolkitError] = getattr(errors, document["type"])
        raise kind(document["message"])
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise WeightsError(
            f"{job['backbone']} cannot be converted for OpenVINO ({last}); give --engine torch"
        ) from RuntimeError(done.stderr)
