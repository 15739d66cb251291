"""The pass on a machine with CUDA GPUs, beside the usual script: ``python -m benchmarks.embedding_cuda``.

One call measures everything: whole passes from the processor's cores and from nvJPEG, all GPUs at once, the
network alone, and what decoding alone would allow, so that the table says which of them is the limit.
"""

import argparse
import logging
import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch

from benchmarks.embedding import draw, passes
from benchmarks.embedding_ways import WEIGHTS
from benchmarks.tables import table, write_section
from toolkit.backbones import load_backbone
from toolkit.embedding.read import read_image
from toolkit.images import ImagePolicy
from toolkit.manifest import read_manifest


def main() -> None:
    """Measure and write the tables; needs a CUDA GPU."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", nargs="?", type=Path, help="Folder of JPEGs; by default 20,000 drawn ones.")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--n", type=int, default=20_000)
    given = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("this machine has no usable CUDA GPU")
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.images or _copies(Path(scratch), given.n)
        ways = [
            "DataLoader script, torch fp32",
            "toolkit --device cuda",
            "toolkit --device cuda --decode device",
            "toolkit --device cuda:0,cuda:0,cuda:0,cuda:0",
        ]
        if torch.cuda.device_count() > 1:
            ways.append("toolkit --device all")
        text = "\n\n".join([passes(folder, ways, given.rounds), _limits(folder)])
    gpu = torch.cuda.get_device_name(0)
    head = f"{torch.cuda.device_count()} x {gpu}, {os.cpu_count()} cores."
    write_section("The embedding pass on CUDA", "python -m benchmarks.embedding_cuda", f"{head}\n\n{text}")


def _copies(scratch: Path, n: int) -> Path:
    """Draw 200 photos of 500 x 375 and link them until there are `n`: the disk is not what is measured."""
    drawn = sorted(draw(scratch / "drawn", 200, (500, 375)).iterdir())
    folder = scratch / "many"
    folder.mkdir()
    for number in range(n):
        (folder / f"{number:06d}.jpg").hardlink_to(drawn[number % len(drawn)])
    return folder


def _limits(folder: Path) -> str:
    entries = read_manifest(folder).entries[:2000]
    rows = []
    for decode in ("scaled", "device"):
        backbone = load_backbone("resnet50", weights=WEIGHTS, device="cuda", resize="crop", decode=decode)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            start = time.perf_counter()
            reads = pool.map(
                lambda entry, b=backbone: read_image(entry, b, policy=ImagePolicy(), views=0, seed=0), entries
            )
            n = sum(not isinstance(read, str) for read in reads)
            rows.append((f"reading, --decode {decode}", f"{n / (time.perf_counter() - start):,.0f}"))
    batch = np.zeros((backbone.batch_size, 224, 224, 3), np.uint8)
    with ThreadPoolExecutor(backbone.in_flight) as pool:
        list(pool.map(backbone.forward, [batch] * 8))
        start = time.perf_counter()
        list(pool.map(backbone.forward, [batch] * 64))
        rate = 64 * len(batch) / (time.perf_counter() - start)
    what = f"the network, {backbone.spec.precision}, {len(batch)} at a time, copies included"
    return "Each alone:\n\n" + table(("what", "images/s"), [*rows, (what, f"{rate:,.0f}")])


if __name__ == "__main__":
    main()
