"""The bounds of a pass on a GPU, each measured alone: the network, and reading in one or several processes.

Each is one of `benchmarks.embedding_ways.alone_ways`, which are run in separate processes.
"""

import multiprocessing
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.processes import CORES, WEIGHTS
from toolkit.backbones.frozen import load_backbone
from toolkit.backbones.options import NetworkOptions
from toolkit.embedding.options import ReadOptions
from toolkit.embedding.read import Reader, ReadImage
from toolkit.images.decode import decode_image
from toolkit.images.manifest import Entry, read_manifest

READ = 4000  # images: a few seconds in one process
SECONDS = 3.0  # of the network
PATIENCE = 60.0  # seconds until all processes are ready


def network(folder: Path, device: str) -> dict[str, Any]:
    """Run batches that are in memory, as many side by side as in the pass."""
    backbone = load_backbone(NetworkOptions(weights=WEIGHTS, device=device, resize="crop"))
    files = sorted(folder.iterdir())[: backbone.batch_size]
    few = np.stack([backbone.preprocess(decode_image(path.read_bytes()).rgb) for path in files])
    batch = np.resize(few, (backbone.batch_size, *few.shape[1:]))  # repeats them
    with ThreadPoolExecutor(backbone.in_flight) as pool:
        list(pool.map(backbone.forward, [batch] * 4))
        start = time.perf_counter()
        list(pool.map(backbone.forward, [batch] * 4))
        n = 4 * max(round(SECONDS / (time.perf_counter() - start)), 1)
        start = time.perf_counter()
        list(pool.map(backbone.forward, [batch] * n))
        seconds = time.perf_counter() - start
    how = f"{backbone.spec.precision}, {len(batch)} at a time"
    return {"images": n * len(batch), "seconds": seconds, "precision": how}


def reading(folder: Path, device: str, *, decode: str, processes: int) -> dict[str, Any]:
    """Read, decode and resize, with one thread a core, divided among processes as in the pass."""
    entries = read_manifest(folder).entries[:READ]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, _begin, (context.Barrier(processes),)) as pool:
        read = partial(_read, device=device, decode=decode, threads=max(CORES // processes, 1))
        parts = list(pool.map(read, [entries[first::processes] for first in range(processes)]))
    images, starts, ends = zip(*parts, strict=True)
    return {"images": sum(images), "seconds": max(ends) - min(starts), "precision": ""}


_ready: list[Barrier] = []


def _begin(ready: Barrier) -> None:
    _ready.append(ready)


def _read(entries: Sequence[Entry], *, device: str, decode: Any, threads: int) -> tuple[int, float, float]:
    """Return the number of images read, and start and end; all processes start together."""
    # no GPU memory unless needed; the torch engine resizes pictures as in a pass on a GPU
    place = device if decode == "device" else "cpu"
    network = {"weights": WEIGHTS, "engine": "torch", "precision": "fp32", "device": place}
    backbone = load_backbone(NetworkOptions(**network, resize="crop", decode=decode))
    lots = [entries[first : first + backbone.lot] for first in range(0, len(entries), backbone.lot)]
    with ThreadPoolExecutor(threads) as pool, Reader(backbone, ReadOptions()) as reader:
        list(pool.map(reader.read, lots[:threads]))
        _ready[0].wait(PATIENCE)
        start = time.perf_counter()
        images = sum(isinstance(one, ReadImage) for lot in pool.map(reader.read, lots) for one in lot)
        return images, start, time.perf_counter()
