"""Processor time and memory of reading a csv: ``python -m benchmarks.labels_csv [--lines 1000000]``.

Five files of as many lines are read, each in a process of its own: tags joined by commas, the same behind
semicolons, lists as pandas writes them, one line a tag, and 0/1 columns.
"""

import argparse
import csv
import random
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.labels_apart import read_apart
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


def main() -> None:
    """Write the files, read them, and put the table into BENCHMARKS.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=1_000_000)
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for kind in KINDS:
            path = Path(folder, "labels.csv")
            write(path, options.lines, kind)
            read = read_apart(path)
            size = path.stat().st_size / 1e6
            rows.append([kind, f"{size:.0f}", f"{read.images:,}", f"{read.cpu:.1f}", f"{read.peak:,.0f}"])
    text = table(["csv", "MB", "images", "CPU seconds", "peak MB"], rows)
    write_section("A csv of labels", "python -m benchmarks.labels_csv", text)
    print(text)


if __name__ == "__main__":
    main()
