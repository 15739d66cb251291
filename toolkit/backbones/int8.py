"""Graphs in int8, calibrated once with the user's pictures."""

import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from toolkit.arrays.types import Pixels
from toolkit.backbones.graphs import FACTS, Graph, make_folder, run_apart
from toolkit.backbones.options import INT8
from toolkit.backbones.preprocessing import Preprocessing
from toolkit.errors import OptionError
from toolkit.runtime.progress import Progress
from toolkit.store.spec import DIGITS

Calibration = Callable[[Preprocessing], Sequence[Pixels]]


def int8_graph(
    precision: str,
    graph: Graph,
    preprocessing: Preprocessing,
    *,
    graphs: Path | None,
    calibration: Calibration | None,
    progress: Progress,
) -> Graph:
    """Return the int8 graph named `precision`, of `graph`'s weights; for ``int8`` calibrate a new one."""
    if graphs is None:
        raise OptionError("int8 needs a folder to keep its calibrated graph in; name one with graphs=")
    if precision != "int8":
        return _open_kept(precision, graph, graphs)
    if calibration is None:
        raise OptionError("--precision int8 is calibrated by embed; make a store with it first")
    progress("calibrate int8, once", 0, None)
    pictures = list(calibration(preprocessing))
    if not pictures:
        raise OptionError("--precision int8: no image of the source can be read to calibrate with")
    with tempfile.TemporaryDirectory() as folder:
        run_apart("quantize", graph.facts.backbone, graph, pictures, Path(folder))
        home = graphs / f"{INT8}{Graph.open(Path(folder)).digests['graph.bin'][:DIGITS]}"
        make_folder(home, lambda target: shutil.copytree(folder, target, dirs_exist_ok=True))
    progress("calibrate int8, once", 1, 1)
    return Graph.open(home)


def _open_kept(name: str, graph: Graph, graphs: Path) -> Graph:
    """Open a kept graph; its name is the beginning of the digest of its weights."""
    if not (graphs / name / FACTS).is_file():
        raise OptionError(
            f"the graph {name} is not in {graphs}; it was calibrated where the features were made: "
            "copy that folder, or embed again"
        )
    kept = Graph.open(graphs / name)
    if kept.facts.weights_sha256 != graph.facts.weights_sha256:
        raise OptionError(f"the graph {name} in {graphs} is of other weights; embed again")
    if f"{INT8}{kept.digests.get('graph.bin', '')[:DIGITS]}" != name:
        raise OptionError(
            f"the graph {name} in {graphs} is of an earlier version or of other weights: its files cannot be "
            "checked; embed again with --precision int8"
        )
    return kept
