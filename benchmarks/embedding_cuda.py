"""The pass on a machine with CUDA GPUs, beside the usual scripts: ``python -m benchmarks.embedding_cuda``.

One call measures everything and writes the section of BENCHMARKS.md: whole passes from the processor's cores
and from nvJPEG, one process or several on a GPU, all GPUs at once, and what the network alone and reading
alone would allow, so that the table says which of them is the limit. Each result is printed as soon as it is
known, and nothing is begun after `--minutes`. ``--device cpu --n 64 --rounds 1`` tries all of it without a
GPU and prints the section only.
"""

import argparse
import logging
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.embedding import described, draw, median_rate, passes_table, run_way
from benchmarks.embedding_ways import alone_ways, gpu_ways
from benchmarks.processes import CORES
from benchmarks.tables import section, table, write_section

DIFFERENT = 200  # pictures, copied until there are as many as asked for
LIMIT = 100.0  # seconds a way may take, start-up included
Runs = dict[str, list[dict[str, Any]]]


def main() -> None:
    """Measure, print and write the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "images",
        nargs="?",
        type=Path,
        help=f"Folder of JPEGs, of which {DIFFERENT} are used; else drawn ones.",
    )
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--n", type=int, default=20_000, help="images of a pass, copies of those")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=6.5)
    parser.add_argument(
        "--write", action=argparse.BooleanOptionalAction, help="BENCHMARKS.md; by default for cuda only"
    )
    given = parser.parse_args()
    on_cuda = given.device.startswith("cuda")
    if on_cuda and not torch.cuda.is_available():
        raise SystemExit("this machine has no usable CUDA GPU")
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as scratch:
        folder = _copies(Path(scratch), given.images, given.n)
        text = _measured(folder, given.device, given.rounds, 60 * given.minutes)
    options = ["IMAGES"] * bool(given.images) + [f"--device {given.device}"] * (given.device != "cuda")
    command = " ".join(["python -m benchmarks.embedding_cuda", *options])
    what = ("The embedding pass on CUDA", command, f"{_machine(on_cuda)}\n\n{text}")
    print(section(*what))
    if on_cuda if given.write is None else given.write:
        write_section(*what)


def _machine(on_cuda: bool) -> str:
    if not on_cuda:
        return f"No GPU was used, {CORES} cores."
    return f"{torch.cuda.device_count()} x {torch.cuda.get_device_name(0)}, {CORES} cores."


def _copies(scratch: Path, images: Path | None, n: int) -> Path:
    """Link pictures until there are `n`: the disk is not what is measured. Drawn ones are 500 x 375."""
    drawn = images or draw(scratch / "drawn", min(DIFFERENT, n), (500, 375))
    few = [path.read_bytes() for path in sorted(drawn.iterdir())[:DIFFERENT]]
    folder = scratch / "many"
    folder.mkdir()
    for number in range(n):
        path = folder / f"{number:06d}.jpg"
        if number < len(few):
            path.write_bytes(few[number])
        else:
            path.hardlink_to(folder / f"{number % len(few):06d}.jpg")
    return folder


def _measured(folder: Path, device: str, rounds: int, seconds: float) -> str:
    alone, passes = list(alone_ways(device)), list(gpu_ways(device))
    # the most telling first, in case the time is up
    plan = [*alone[:2], *passes, *alone[2:], *passes * (rounds - 1)]
    runs, failed = _run_all(plan, folder, device, time.perf_counter() + seconds)
    measured = {way: runs[way] for way in passes if runs[way]}
    parts = [
        f"{described(folder)} They are copies of at most {DIFFERENT}, so they come from memory, not a disk.",
        passes_table(measured) if measured else "",
        "Each alone:",
        table(
            ("what", "precision", "images/s"),
            [(way, run["precision"], f"{median_rate([run]):,.1f}") for way in alone for run in runs[way]],
        ),
    ]
    missing = [f"{way}: {failed.get(way, 'no time was left')}" for way in runs if not runs[way]]
    if missing:
        parts.append(f"Not measured: {'; '.join(missing)}.")
    return "\n\n".join(parts)


def _run_all(plan: list[str], folder: Path, device: str, end: float) -> tuple[Runs, dict[str, str]]:
    """Run the ways of `plan` in turn until the time is up; return their runs, and why some failed."""
    runs: Runs = {way: [] for way in plan}
    failed: dict[str, str] = {}
    for way in plan:
        if way in failed or time.perf_counter() > end:
            continue
        try:
            found = run_way(way, folder, device, limit=LIMIT)
        except subprocess.CalledProcessError as error:
            failed[way] = f"failed with exit status {error.returncode}"
            print(f"{way}: {failed[way]}", flush=True)
        except subprocess.TimeoutExpired:
            failed[way] = f"took more than {LIMIT:.0f} s"
            print(f"{way}: {failed[way]}", flush=True)
        else:
            runs[way].append(found)
            print(f"{way}: {median_rate([found]):,.1f} images/s, {found}", flush=True)
    return runs, failed


if __name__ == "__main__":
    main()
