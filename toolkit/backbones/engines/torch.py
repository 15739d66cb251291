"""Networks on CUDA, Metal or the CPU by torch, eager."""

import contextlib
import threading
from pathlib import Path

import numpy as np
import torch

from toolkit.arrays.types import Float32Array, Pixels
from toolkit.backbones.base import DeviceMemoryError, LoadedNetwork
from toolkit.backbones.graphs import graph_folder
from toolkit.backbones.int8 import Calibration
from toolkit.backbones.network import FromBytes, Network, build_network, facts_of
from toolkit.backbones.options import NetworkOptions
from toolkit.backbones.preprocessing import Preprocessing
from toolkit.backbones.resizing import resize_picture
from toolkit.backbones.torch_devices import fast_precisions, is_out_of_memory, on_stream, processor
from toolkit.runtime.progress import Progress

KINDS = {"bf16": torch.bfloat16, "fp16": torch.float16}
CPU_BATCH = 16
MPS_BATCH = 32
SMALLEST_BATCH, LARGEST_BATCH = 32, 256
SHARE = 8  # of a GPU's memory a batch may take: two are in flight, and processes may share the GPU


def load(
    options: NetworkOptions, *, graphs: Path | None, calibration: Calibration | None, progress: Progress
) -> LoadedNetwork:
    """Load a network as a torch module; see `toolkit.backbones.registry`."""
    assert options.weights is not None
    network = build_network(options.backbone, options.weights)
    preprocessing = Preprocessing.of(network.recipe, options)
    decoder = None
    if options.decode == "device":
        from toolkit.backbones.jpeg import DeviceDecoder

        decoder = DeviceDecoder(options.device, preprocessing)
    return LoadedNetwork(
        options=options,
        facts=facts_of(network, options.backbone, options.weights),  # before it moves to its device
        preprocessing=preprocessing,
        processor=processor(options.device),
        fast_precisions=fast_precisions(options.device),
        folder=graph_folder(options.backbone, options.weights),
        start=lambda precision: TorchEngine(network, options.device, precision),
        resize=lambda image: resize_picture(image, preprocessing),
        decoder=decoder,
    )


class TorchEngine:
    """A network in channels_last, under autocast if the precision is not fp32.

    On CUDA each calling thread has its own stream and pinned buffer, so that one batch is copied while
    another one is computed. For the whole process TF32 is switched off in cuDNN (fp32 means fp32: TF32 rounds
    inputs to 10 bits), and cuDNN uses only its deterministic algorithms. `DeviceMemoryError` if the network
    does not fit on the device.
    """

    pads = True

    def __init__(self, network: Network, device: str, precision: str) -> None:
        self._device = torch.device(device)
        self._kind = KINDS.get(precision)
        self._local = threading.local()
        self.in_flight = 2 if self._device.type == "cuda" else 1
        if self._device.type == "cuda":
            torch.backends.cudnn.allow_tf32 = False
            torch.backends.cudnn.deterministic = True
        try:
            self._module = FromBytes(network).to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            raise DeviceMemoryError(f"the network does not fit on {self._device}") from error

    def batch_size(self, side: int) -> int:
        """Return the batch size, on a GPU by the memory that pictures of `side` pixels take.

        Not by timing: the last bits of rows depend on the batch size, so a resumed pass needs the same one.
        """
        if self._device.type != "cuda":
            return MPS_BATCH if self._device.type == "mps" else CPU_BATCH
        before = torch.cuda.memory_allocated(self._device)
        torch.cuda.reset_peak_memory_stats(self._device)
        try:
            self.forward(np.zeros((SMALLEST_BATCH, side, side, 3), np.uint8))
        except DeviceMemoryError:
            return SMALLEST_BATCH  # the pass will halve it, with a warning
        taken = torch.cuda.max_memory_allocated(self._device) - before
        memory = torch.cuda.get_device_properties(self._device).total_memory
        return batch_size_within(memory // SHARE, taken / SMALLEST_BATCH)

    def forward(self, batch: Pixels) -> Float32Array:
        """Return rows (B, D); `DeviceMemoryError` if the device cannot hold the batch."""
        rows = self._rows(batch)
        if rows is None:
            # outside the except block the failed batch is not referenced, and its memory can be freed
            if self._device.type == "cuda":
                torch.cuda.empty_cache()
            elif self._device.type == "mps":
                torch.mps.empty_cache()
            raise DeviceMemoryError(f"{len(batch)} pictures do not fit on {self._device}")
        return rows

    @torch.inference_mode()
    def _rows(self, batch: Pixels) -> Float32Array | None:
        kind = self._kind
        try:
            with self._stream(), torch.autocast(self._device.type, dtype=kind, enabled=kind is not None):
                return self._download(self._module(self._upload(batch)))
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            return None

    def _stream(self) -> contextlib.AbstractContextManager[None]:
        if self._device.type != "cuda":
            return contextlib.nullcontext()
        if not hasattr(self._local, "stream"):
            self._local.stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        return on_stream(self._device, self._local.stream)

    def _upload(self, batch: Pixels) -> torch.Tensor:
        pixels = torch.from_numpy(batch)
        if self._device.type != "cuda":
            return pixels.to(self._device)
        if getattr(self._local, "shape", None) != batch.shape:
            self._local.shape = batch.shape
            self._local.pinned = torch.empty(batch.shape, dtype=torch.uint8, pin_memory=True)
        # the buffer is free: forward has waited for the rows of the batch that was in it
        return self._local.pinned.copy_(pixels).to(self._device, non_blocking=True)  # type: ignore[no-any-return]

    def _download(self, rows: torch.Tensor) -> Float32Array:
        fetched: Float32Array = rows.to(torch.float32).cpu().numpy()
        return fetched


def batch_size_within(room: float, each: float) -> int:
    """Return the largest power of two of pictures of `each` bytes that fit into `room` bytes.

    At least `SMALLEST_BATCH`, at most `LARGEST_BATCH`.
    """
    size = LARGEST_BATCH
    while size > SMALLEST_BATCH and size * each > room:
        size //= 2
    return size
