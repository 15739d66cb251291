"""Images in, rows out: decoding threads, batches of one shape, several batches on the device at once.

Some threads read, decode and resize (Pillow releases Python's lock), others run the backbone, one for each
batch in flight. All queues are bounded, so memory does not grow with the number of images.
"""

import logging
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import numpy as np

from toolkit.arrays.types import Float32Array, Pixels
from toolkit.backbones.base import Backbone, DeviceMemoryError
from toolkit.embedding.options import ReadOptions
from toolkit.embedding.read import Reader, ReadImage
from toolkit.errors import OptionError
from toolkit.images.manifest import Entry
from toolkit.store.records import Row

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Embedded:
    """Rows (D,) of one image, the plain one first, then its views; or the reason of its failure."""

    slot: int
    row: Row | None
    rows: tuple[Float32Array, ...] = ()
    reason: str = ""


def embed_entries(
    entries: Iterable[tuple[int, Entry]], backbone: Backbone, options: ReadOptions
) -> Iterator[Embedded]:
    """Embed images (slot, entry), taken from `entries` as needed; yield them in no particular order.

    Raises
    ------
    OptionError
        Not even a single picture fits into the device's memory.
    """
    forward = Forward(backbone, options.batch_size or backbone.batch_size)
    waiting: dict[tuple[int, ...], list[tuple[int, ReadImage]]] = {}
    running: deque[Future[list[Embedded]]] = deque()
    with ThreadPoolExecutor(backbone.in_flight, thread_name_prefix="forward") as pool:
        try:
            for slot, read in _read_all(entries, backbone, options, ahead=2 * forward.batch_size):
                if isinstance(read, str):
                    yield Embedded(slot, None, reason=read)
                    continue
                batch = waiting.setdefault(read.pixels[0].shape, [])
                batch.append((slot, read))
                if len(batch) >= forward.batch_size:
                    running.append(pool.submit(forward.embed, batch))
                    del waiting[read.pixels[0].shape]
                # one more, so that the next batch is ready for the device
                while len(running) > backbone.in_flight:
                    yield from running.popleft().result()
            running.extend(pool.submit(forward.embed, batch) for batch in waiting.values())
            while running:
                yield from running.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


class Forward:
    """Runs batches of one shape, and halves them when the device's memory is full."""

    def __init__(self, backbone: Backbone, batch_size: int) -> None:
        self.batch_size = batch_size
        self._backbone = backbone
        self._lock = threading.Lock()

    def embed(self, reads: Sequence[tuple[int, ReadImage]]) -> list[Embedded]:
        """Return the rows of images whose pixels have one shape."""
        views = range(len(reads[0][1].pixels))
        rows = [self.rows([read.pixels[view] for _, read in reads]) for view in views]
        return [
            Embedded(slot, read.row, tuple(view[place] for view in rows))
            for place, (slot, read) in enumerate(reads)
        ]

    def rows(self, pixels: Sequence[Pixels]) -> Float32Array:
        """Return (B, D) of B pictures (H, W, 3)."""
        parts: list[Float32Array] = []
        first = 0
        while first < len(pixels):
            size = self.batch_size
            part = pixels[first : first + size]
            try:
                parts.append(self._backbone.forward(self._stacked(part, size))[: len(part)])
            except DeviceMemoryError as error:
                self._halve(size, error)
            else:
                first += len(part)
        return np.concatenate(parts)

    def _stacked(self, pixels: Sequence[Pixels], size: int) -> Pixels:
        """Stack a batch, padded with black pictures if rows depend on the batch's size."""
        batch = np.zeros((size if self._backbone.pads else len(pixels), *pixels[0].shape), np.uint8)
        np.stack(pixels, out=batch[: len(pixels)])
        return batch

    def _halve(self, size: int, error: DeviceMemoryError) -> None:
        with self._lock:
            if self.batch_size < size:
                return  # another thread has halved it
            if size == 1:
                raise OptionError(
                    f"{error}, not even one; give a smaller --input-size or another --device"
                ) from error
            self.batch_size = size // 2
            # as text: a handler may keep its arguments, and an exception keeps all activations in memory
            logger.warning(
                "%s: continuing with batches of %d; that may change the last bits of rows",
                str(error),
                self.batch_size,
            )


def _read_all(
    entries: Iterable[tuple[int, Entry]], backbone: Backbone, options: ReadOptions, *, ahead: int
) -> Iterator[tuple[int, ReadImage | str]]:
    """Yield (slot, pixels or reason) in order, reading ahead by a bounded number of images."""
    jobs = -(-ahead // backbone.lot) + options.threads
    queue: deque[tuple[list[int], Future[list[ReadImage | str]]]] = deque()
    stream = iter(entries)
    with (
        ThreadPoolExecutor(options.threads, thread_name_prefix="decode") as pool,
        Reader(backbone, options) as reader,  # left first: threads may wait for a process that it ends
    ):
        try:
            while True:
                while len(queue) < jobs and (lot := list(islice(stream, backbone.lot))):
                    job = pool.submit(reader.read, [entry for _, entry in lot])
                    queue.append(([slot for slot, _ in lot], job))
                if not queue:
                    return
                slots, job = queue.popleft()
                yield from zip(slots, job.result(), strict=True)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
