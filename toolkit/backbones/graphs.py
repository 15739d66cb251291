"""Networks as OpenVINO graphs, converted once and kept in the user's cache.

With a graph in the cache a pass starts in a second and never imports torch (seconds, and 400 MB). Converting
needs torch and is done in a child process, see `toolkit.backbones.convert`.

Layout of ``<cache>/graphs/<key>/``: ``graph.xml``, ``graph.bin``, ``graph.json`` (`NetworkFacts`, and the
SHA-256 of both files) and ``fidelity-*.json`` (see `toolkit.backbones.fidelity`). The key is a digest of all
that decides the graph. OpenVINO is given only bytes that have these digests: of a graph with a flipped bit it
computes features that are wrong without an error.
"""

import hashlib
import importlib.metadata
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import platformdirs
from msgspec import Meta

from toolkit.backbones.openvino_import import import_openvino
from toolkit.backbones.preprocessing import Recipe
from toolkit.backbones.weights import identity
from toolkit.errors import OptionError, WeightsError
from toolkit.files.json import read_json, write_json
from toolkit.files.regular import open_regular, read_regular
from toolkit.runtime.children import ChildError, call_in_child
from toolkit.runtime.progress import Progress, silent
from toolkit.store.spec import MOST_COLUMNS

logger = logging.getLogger(__name__)

FORMAT = 2  # of the folder; raised when the meaning of its files changes
FILES = ("graph.xml", "graph.bin")
MOST_XML = 2**28  # bytes; ResNet50 has 200,000
FACTS = "graph.json"  # written last: a folder that has it is complete


@dataclass(frozen=True, kw_only=True)
class NetworkFacts:
    """The facts of a network for a spec, and the recipe of its weights."""

    backbone: str
    weights: str
    weights_sha256: str
    pooling: str
    dim: Annotated[int, Meta(ge=1, le=MOST_COLUMNS)]
    recipe: Recipe


@dataclass(frozen=True, kw_only=True)
class _Document(NetworkFacts):
    """``graph.json``; without digests if an earlier version wrote it."""

    digests: dict[str, str] = field(default_factory=dict)


class Content(NamedTuple):
    """A graph with the digests it was made with: the arguments of OpenVINO's ``read_model``."""

    xml: str
    weights: Any  # a tensor that OpenVINO owns: it uses the memory for as long as it needs


@dataclass(frozen=True)
class Graph:
    """A graph on disk: uint8 (B, H, W, 3) to float32 (B, D)."""

    folder: Path
    facts: NetworkFacts
    digests: dict[str, str]

    @classmethod
    def open(cls, folder: Path) -> "Graph":
        """Open a folder, without reading the graph; `OptionError` if it is incomplete or damaged."""
        try:
            document = read_json(folder / FACTS, _Document)
        except (OSError, ValueError) as error:
            raise _damaged(folder, error) from error
        facts = {each.name: getattr(document, each.name) for each in fields(NetworkFacts)}
        return cls(folder, NetworkFacts(**facts), document.digests)

    def read(self) -> Content:
        """Return the graph's bytes; `OptionError` unless they are known to be those that were written."""
        try:
            xml = read_regular(self.folder / "graph.xml", most=MOST_XML)
            weights = _read_tensor(self.folder / "graph.bin")
        except OSError as error:
            raise _damaged(self.folder, error) from error
        for name, data in zip(FILES, (xml, weights.data), strict=True):
            if self.digests.get(name) != hashlib.sha256(data).hexdigest():
                known = "differs from when it was made" if name in self.digests else "has no known digest"
                raise _damaged(self.folder, f"{name} {known}")
        return Content(xml.decode(), weights)


def _read_tensor(path: Path) -> Any:
    openvino = import_openvino()
    with open_regular(path) as file:
        tensor = openvino.Tensor(openvino.Type.u8, openvino.Shape([os.fstat(file.fileno()).st_size]))
        file.readinto(tensor.data)
    return tensor


def _damaged(folder: Path, reason: object) -> OptionError:
    return OptionError(f"{folder} holds no sound graph ({reason}); delete it and embed again")


def write_facts(folder: Path, facts: NetworkFacts) -> None:
    """Write ``graph.json`` for the graph that is complete in `folder`."""
    digests = {}
    for name in FILES:
        with (folder / name).open("rb") as file:
            digests[name] = hashlib.file_digest(file, "sha256").hexdigest()
    write_json(folder / FACTS, asdict(facts) | {"digests": digests})


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


def load_graph(backbone: str, weights: str, *, progress: Progress = silent) -> tuple[Graph, Content]:
    """Return the graph and its bytes; convert the network if the cache lacks it, or holds a damaged one."""
    folder = graph_folder(backbone, weights)
    if (folder / FACTS).is_file():
        try:
            return _opened(folder)
        except OptionError as error:
            logger.warning("%s: it is made again", str(error).rpartition(";")[0])
            _forget(folder)
    progress(f"prepare {backbone}, once", 0, None)
    make_folder(folder, lambda target: run_apart("convert", backbone, backbone, weights, target))
    progress(f"prepare {backbone}, once", 1, 1)
    return _opened(folder)


def _opened(folder: Path) -> tuple[Graph, Content]:
    graph = Graph.open(folder)
    return graph, graph.read()


def _forget(folder: Path) -> None:
    """Make the graph in `folder` incomplete, and forget its fidelity, so that a new one takes its place."""
    try:
        for path in (folder / FACTS, *folder.glob("fidelity-*.json")):
            path.unlink(missing_ok=True)
    except OSError as error:
        raise OptionError(
            f"{folder} holds a damaged graph and cannot be written ({error.strerror}); delete it"
        ) from error


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
