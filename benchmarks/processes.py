"""Time and memory of a command and all the processes it starts, and the settings of embedding benchmarks."""

import os
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass

import psutil

from toolkit.runtime.devices import usable_cores

WEIGHTS = os.environ.get("TOOLKIT_WEIGHTS", "random:0")
CORES = usable_cores()
POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Run:
    """Output, seconds and memory of a command; memory is resident, in MiB, as polled."""

    stdout: str
    seconds: float
    largest_mb: float  # the most that one process held
    together_mb: float  # the most that all held at a time; shared pages count in each


def run(command: Sequence[str]) -> Run:
    """Run `command` to its end; `CalledProcessError` unless it exits with 0."""
    largest = together = 0.0
    with tempfile.TemporaryFile("w+", encoding="utf-8") as out:  # a pipe would block once it is full
        start = time.perf_counter()
        process = psutil.Popen(command, stdout=out)
        while process.poll() is None:
            held = _resident(process)
            largest, together = max(largest, *held), max(together, sum(held))
            time.sleep(POLL_SECONDS)
        seconds = time.perf_counter() - start
        out.seek(0)
        stdout = out.read()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, stdout)
    return Run(stdout, seconds, largest, together)


def _resident(process: psutil.Process) -> list[float]:
    """Return MiB of the process and each of its descendants; 0 for one that has just ended."""
    held = [0.0]
    try:
        family = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return held
    for each in family:
        try:
            held.append(each.memory_info().rss / 2**20)
        except psutil.NoSuchProcess:
            continue
    return held
