"""The pass beside the usual scripts, in one run: ``make bench``, or with a folder of your own photos.

Every way runs alone in a process of its own, all of them in turn, `--rounds` times; medians are reported.
"""

import argparse
import io
import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

from benchmarks.embedding_ways import WAYS, WEIGHTS
from benchmarks.tables import table, write_section
from toolkit.backbones import load_backbone
from toolkit.backbones.fidelity import cosines
from toolkit.backbones.preprocessing import Preprocessing
from toolkit.demo_pictures import draw_picture
from toolkit.images import decode_image

CPU_WAYS = [way for way in WAYS if "cuda" not in way and "all" not in way]
REFERENCE = CPU_WAYS[0]
DRAWN = 256
SMALL = (100, 20_000)  # files, of 64 x 48 pixels: does memory grow?


def main() -> None:
    """Measure and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", nargs="?", type=Path, help="Folder of JPEGs; by default drawn ones.")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.images or draw(Path(scratch) / "drawn", DRAWN, (500, 375))
        text = "\n\n".join(
            [
                _described(folder),
                passes(folder, CPU_WAYS, given.rounds),
                forward_only(folder),
                decoding(folder),
                memory(Path(scratch)),
            ]
        )
    write_section("The embedding pass", f"make bench{' IMAGES=FOLDER' if given.images else ''}", text)


def draw(folder: Path, n: int, size: tuple[int, int]) -> Path:
    """Draw `n` JPEGs of a size."""
    folder.mkdir(parents=True)
    for number in range(n):
        image, _ = draw_picture(np.random.default_rng(number), size)
        image.save(folder / f"{number:06d}.jpg", quality=90)
    return folder


def _described(folder: Path) -> str:
    files = sorted(folder.iterdir())
    with Image.open(files[0]) as image:
        size = image.size
    weights = "trained" if WEIGHTS != "random:0" else "untrained"
    return (
        f"{len(files)} JPEGs such as {size[0]} x {size[1]}, {weights} ResNet50, medians, ratios to the first "
        "row. Seconds of the pass itself count for images/s, everything for whole s."
    )


def passes(folder: Path, ways: Sequence[str], rounds: int) -> str:
    """Return the table of whole passes."""
    for way in ways:  # prepares networks and fills the disk cache
        if "toolkit" in way:
            _run(way, folder)
    found: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way in ways:
            found[way].append(_run(way, folder))
            print(way, found[way][-1], flush=True)
    rows = []
    first = _rate(found[ways[0]])
    for way, runs in found.items():
        rate = _rate(runs)
        start, whole, peak = (
            statistics.median(run[key] for run in runs) for key in ("startup", "whole", "peak_mb")
        )
        rows.append(
            (way, f"{rate:.1f}", f"{rate / first:.2f}", f"{start:.1f}", f"{whole:.1f}", f"{peak:,.0f}")
        )
    header = ("way", "images/s", "ratio", "start-up s", "whole s", "peak MB, all its processes")
    return table(header, rows)


def _rate(runs: Sequence[dict[str, float]]) -> float:
    return statistics.median(run["images"] / run["seconds"] for run in runs)


def _run(way: str, folder: Path) -> dict[str, float]:
    start = time.perf_counter()
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.embedding_ways", way, str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    peak = [0.0]
    watcher = threading.Thread(target=_watch, args=(process.pid, peak))
    watcher.start()
    out, _ = process.communicate()
    watcher.join()
    if process.returncode:
        raise SystemExit(f"{way} failed")
    found: dict[str, float] = json.loads(out.splitlines()[-1])
    return found | {"whole": time.perf_counter() - start, "peak_mb": peak[0]}


def _watch(pid: int, peak: list[float]) -> None:
    """Note the most memory the process and its children held: private, and their shares of what is shared."""
    try:
        top = psutil.Process(pid)
        while top.is_running() and top.status() != psutil.STATUS_ZOMBIE:
            held = 0
            for process in [top, *top.children(recursive=True)]:
                try:
                    held += getattr(process.memory_full_info(), "pss", 0) or process.memory_info().rss
                except psutil.NoSuchProcess:
                    continue
            peak[0] = max(peak[0], held / 2**20)
            time.sleep(0.3)
    except psutil.NoSuchProcess:
        return


def forward_only(folder: Path) -> str:
    """Return the rate of the engine alone, pictures in memory, as many batches in flight as in the pass."""
    rows = []
    for precision in ("fp32", "auto"):
        backbone = load_backbone(
            "resnet50", weights=WEIGHTS, resize="crop", device="cpu", precision=precision
        )
        batch = np.stack([_pixels(path, backbone.preprocessing) for path in sorted(folder.iterdir())[:4]])
        n = 100
        with ThreadPoolExecutor(backbone.in_flight) as pool:
            list(pool.map(backbone.forward, [batch] * 4))
            start = time.perf_counter()
            list(pool.map(backbone.forward, [batch] * n))
            seconds = time.perf_counter() - start
        rows.append((f"{backbone.spec.engine} {backbone.spec.precision}", f"{n * len(batch) / seconds:.1f}"))
    return "The engine alone:\n\n" + table(("engine", "images/s"), rows)


def _pixels(path: Path, preprocessing: Preprocessing) -> np.ndarray:
    return preprocessing(decode_image(path.read_bytes()).rgb)


def decoding(folder: Path) -> str:
    """Return decoding and resizing alone, one thread, and how near the embeddings stay."""
    backbone = load_backbone("resnet50", weights=WEIGHTS, resize="crop", device="cpu", precision="fp32")
    recipe = backbone.preprocessing.recipe
    files = sorted(folder.iterdir())
    sets = {
        "as they are": [path.read_bytes() for path in files[:100]],
        "12 megapixels, a mosaic of them": [_mosaic(files, seed) for seed in range(6)],
        "12 megapixels, a mosaic of them, doubled": [_mosaic(files, seed, zoom=2) for seed in range(6)],
        "12 megapixels, one enlarged": [_enlarged(path) for path in files[:6]],
    }
    rows = []
    for name, data in sets.items():
        ways: dict[str, Callable[[bytes], np.ndarray]] = {
            "Pillow, torchvision's transform": lambda one: _reference(_plainly_decoded(one)),
            "--decode exact": _ours(Preprocessing.of(recipe, resize="crop", decode="exact")),
            "--decode scaled": _ours(Preprocessing.of(recipe, resize="crop", decode="scaled")),
        }
        rates, pixels = {}, {}
        for way, read in ways.items():
            pixels[way] = np.stack([read(one) for one in data])
            best = min(_timed(read, data) for _ in range(3))
            rates[way] = len(data) / best
        first = next(iter(ways))
        # the same colours: the usual script leaves embedded profiles aside, which is no matter of decoding
        viewed = np.stack([_reference(decode_image(one).rgb) for one in data])
        reference = _embedded(backbone.forward, viewed)
        for way in ways:
            same = cosines(_embedded(backbone.forward, pixels[way]), reference)
            size = f"{np.mean([len(one) for one in data]) / 1e6:.1f} MB"
            rows.append(
                (f"{name} ({size})", way, f"{rates[way]:.1f}", f"{rates[way] / rates[first]:.2f}",
                 f"{same.mean():.5f}, {same.min():.5f}")
            )  # fmt: skip
            print(*rows[-1], flush=True)
    return (
        "Decoding and resizing alone, one thread. Cosines are to torchvision's transform of the fully "
        "decoded picture, colour profiles honoured (the first way leaves them aside):\n\n"
        + table(("photos", "way", "images/s", "ratio", "cosine of the embeddings, mean and least"), rows)
    )


def _timed(read: Callable[[bytes], np.ndarray], data: Sequence[bytes]) -> float:
    start = time.perf_counter()
    for one in data:
        read(one)
    return time.perf_counter() - start


def _embedded(forward: Callable[[np.ndarray], np.ndarray], pixels: np.ndarray) -> np.ndarray:
    return np.concatenate([forward(pixels[first : first + 4]) for first in range(0, len(pixels), 4)])


def _plainly_decoded(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data)).convert("RGB")


def _reference(image: Image.Image) -> np.ndarray:
    width, height = image.size
    size = (256, int(256 * height / width)) if width <= height else (int(256 * width / height), 256)
    image = image.resize(size, Image.Resampling.BILINEAR)
    left, top = (round((length - 224) / 2) for length in size)
    return np.asarray(image.crop((left, top, left + 224, top + 224)))


def _ours(preprocessing: Preprocessing) -> Callable[[bytes], np.ndarray]:
    return lambda data: preprocessing(decode_image(data, least_side=preprocessing.least_side).rgb)


def _mosaic(files: Sequence[Path], seed: int, zoom: int = 1) -> bytes:
    """Fill 4000 x 3000 with photos: at their own size sharper than a camera's picture, the hard case."""
    rng, out = np.random.default_rng(seed), Image.new("RGB", (4000, 3000))
    for top in range(0, 3000, 375 * zoom):
        for left in range(0, 4000, 500 * zoom):
            with Image.open(files[rng.integers(len(files))]) as image:
                size = (image.width * zoom, image.height * zoom)
                out.paste(image.convert("RGB").resize(size, Image.Resampling.BICUBIC), (left, top))
    return _jpeg(out)


def _enlarged(path: Path) -> bytes:
    """Enlarge one photo: softer than a camera's picture, the easy case."""
    with Image.open(path) as image:
        return _jpeg(image.convert("RGB").resize((4000, 3000), Image.Resampling.BICUBIC))


def _jpeg(image: Image.Image) -> bytes:
    data = io.BytesIO()
    image.save(data, "JPEG", quality=90)
    return data.getvalue()


def memory(scratch: Path) -> str:
    """Return the peak memory over few and over many small files, and the time of a run with nothing new."""
    rows = []
    for n in SMALL:
        folder = scratch / f"small{n}"
        folder.mkdir()
        pixels = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
        for number in range(n):
            pixels[0, 0] = number % 256, number // 256 % 256, number // 65536
            Image.fromarray(pixels).resize((64, 48)).save(folder / f"{number:06d}.png")
        command = [
            sys.executable, "-m", "cli", "embed", str(folder), "--artifacts", str(scratch / "artifacts"),
            "--weights", WEIGHTS, "--input-size", "32", "--quiet", "--json",
        ]  # fmt: skip
        for what in ("first run", "second run, nothing new"):
            peak = [0.0]
            start = time.perf_counter()
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=os.environ)
            watcher = threading.Thread(target=_watch, args=(process.pid, peak))
            watcher.start()
            if process.wait():
                raise SystemExit("embed failed")
            watcher.join()
            rows.append((f"{n:,}", what, f"{time.perf_counter() - start:.1f}", f"{peak[0]:,.0f}"))
            print(*rows[-1], flush=True)
    return "Memory over the number of images (--input-size 32, so that 20,000 are quick):\n\n" + table(
        ("images", "", "whole s", "peak MB"), rows
    )


if __name__ == "__main__":
    main()
