"""Converting networks for OpenVINO: functions for a child process, as they import torch or NNCF."""

from pathlib import Path

from toolkit.arrays.types import Pixels
from toolkit.backbones.graphs import Graph, write_facts
from toolkit.backbones.openvino_import import import_openvino
from toolkit.errors import OptionError
from toolkit.runtime.progress import Progress

openvino = import_openvino()


def convert(_: Progress, backbone: str, weights: str, target: Path) -> None:
    """Trace the network from bytes to rows, for any image size if it takes any, its tensors kept in fp32."""
    import torch

    from toolkit.backbones.network import FromBytes, build_network, facts_of

    network = build_network(backbone, weights)
    side = network.recipe.crop_size
    example = torch.zeros(1, side, side, 3, dtype=torch.uint8)
    sides = [-1, -1] if network.recipe.any_size else [side, side]
    shape = (openvino.PartialShape([-1, *sides, 3]), openvino.Type.u8)
    graph = openvino.convert_model(FromBytes(network), example_input=example, input=[shape])
    openvino.save_model(graph, target / "graph.xml", compress_to_fp16=False)
    write_facts(target, facts_of(network, backbone, weights))


def quantize(_: Progress, source: Graph, pixels: list[Pixels], target: Path) -> None:
    """Quantise a graph to int8 by NNCF, calibrated with `pixels` (H, W, 3) each."""
    try:
        import nncf
    except ImportError as error:
        raise OptionError("--precision int8 needs NNCF: pip install 'toolkit[int8]'") from error

    graph = openvino.Core().read_model(*source.read())
    dataset = nncf.Dataset([picture[None] for picture in pixels])
    quantized = nncf.quantize(graph, dataset, subset_size=len(pixels))
    openvino.save_model(quantized, target / "graph.xml", compress_to_fp16=False)
    write_facts(target, source.facts)
