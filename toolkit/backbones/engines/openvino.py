"""Graphs on the CPU by OpenVINO. Starts in under a second and needs no torch."""

import functools
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np

from toolkit.arrays.types import Float32Array, Pixels
from toolkit.backbones.base import LoadedNetwork
from toolkit.backbones.graphs import Content, load_graph
from toolkit.backbones.int8 import Calibration, int8_graph
from toolkit.backbones.openvino_import import import_openvino
from toolkit.backbones.options import NetworkOptions
from toolkit.backbones.preprocessing import Preprocessing
from toolkit.errors import OptionError
from toolkit.runtime.progress import Progress

openvino = import_openvino()

HINTS = {"bf16": "bf16", "fp16": "f16"}  # fp32 and int8 graphs: f32
FIRST = (1, 32, 32, 3)  # the smallest batch any network takes
BATCH = 4  # 4 to 8 a stream are fastest, larger ones only take memory


@functools.cache
def fast_precisions() -> tuple[str, ...]:
    """Return the precisions faster than fp32 that this CPU computes in, of ``bf16`` and ``fp16``."""
    able: list[str] = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return tuple(name for name in ("bf16", "fp16") if name.upper() in able)


def processor() -> str:
    """Return OpenVINO's name of the CPU."""
    return str(openvino.Core().get_property("CPU", "FULL_DEVICE_NAME")).strip()


def describe(device: str) -> tuple[str, tuple[str, ...]]:
    """Return the name of the CPU and the precisions faster than fp32."""
    return processor(), fast_precisions()


def load(
    options: NetworkOptions, *, graphs: Path | None, calibration: Calibration | None, progress: Progress
) -> LoadedNetwork:
    """Load a network as a graph; see `toolkit.backbones.registry`."""
    assert options.weights is not None
    graph, content = load_graph(options.backbone, options.weights, progress=progress)
    preprocessing = Preprocessing.of(graph.facts.recipe, options)
    if options.precision.startswith("int8"):
        graph = int8_graph(
            options.precision, graph, preprocessing, graphs=graphs, calibration=calibration, progress=progress
        )
        options, content = replace(options, precision=graph.folder.name), graph.read()
    elif options.precision not in ("auto", "fp32", *fast_precisions()):
        raise OptionError(
            f"--precision {options.precision}: {processor()} does not compute in it; it has "
            f"{', '.join(('fp32', *fast_precisions()))}, and --engine torch emulates bf16"
        )
    unused = [content]

    def start(precision: str) -> OpenVinoEngine:
        return OpenVinoEngine(unused.pop() if unused else graph.read(), precision)

    return LoadedNetwork(
        options=options,
        facts=graph.facts,
        preprocessing=preprocessing,
        processor=processor(),
        fast_precisions=fast_precisions(),
        folder=graph.folder,
        start=start,
        resize=preprocessing,
    )


class OpenVinoEngine:
    """A graph compiled for throughput, with as many streams as OpenVINO recommends for this CPU.

    Sizes stay free: a graph of fixed sizes is no faster, and a row has the same bits in any batch.
    """

    pads = False

    def __init__(self, graph: Content, precision: str) -> None:
        hint = HINTS.get(precision, "f32")
        settings = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_PRECISION_HINT": hint}
        core = openvino.Core()
        try:
            compiled = core.compile_model(core.read_model(*graph), "CPU", settings)
        except RuntimeError as error:
            raise OptionError(
                f"OpenVINO cannot run the graph ({str(error).splitlines()[0]}); give --engine torch"
            ) from error
        self.in_flight = int(compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
        self._requests: SimpleQueue[Any] = SimpleQueue()
        for _ in range(self.in_flight):
            self._requests.put(compiled.create_infer_request())
        # concurrent first calls deadlock in OpenVINO's binding (a static table is filled while Python's lock
        # is released), so the first call is made here
        sides = zip(FIRST, compiled.input(0).get_partial_shape(), strict=True)
        first = [least if side.is_dynamic else side.get_length() for least, side in sides]
        self.forward(np.zeros(first, np.uint8))

    def batch_size(self, side: int) -> int:
        """Return one number for pictures of any size."""
        return BATCH

    def forward(self, batch: Pixels) -> Float32Array:
        """Return rows (B, D); the calling thread waits with Python's lock released."""
        request = self._requests.get()
        try:
            rows: Float32Array = request.infer({0: batch}, share_inputs=True)[0].copy()
        finally:
            self._requests.put(request)
        return rows
