"""Graphs on the processor by OpenVINO. Starts in under a second and needs no torch."""

import functools
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np

from toolkit.backbones.base import Pixels, Rows
from toolkit.backbones.openvino_import import import_openvino
from toolkit.errors import OptionError

openvino = import_openvino()

HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16", "int8": "f32"}
FIRST = (1, 32, 32, 3)  # the smallest batch any network takes
BATCH = 4  # measured: 4 to 8 a stream are fastest, larger ones only take memory


@functools.cache
def fast_precisions() -> tuple[str, ...]:
    """Return the precisions faster than fp32 that this processor computes in, of ``bf16`` and ``fp16``."""
    able: list[str] = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return tuple(name for name in ("bf16", "fp16") if name.upper() in able)


def processor() -> str:
    """Return the processor's name as OpenVINO knows it."""
    return str(openvino.Core().get_property("CPU", "FULL_DEVICE_NAME")).strip()


class OpenVinoEngine:
    """A graph compiled for throughput: as many streams as OpenVINO thinks best for this processor.

    Sizes stay free: measured, a graph of fixed sizes is no faster, and a row has the same bits in any batch.
    """

    pads = False
    batch_size = BATCH

    def __init__(self, graph: Path, precision: str) -> None:
        """Compile `graph` for ``fp32``, ``bf16``, ``fp16``, or ``int8`` where it is quantised."""
        core = openvino.Core()
        settings = {
            "PERFORMANCE_HINT": "THROUGHPUT",
            "INFERENCE_PRECISION_HINT": HINTS[precision],
        }
        try:
            compiled = core.compile_model(core.read_model(graph), "CPU", settings)
        except RuntimeError as error:
            raise OptionError(
                f"{graph.parent} holds no readable graph ({str(error).splitlines()[0]}); "
                "delete it and embed again"
            ) from error
        self.in_flight = int(compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
        self._requests: SimpleQueue[Any] = SimpleQueue()
        for _ in range(self.in_flight):
            self._requests.put(compiled.create_infer_request())
        # OpenVINO's binding fills a static table the first time an array comes in, and lets go of Python's
        # lock meanwhile: two first times at once wait for each other for ever, so the first one is alone
        shape = compiled.input(0).get_partial_shape()
        sides = zip(FIRST, shape, strict=True)
        first = [least if side.is_dynamic else side.get_length() for least, side in sides]
        self.forward(np.zeros(first, np.uint8))

    def forward(self, batch: Pixels) -> Rows:
        """Return rows (B, D) float32; the caller's thread waits without holding Python's lock."""
        request = self._requests.get()
        try:
            rows: Rows = request.infer({0: batch}, share_inputs=True)[0].copy()
        finally:
            self._requests.put(request)
        return rows
