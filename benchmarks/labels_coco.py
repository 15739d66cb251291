"""Time and peak memory of reading a COCO instances json: ``python -m benchmarks.labels_coco [--mb 300]``.

Two files of one size are read, each in a process of its own: one with outlines (``segmentation``), as COCO
ships them, one with nothing but the ids, which has as many annotations as fit.
"""

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import toolkit
from benchmarks.tables import table, write_section

KINDS = {"with outlines": 60, "ids alone": 0}  # numbers in the outline of an object
PER_IMAGE = 7  # annotations, as in COCO's train2017


def write(path: Path, size: int, numbers: int) -> int:
    """Write a json of about `size` bytes; return its number of annotations.

    It is streamed: the peak of a new process is never below what its parent had when starting it.
    """
    random_ = random.Random(0)
    image = 0
    with path.open("w", encoding="utf-8") as file:
        file.write('{"annotations": [')
        while file.tell() + 83 * image < size:  # an image's entry has 83 bytes
            image += 1
            for _ in range(PER_IMAGE):
                entry: dict[str, object] = {
                    "image_id": 10**5 + image,
                    "category_id": random_.randrange(1, 91),
                }
                if numbers:
                    outline = [round(random_.uniform(0, 640), 2) for _ in range(numbers)]
                    entry |= {"id": image, "segmentation": [outline], "area": outline[0], "iscrowd": 0}
                    entry["bbox"] = outline[:4]
                file.write(f"{json.dumps(entry)}, ")
        file.write(f'{json.dumps(entry)}], "images": [')
        for number in range(10**5, 10**5 + image + 1):
            comma = ", " if number > 10**5 else ""
            entry = {"id": number, "file_name": f"{number:012d}.jpg", "width": 640, "height": 480}
            file.write(comma + json.dumps(entry))
        categories = [{"id": number, "name": f"tag {number}"} for number in range(1, 91)]
        file.write(f'], "categories": {json.dumps(categories)}}}')
    return image * PER_IMAGE + 1


def measure(path: Path) -> None:
    """Read `path`; print the seconds and the peak memory of this process."""
    start = time.perf_counter()
    labels = toolkit.read_labels(path)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    print(json.dumps([len(labels.ids), seconds, peak / 1e6]))


def main() -> None:
    """Write both files, read them, and put the table into BENCHMARKS.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mb", type=int, default=300)
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.read:
        measure(options.read)
        return
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for kind, numbers in KINDS.items():
            path = Path(folder, "instances.json")
            annotations = write(path, options.mb * 10**6, numbers)
            command = [sys.executable, "-m", "benchmarks.labels_coco", "--read", str(path)]
            answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            images, seconds, peak = json.loads(answer)
            size = path.stat().st_size / 1e6
            rows.append(
                [kind, f"{size:.0f}", f"{images:,}", f"{annotations:,}", f"{seconds:.1f}", f"{peak:,.0f}"]
            )
    text = table(["json", "MB", "images", "annotations", "seconds", "peak MB"], rows)
    write_section("A COCO json", "python -m benchmarks.labels_coco", text)
    print(text)


if __name__ == "__main__":
    main()
