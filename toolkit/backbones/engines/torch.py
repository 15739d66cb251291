"""Networks on CUDA, Metal or the processor by torch, eager."""

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from toolkit.backbones.base import DeviceMemoryError, Pixels, Rows
from toolkit.backbones.network import FromBytes, Network

KINDS = {"bf16": torch.bfloat16, "fp16": torch.float16}
CPU_BATCH = 16
MPS_BATCH = 32
SMALLEST_BATCH, LARGEST_BATCH = 32, 256
SHARE = 8  # of a GPU's memory a batch may take: two are under way, and processes may share the GPU


def fast_precisions(device: str) -> tuple[str, ...]:
    """Return the precisions faster than fp32 on a device, the safest first."""
    if device.startswith("cuda"):
        with torch.cuda.device(device):  # the question is put to the current one
            native = torch.cuda.is_bf16_supported(including_emulation=False)
        return ("bf16", "fp16") if native else ("fp16",)
    if device == "mps":
        return ("fp16",)
    return ()  # a processor may emulate bf16, slower than fp32; OpenVINO knows, torch does not say


def processor(device: str) -> str:
    """Return the name of a GPU as its driver knows it; of other devices what torch calls them."""
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else device


def is_out_of_memory(error: RuntimeError) -> bool:
    """Tell whether a device's memory was full; Metal, cuDNN, cuBLAS and nvJPEG say so in words alone."""
    text = str(error).lower()
    return isinstance(error, torch.OutOfMemoryError) or "out of memory" in text or "alloc_failed" in text


@contextlib.contextmanager
def on_stream(device: torch.device, stream: Any) -> Iterator[None]:
    """Make `stream` of a CUDA device the current one.

    The device first: leaving the stream would otherwise go back to the device that was current before, and
    open a context of some hundred MB on it.
    """
    with torch.cuda.device(device), torch.cuda.stream(stream):
        yield


class TorchEngine:
    """A network in channels_last, under autocast where the precision is not fp32.

    On CUDA each calling thread has a stream and a pinned buffer of its own, so that one batch is copied while
    another one is computed; for the whole process TF32 is switched off in cuDNN (fp32 means fp32: TF32 rounds
    inputs to 10 bits), and cuDNN held to its deterministic algorithms.

    Raises
    ------
    DeviceMemoryError
        The device has no room for the network.
    """

    pads = True

    def __init__(self, network: Network, device: str, precision: str) -> None:
        self._device = torch.device(device)
        self._kind = KINDS.get(precision)
        self._local = threading.local()
        self._module: torch.nn.Module = self._placed(FromBytes(network))
        if self._device.type == "cuda":
            torch.backends.cudnn.allow_tf32 = False
            torch.backends.cudnn.deterministic = True
        self.in_flight = 2 if self._device.type == "cuda" else 1
        self.batch_size = MPS_BATCH if self._device.type == "mps" else CPU_BATCH

    def _placed(self, module: FromBytes) -> torch.nn.Module:
        try:
            placed: torch.nn.Module = module.to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            raise DeviceMemoryError(f"the network does not fit on {self._device}") from error
        return placed

    def tune(self, side: int) -> None:
        """Set the batch size on a GPU by what pictures of `side` pixels take of its memory.

        Not by timing: rows depend on the batch size in their last bits, and a pass that goes on another day
        has to find the same one.
        """
        if self._device.type != "cuda":
            return
        before = torch.cuda.memory_allocated(self._device)
        torch.cuda.reset_peak_memory_stats(self._device)
        try:
            self.forward(np.zeros((SMALLEST_BATCH, side, side, 3), np.uint8))
        except DeviceMemoryError:
            self.batch_size = SMALLEST_BATCH  # the pass will halve it, and say so
            return
        taken = torch.cuda.max_memory_allocated(self._device) - before
        there = torch.cuda.get_device_properties(self._device).total_memory
        self.batch_size = batch_size_within(there // SHARE, taken / SMALLEST_BATCH)

    def forward(self, batch: Pixels) -> Rows:
        """Return rows (B, D) float32; `DeviceMemoryError` if the device cannot hold the batch."""
        rows = self._rows(batch)
        if rows is None:
            # here the failure is over, and with it all it held on the device: now it can be given back
            if self._device.type == "cuda":
                torch.cuda.empty_cache()
            elif self._device.type == "mps":
                torch.mps.empty_cache()
            raise DeviceMemoryError(f"{len(batch)} pictures do not fit on {self._device}")
        return rows

    @torch.inference_mode()
    def _rows(self, batch: Pixels) -> Rows | None:
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
        # the buffer is free again: forward has waited for the rows of the batch that was in it
        return self._local.pinned.copy_(pixels).to(self._device, non_blocking=True)  # type: ignore[no-any-return]

    def _download(self, rows: torch.Tensor) -> Rows:
        fetched: Rows = rows.to(torch.float32).cpu().numpy()
        return fetched


def batch_size_within(room: float, each: float) -> int:
    """Return the largest power of two, `SMALLEST_BATCH` to `LARGEST_BATCH`, of pictures that fit.

    `room` is the bytes they may take, `each` what one of them takes.
    """
    size = LARGEST_BATCH
    while size > SMALLEST_BATCH and size * each > room:
        size //= 2
    return size
