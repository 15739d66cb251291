"""Processor time and memory of reading a csv: ``python -m benchmarks.labels_csv [--lines 1000000]``.

Five files of as many lines are read, each in a process of its own: tags joined by commas, the same behind
semicolons, lists as pandas writes them, one line a tag, and 0/1 columns.
"""

import argparse
import csv
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import toolkit
from benchmarks.tables import table, write_section

TAGS = [f"标签{number}" for number in range(6941)]
COLUMNS = 20
DRAWN = 5000  # rows that differ in their tags
Row = Callable[[random.Random], list[object]]


def _some(random_: random.Random) -> list[str]:
    return random_.choices(TAGS, k=random_.randrange(1, 12))


KINDS: dict[str, tuple[str, list[str], Row]] = {
    "tags joined by commas": (",", ["tags"], lambda random_: [",".join(_some(random_))]),
    "the same, semicolons between columns": (";", ["tags"], lambda random_: [",".join(_some(random_))]),
    "lists of Python": (",", ["tags"], lambda random_: [str(_some(random_))]),
    "one line a tag": (",", ["label", "xmin"], lambda random_: [random_.choice(TAGS[:90]), 4]),
    f"{COLUMNS} columns of 0 and 1": (
        ",",
        TAGS[:COLUMNS],
        lambda random_: [random_.randrange(2) for _ in range(COLUMNS)],
    ),
}


def write(path: Path, lines: int, kind: str) -> None:
    """Write a csv of `lines` lines; one line a tag has seven of them an image."""
    mark, columns, row = KINDS[kind]
    repeats = 7 if "xmin" in columns else 1
    random_ = random.Random(0)
    cells = [row(random_) for _ in range(DRAWN)]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=mark)
        writer.writerow(["img_path", *columns])
        for number in range(lines):
            writer.writerow([f"train/{number // repeats:07d}.jpg", *cells[number % DRAWN]])


def measure(path: Path) -> None:
    """Read `path`; print the images, the seconds of the processor and the peak memory of this process."""
    start = time.process_time()
    labels = toolkit.read_labels(path)
    seconds = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    print(json.dumps([len(labels.ids), seconds, peak / 1e6]))


def main() -> None:
    """Write the files, read them, and put the table into BENCHMARKS.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.read:
        measure(options.read)
        return
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for kind in KINDS:
            path = Path(folder, "labels.csv")
            write(path, options.lines, kind)
            command = [sys.executable, "-m", "benchmarks.labels_csv", "--read", str(path)]
            answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            images, seconds, peak = json.loads(answer)
            size = path.stat().st_size / 1e6
            rows.append([kind, f"{size:.0f}", f"{images:,}", f"{seconds:.1f}", f"{peak:,.0f}"])
    text = table(["csv", "MB", "images", "CPU seconds", "peak MB"], rows)
    write_section("A csv of labels", "python -m benchmarks.labels_csv", text)
    print(text)


if __name__ == "__main__":
    main()
