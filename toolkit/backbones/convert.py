"""The process a network is converted in: ``python -m toolkit.backbones.convert JOB``, JOB being json.

``kind`` is ``convert`` (torch network to graph) or ``quantize`` (graph to int8 graph). Results, or
``error.json`` on a user's mistake, go to the folder ``target``.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.backbones.graphs import FACTS, Graph
from toolkit.backbones.openvino_import import import_openvino
from toolkit.errors import OptionError, ToolkitError

openvino = import_openvino()


def main() -> None:
    """Do the job given as json on the command line; exit 2 with ``error.json`` on a user's mistake."""
    job = json.loads(sys.argv[1])
    target = Path(job["target"])
    try:
        {"convert": convert, "quantize": quantize}[job["kind"]](job, target)
    except ToolkitError as error:
        text = json.dumps({"type": type(error).__name__, "message": str(error)})
        (target / "error.json").write_text(text, encoding="utf-8")
        sys.exit(2)


def convert(job: dict[str, Any], target: Path) -> None:
    """Trace the network with bytes in and rows out, all sizes free, tensors kept in fp32."""
    import torch

    from toolkit.backbones.network import FromBytes, build_network, facts_of

    network = build_network(job["family"], job["backbone"], job["weights"])
    side = network.recipe.crop_size
    example = torch.zeros(1, side, side, 3, dtype=torch.uint8)
    wrapped = FromBytes(network)
    sides = [-1, -1] if network.recipe.any_size else [side, side]
    shape = openvino.PartialShape([-1, *sides, 3])
    graph = openvino.convert_model(wrapped, example_input=example, input=[(shape, openvino.Type.u8)])
    openvino.save_model(graph, target / "graph.xml", compress_to_fp16=False)
    facts_of(network, job["backbone"], job["weights"]).write(target / FACTS)


def quantize(job: dict[str, Any], target: Path) -> None:
    """Quantise a graph to int8, its ranges taken from the pictures in ``pixels.npz`` (by NNCF)."""
    try:
        import nncf
    except ImportError as error:
        raise OptionError("--precision int8 needs NNCF: pip install 'toolkit[int8]'") from error

    source = Graph.open(Path(job["source"]))
    with np.load(job["pixels"], allow_pickle=False) as saved:
        pixels = [saved[name] for name in saved.files]
    graph = openvino.Core().read_model(source.path)
    dataset = nncf.Dataset([picture[None] for picture in pixels])
    quantized = nncf.quantize(graph, dataset, subset_size=len(pixels))
    openvino.save_model(quantized, target / "graph.xml", compress_to_fp16=False)
    source.facts.write(target / FACTS)


if __name__ == "__main__":
    main()
