"""Graphs in int8: their ranges come from the user's pictures, once, and are kept."""

import hashlib
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from toolkit.backbones.base import Pixels
from toolkit.backbones.graphs import FACTS, Graph, convert, make_folder
from toolkit.backbones.preprocessing import Preprocessing
from toolkit.errors import OptionError
from toolkit.runtime.progress import Progress

INT8 = "int8-"  # and the digest of the graph: which pictures calibrated it decides the features
Calibration = Callable[[Preprocessing], Sequence[Pixels]]


def int8_graph(
    precision: str,
    graph: Graph,
    preprocessing: Preprocessing,
    graphs: Path | None,
    calibration: Calibration | None,
    progress: Progress,
) -> Graph:
    """Return the int8 graph called `precision`, of `graph`'s weights, or for ``int8`` calibrate a new one.

    Raises
    ------
    OptionError
        That graph is not in the folder `graphs`, or there is nothing to calibrate with.
    """
    if graphs is None:
        raise OptionError("int8 needs a folder to keep its calibrated graph in; name one with graphs=")
    if precision != "int8":
        if not (graphs / precision / FACTS).is_file():
            raise OptionError(
                f"the graph {precision} is not in {graphs}; it was calibrated where the features were made: "
                "copy that folder, or embed again"
            )
        kept = Graph.open(graphs / precision)
        if kept.facts.weights_sha256 != graph.facts.weights_sha256:
            raise OptionError(f"the graph {precision} in {graphs} is of other weights; embed again")
        return kept
    if calibration is None:
        raise OptionError("--precision int8 is calibrated by embed; make a store with it first")
    progress("calibrate int8, once", 0, None)
    pictures = list(calibration(preprocessing))
    if not pictures:
        raise OptionError("--precision int8: no image of the source can be read to calibrate with")
    with tempfile.TemporaryDirectory() as folder:
        pixels = Path(folder) / "pixels.npz"
        np.savez(pixels, *pictures)
        fresh = Path(folder) / "int8"
        job = {"backbone": graph.facts.backbone, "source": str(graph.folder), "pixels": str(pixels)}
        make_folder(fresh, lambda target: convert({**job, "kind": "quantize", "target": str(target)}))
        digest = hashlib.sha256((fresh / "graph.bin").read_bytes()).hexdigest()[:12]
        home = graphs / f"{INT8}{digest}"
        make_folder(home, lambda target: _copy(fresh, target))
    progress("calibrate int8, once", 1, 1)
    return Graph.open(home)


def _copy(source: Path, target: Path) -> None:
    for path in source.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
