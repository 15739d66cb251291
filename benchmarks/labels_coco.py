"""Time and peak memory of reading a COCO instances json: ``python -m benchmarks.labels_coco [--mb 300]``.

Two files of one size are read, each in a process of its own: one with outlines (``segmentation``), as COCO
ships them, one with nothing but the ids, which has as many annotations as fit.
"""

import argparse
import json
import random
import tempfile
from pathlib import Path

from benchmarks.labels_apart import read_apart
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


def main() -> None:
    """Write both files, read them, and put the table into BENCHMARKS.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mb", type=int, default=300)
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for kind, numbers in KINDS.items():
            path = Path(folder, "instances.json")
            annotations = write(path, options.mb * 10**6, numbers)
            read = read_apart(path)
            size = path.stat().st_size / 1e6
            rows.append(
                [
                    kind,
                    f"{size:.0f}",
                    f"{read.images:,}",
                    f"{annotations:,}",
                    f"{read.seconds:.1f}",
                    f"{read.peak:,.0f}",
                ]
            )
    text = table(["json", "MB", "images", "annotations", "seconds", "peak MB"], rows)
    write_section("A COCO json", "python -m benchmarks.labels_coco", text)
    print(text)


if __name__ == "__main__":
    main()
