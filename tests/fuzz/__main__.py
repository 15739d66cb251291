"""Many inputs through every reader: ``python -m tests.fuzz --inputs 100000``.

Each reader runs in a process of its own, which may take a stated amount of memory more than it has at its
start, and is ended if one input takes too long. Input number i of a reader is the same in every run. The
table is printed; what went wrong is listed below it with the number of the input, and written to ``--save``.
"""

import argparse
import functools
import importlib.metadata
import json
import logging
import mmap
import os
import random
import resource
import struct
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import NamedTuple

from tests.fuzz.inputs import make
from tests.fuzz.running import BadMessageError, Bench
from tests.fuzz.targets import TARGETS

MEMORY = 1 << 30  # bytes that a reader may take for one input
SECONDS = 60  # after which an input is said to hang
_IN_MEMORY = "/dev/shm"  # where files are written ten times as fast
_FORM = struct.Struct("<qqqqqqdqd")


class Progress(NamedTuple):
    """What a worker has done; it lies in a mapped file, which survives a crash of the worker."""

    number: int  # of the input that is being read, -1 before the first
    results: int
    refused: int
    others: int
    messages: int
    longest_number: int
    longest: float
    most: int  # bytes of memory more than at the start
    began: float


def worker(name: str, first: int, last: int, state: Path, log: Path) -> None:
    """Read the inputs `first` to `last` of one reader."""
    logging.disable()
    # looked up at every load of a head, which takes longer than the load
    importlib.metadata.entry_points = functools.cache(importlib.metadata.entry_points)
    with state.open("r+b") as file, tempfile.TemporaryDirectory() as folder:
        shared = mmap.mmap(file.fileno(), _FORM.size)
        bench = Bench(TARGETS[name], Path(folder))
        warnings.simplefilter("error")
        size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, size + MEMORY))
        base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        done = Progress(*_FORM.unpack(shared[:]))
        for number in range(first, last):
            target, data = make(bench.valid, random.Random(f"{name} {number}"))
            done = done._replace(number=number, began=time.time())
            shared[:] = _FORM.pack(*done)
            done = _one(bench, target, data, done, log)
            grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base) * 1024
            done = done._replace(most=max(done.most, grown))
            shared[:] = _FORM.pack(*done)


def _one(bench: Bench, file: str, data: bytes, done: Progress, log: Path) -> Progress:
    start = time.process_time()
    try:
        message = bench.run(file, data)
        done = done._replace(refused=done.refused + 1) if message else done._replace(results=done.results + 1)
    except Exception as error:
        what = "message" if isinstance(error, BadMessageError) else "exception"
        with log.open("a", encoding="utf-8", errors="backslashreplace") as lines:
            text = f"{type(error).__name__}: {error}"[:500]
            lines.write(json.dumps([what, bench.target.name, done.number, file, text]) + "\n")
        if what == "message":
            done = done._replace(messages=done.messages + 1, refused=done.refused + 1)
        else:
            done = done._replace(others=done.others + 1)
    seconds = time.process_time() - start
    if seconds > done.longest:
        done = done._replace(longest=seconds, longest_number=done.number)
    return done


def fuzz(name: str, inputs: int, log: Path) -> tuple[Progress, int]:
    """Run all inputs of one reader; return what was done and the number of crashes and hangs."""
    with tempfile.TemporaryDirectory(dir=_IN_MEMORY if Path(_IN_MEMORY).is_dir() else None) as folder:
        state = Path(folder, "state")
        state.write_bytes(_FORM.pack(-1, 0, 0, 0, 0, -1, 0.0, 0, 0.0))
        crashes, first = 0, 0
        while first < inputs:
            command = [sys.executable, "-m", "tests.fuzz", "--worker", name, str(first), str(inputs)]
            process = subprocess.Popen([*command, str(state), str(log)], env={**os.environ, "TMPDIR": folder})
            code = _wait(process, state)
            done = Progress(*_FORM.unpack(state.read_bytes()))
            if code == 0:
                break
            if done.number < first:
                raise SystemExit(f"the worker of {name} failed before its first input; it said why above")
            crashes += 1
            with log.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(["crash", name, done.number, "", f"ended with {code}"]) + "\n")
            first = done.number + 1
    return done, crashes


def _wait(process: "subprocess.Popen[bytes]", state: Path) -> int:
    while True:
        try:
            return process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            began = Progress(*_FORM.unpack(state.read_bytes())).began
            if began and time.time() - began > SECONDS:
                process.kill()


def main() -> None:
    """Fuzz all readers, or those named."""
    if sys.argv[1:2] == ["--worker"]:
        name, first, last, state, log = sys.argv[2:]
        worker(name, int(first), int(last), Path(state), Path(log))
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=100_000, help="of all readers together")
    parser.add_argument("--save", type=Path, help="file to which what went wrong is written")
    parser.add_argument("readers", nargs="*", metavar="READER", help=f"of {', '.join(TARGETS)}")
    options = parser.parse_args()
    chosen = options.readers or list(TARGETS)
    each = -(-options.inputs // len(chosen))
    header = ["reader", "inputs", "read", "refused", "other exceptions", "poor messages", "crashes, hangs"]
    header += ["longest s", "most MB"]
    with tempfile.TemporaryDirectory() as folder:
        log = options.save or Path(folder, "log")
        log.unlink(missing_ok=True)
        print("| " + " | ".join(header) + " |\n" + "| --- " * len(header) + "|", flush=True)
        totals = [0, 0, 0, 0, 0, 0]
        for name in chosen:
            done, crashes = fuzz(name, each, log)
            row = [each, done.results, done.refused, done.others, done.messages, crashes]
            totals = [total + number for total, number in zip(totals, row, strict=True)]
            cells = [*(f"{number:,}" for number in row), f"{done.longest:.2f}", f"{done.most / 1e6:.0f}"]
            print(f"| {name} | {' | '.join(cells)} |", flush=True)
        print(f"| all | {' | '.join(f'{number:,}' for number in totals)} |  |  |")
        if log.exists():
            print(f"\n{log.read_text(encoding='utf-8')}"[:20_000], file=sys.stderr)
    sys.exit(bool(totals[3] + totals[5]))


if __name__ == "__main__":
    main()
