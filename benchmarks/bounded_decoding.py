"""What bounded and isolated decoding cost, beside another version.

``python -m benchmarks.bounded_decoding FOLDER BEFORE``

FOLDER holds images, BEFORE is a work tree of the version to compare with. Every run is a process of its own,
the ways in turn, so that a busy machine is busy for all of them.
"""

import argparse
import io
import json
import os
import statistics
import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks.processes import WEIGHTS
from benchmarks.tables import table, write_section

TURNS = 60

PASS = """
import json, os, sys, tempfile, time
import toolkit
from toolkit.runtime.memory import peak_mb
folder, weights, options = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
started = []
def progress(stage, done, total, note=""):
    if stage == "embed" and not started:
        started.append((time.perf_counter(), sum(os.times()[:4])))
with tempfile.TemporaryDirectory() as artifacts:
    report = toolkit.embed(folder, artifacts=artifacts, weights=weights, engine="openvino", precision="fp32",
                           device="cpu", progress=progress, **options)
    wall, cpu = time.perf_counter() - started[0][0], sum(os.times()[:4]) - started[0][1]
    digest = __import__("hashlib").sha256(report.store.embeddings().tobytes()).hexdigest()
print(json.dumps({"images": report.embedded, "wall": wall, "cpu": cpu, "peak": peak_mb(), "digest": digest}))
"""

READ = """
import json, sys, time
from pathlib import Path
from toolkit.backbones.options import NetworkOptions
from toolkit.backbones.preprocessing import Preprocessing, Recipe
from toolkit.embedding.options import ReadOptions
from toolkit.images.manifest import read_manifest
entries = read_manifest(Path(sys.argv[1])).entries
class Resizes:
    recipe = Recipe(resize_size=256, crop_size=224, mean=(0.0,), std=(1.0,))
    preprocess = Preprocessing.of(recipe, NetworkOptions())
    least_side = preprocess.least_side
    def decode(self, files, max_pixels):
        return [None] * len(files)
options = ReadOptions(num_workers=1, **json.loads(sys.argv[2]))
try:
    from toolkit.embedding.read import Reader
    reader = Reader(Resizes(), options).__enter__()
    read = reader.read
except ImportError:  # before
    from toolkit.embedding.read import read_images
    def read(entries):
        return read_images(entries, Resizes(), options)
for _ in sys.stdin:  # a turn
    start = time.perf_counter(), time.process_time()
    for first in range(0, len(entries), 4):
        read(entries[first : first + 4])
    wall, cpu = time.perf_counter() - start[0], time.process_time() - start[1]
    print(json.dumps({"images": len(entries), "wall": wall, "cpu": cpu}), flush=True)
if options.__dict__.get("isolate"):
    reader.__exit__()
"""

ONE = """
import json, sys, time
from pathlib import Path
from toolkit.errors import ImageError
from toolkit.images.decode import configure_pillow, decode_image
from toolkit.images.options import ImagePolicy
from toolkit.runtime.memory import peak_mb
data = Path(sys.argv[1]).read_bytes()
configure_pillow(ImagePolicy())
before, start = peak_mb(), time.perf_counter()
try:
    picture = decode_image(data)
    result = f"decoded, {picture.width} x {picture.height}"
except ImageError as error:
    result = str(error)
print(json.dumps({"seconds": time.perf_counter() - start, "mb": peak_mb() - before, "result": result}))
"""


def main() -> None:
    """Measure and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", type=Path)
    parser.add_argument("before", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    trees = {"before": given.before.resolve(), "after": Path(__file__).resolve().parents[1]}
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.images.resolve()
        slow, reading = _slow(Path(scratch), trees), _reading(folder, trees, TURNS)
        text = "\n\n".join([_passes(folder, trees, given.rounds), reading, slow])
    write_section("Bounded decoding", "python -m benchmarks.bounded_decoding FOLDER BEFORE", text)


def _run(tree: Path, code: str, *arguments: str) -> dict[str, Any]:
    environment = os.environ | {"PYTHONPATH": str(tree)}
    command = [sys.executable, "-W", "ignore", "-c", code, *arguments]
    done = subprocess.run(command, cwd=tree, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


WAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "before": ("before", {}),
    "after": ("after", {}),
    "after, --isolate": ("after", {"isolate": True}),
}


def _rounds(
    trees: dict[str, Path], rounds: int, code: str, *arguments: str
) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
    for number in range(rounds + 1):
        # the other way round every second time: a machine may slow down within a round
        for way in list(WAYS)[:: 1 if number % 2 else -1]:
            tree, options = WAYS[way]
            run = _run(trees[tree], code, *arguments, json.dumps(options))
            print(number, way, run, flush=True)
            if number:  # the first prepares the network and fills the disk cache
                found[way].append(run)
    return found


def _reading(folder: Path, trees: dict[str, Path], rounds: int) -> str:
    """Let a process of each way read all images in turn: one turn is short, so the pairs are alike."""
    found: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
    processes = {
        way: _start(trees[tree], READ, str(folder), json.dumps(options))
        for way, (tree, options) in WAYS.items()
    }
    for number in range(rounds + 1):
        for way in list(WAYS)[:: 1 if number % 2 else -1]:
            run = _turn(processes[way])
            if number:  # the first fills caches
                found[way].append(run)
    for process in processes.values():
        process.communicate()
    images = found["before"][0]["images"]
    rows = [
        (way, *(f"{1000 * min(run[key] for run in runs) / images:.3f}" for key in ("wall", "cpu")),
         *(f"{_ratio(runs, found['before'], key):.3f}" for key in ("wall", "cpu")))
        for way, runs in found.items()
    ]  # fmt: skip
    return (
        f"Reading, decoding and resizing alone, {images:,} images, one thread, {rounds} turns of each way "
        "(CPU of the process itself, without the one that decodes for it):\n\n"
        + table(("way", "ms an image, least", "CPU ms an image, least", "ratio", "CPU ratio"), rows)
    )


def _start(tree: Path, code: str, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", code, *arguments],
        cwd=tree,
        env=os.environ | {"PYTHONPATH": str(tree)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _turn(process: "subprocess.Popen[str]") -> dict[str, Any]:
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    found: dict[str, Any] = json.loads(process.stdout.readline())
    return found


def _passes(folder: Path, trees: dict[str, Path], rounds: int) -> str:
    found = _rounds(trees, rounds, PASS, str(folder), WEIGHTS)
    if len({run["digest"] for runs in found.values() for run in runs}) != 1:
        raise SystemExit("the embeddings differ")
    first = found["before"]
    rows = []
    for way, runs in found.items():
        ratios = [_ratio(runs, first, key) for key in ("wall", "cpu")]
        rows.append(
            (way, f"{min(run['wall'] for run in runs):.2f}", f"{min(run['cpu'] for run in runs):.2f}",
             *(f"{ratio:.3f}" for ratio in ratios), f"{statistics.median(run['peak'] for run in runs):,.0f}")
        )  # fmt: skip
    header = ("way", "s, least", "CPU s, least", "s, ratio", "CPU s, ratio", "peak MB of the pass's process")
    return (
        f"The pass over {first[0]['images']:,} images, {rounds} rounds, the ways in turn; CPU seconds are of "
        "all its processes, and less disturbed by what else the machine does; ratios are medians over the "
        "rounds, each to `before` of the same round. All rows are equal byte by byte:\n\n"
        + table(header, rows)
    )


def _ratio(runs: Sequence[dict[str, Any]], first: Sequence[dict[str, Any]], key: str) -> float:
    return statistics.median(run[key] / other[key] for run, other in zip(runs, first, strict=True))


def _slow(scratch: Path, trees: dict[str, Path]) -> str:
    rows = []
    for name, data in _attacks().items():
        path = scratch / "image"
        path.write_bytes(data)
        for version, tree in trees.items():
            run = _run(tree, ONE, str(path))
            print(name, version, run, flush=True)
            rows.append(
                (
                    f"{name} ({len(data):,} bytes)",
                    version,
                    f"{run['seconds']:.2f}",
                    f"{run['mb']:,.0f}",
                    run["result"],
                )
            )
    return (
        "Images made to be expensive, decoded with the default limits, in one process each (MB: growth of "
        "its peak):\n\n" + table(("image", "version", "s", "MB", "result"), rows)
    )


def _attacks() -> dict[str, bytes]:
    return {
        "WebP, 16383 x 16383": _webp(16383, 16383),
        "WebP, 13000 x 13000": _webp(13000, 13000),
        "PNG, 1 x 178,000,000": _png(1, 178_000_000),
        "PNG, 13377 x 13377, RGB": _png(13377, 13377, 2),
        "PNG, 13377 x 13377, RGBA": _png(13377, 13377, 6),
        "JPEG, 12000 x 12000, 60 scans": _scans(12000, 60),
    }


def _webp(width: int, height: int) -> bytes:
    chunk = b"VP8L" + struct.pack("<IBI", 10, 0x2F, width - 1 | height - 1 << 14) + bytes(5)
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


def _png(width: int, height: int, colour: int = 0) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    row = bytes(1 + width * {0: 1, 2: 3, 6: 4}[colour])
    rows, packer = max(2**20 // len(row), 1), zlib.compressobj(1)
    parts = [packer.compress(row * min(rows, height - top)) for top in range(0, height, rows)]
    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    pixels = b"".join([*parts, packer.flush()])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def _scans(side: int, n: int) -> bytes:
    """Repeat the last scan of a grey progressive JPEG."""
    stream = io.BytesIO()
    Image.new("L", (side, side), 128).save(stream, "JPEG", progressive=True)
    data = stream.getvalue()
    start = data.rindex(b"\xff\xda")
    return data[:start] + data[start:-2] * (n - 5) + data[-2:]


if __name__ == "__main__":
    main()
