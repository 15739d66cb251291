"""Read a label file in a process of its own: ``python -m benchmarks.labels_apart FILE``."""

import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import toolkit


class Reading(NamedTuple):
    """Images in the file, seconds, seconds of the processor, and peak memory in MB."""

    images: int
    seconds: float
    cpu: float
    peak: float


def read_apart(path: Path) -> Reading:
    """Read `path` in a new process, whose peak memory is that of reading."""
    command = [sys.executable, "-m", "benchmarks.labels_apart", str(path)]
    answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return Reading(*json.loads(answer))


def main() -> None:
    start, cpu = time.perf_counter(), time.process_time()
    labels = toolkit.read_labels(Path(sys.argv[1]))
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    print(json.dumps(Reading(len(labels.ids), seconds, cpu, peak / 1e6)))


if __name__ == "__main__":
    main()
