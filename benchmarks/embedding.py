"""The pass beside the usual scripts, in one run: ``make bench``, or with a folder of your own photos.

Every way runs alone in a process of its own, all of them in turn, `--rounds` times; medians are reported.
"""

import argparse
import contextlib
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
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image

from benchmarks.embedding_ways import WAYS
from benchmarks.processes import WEIGHTS
from benchmarks.tables import table, write_section
from toolkit.backbones.fidelity import cosines
from toolkit.backbones.frozen import FrozenBackbone, load_backbone
from toolkit.backbones.options import Decode, NetworkOptions, ResizeMode
from toolkit.backbones.preprocessing import Preprocessing, Recipe
from toolkit.images.decode import decode_image
from toolkit.images.drawn import draw_picture

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
                described(folder),
                _passes(folder, given.rounds),
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


def described(folder: Path) -> str:
    """Say what the table of passes was measured on."""
    files = sorted(folder.iterdir())
    with Image.open(files[0]) as image:
        size = image.size
    weights = "trained" if WEIGHTS != "random:0" else "untrained"
    return (
        f"{len(files):,} JPEGs such as {size[0]} x {size[1]}, {weights} ResNet50, medians, ratios to "
        "the first row. Seconds of the pass itself count for images/s, everything for whole s."
    )


def _passes(folder: Path, rounds: int) -> str:
    for way in WAYS:  # prepares networks and fills the disk cache
        if "toolkit" in way:
            run_way(way, folder)
    found: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
    for _ in range(rounds):
        for way, runs in found.items():
            runs.append(run_way(way, folder))
            print(way, runs[-1], flush=True)
    return passes_table(found)


def passes_table(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Return the table of whole passes, medians of the runs of each; ratios are to the first."""
    rows = []
    first = median_rate(next(iter(found.values())))
    for way, runs in found.items():
        rate = median_rate(runs)
        start, whole, peak = (
            statistics.median(run[key] for run in runs) for key in ("startup", "whole", "peak_mb")
        )
        each = "; ".join(f"{median_rate([run]):,.1f}" for run in runs)
        rows.append(
            (way, runs[0]["precision"], f"{rate:,.1f}", f"{rate / first:.2f}", each, f"{start:.1f}",
             f"{whole:.1f}", f"{peak:,.0f}")
        )  # fmt: skip
    header = ("way", "precision", "images/s", "ratio", "each run", "start-up s", "whole s")
    return table((*header, "peak MB, all its processes"), rows)


def median_rate(runs: Sequence[Mapping[str, Any]]) -> float:
    """Return images a second."""
    return statistics.median(run["images"] / run["seconds"] for run in runs)


def run_way(way: str, folder: Path, device: str = "cpu", *, limit: float | None = None) -> dict[str, Any]:
    """Run one of `benchmarks.embedding_ways` in a process of its own, at most `limit` seconds.

    Raises
    ------
    subprocess.SubprocessError
        It failed, or took longer; then it and all it started are ended.
    """
    start = time.perf_counter()
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.embedding_ways", way, str(folder), device]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    with _watched(process.pid) as peak:
        try:
            out, _ = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            _end(process)
            raise
        whole = time.perf_counter() - start
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    found: dict[str, Any] = json.loads(out.splitlines()[-1])
    return found | {"whole": whole, "peak_mb": peak[0]}


def _end(process: "subprocess.Popen[str]") -> None:
    top = psutil.Process(process.pid)
    for each in [*top.children(recursive=True), top]:
        with contextlib.suppress(psutil.NoSuchProcess):
            each.kill()
    process.wait()


@contextlib.contextmanager
def _watched(pid: int) -> Iterator[list[float]]:
    """Give a list of one number, the most MB a process and its children have held so far."""
    peak, done = [0.0], threading.Event()
    watcher = threading.Thread(target=_watch, args=(pid, peak, done))
    watcher.start()
    try:
        yield peak
    finally:
        done.set()
        watcher.join()


def _watch(pid: int, peak: list[float], done: threading.Event) -> None:
    """Note the most memory the process and its children held: private, and their shares of what is shared."""
    try:
        top = psutil.Process(pid)
        while not done.is_set():
            began, held = time.perf_counter(), 0
            for process in [top, *top.children(recursive=True)]:
                try:
                    held += getattr(process.memory_full_info(), "pss", 0) or process.memory_info().rss
                except psutil.NoSuchProcess:
                    continue
            peak[0] = max(peak[0], held / 2**20)
            # looking at many large processes takes its time, which must not be theirs
            done.wait(max(0.3, 20 * (time.perf_counter() - began)))
    except psutil.NoSuchProcess:
        return


def forward_only(folder: Path) -> str:
    """Return the rate of the engine alone, pictures in memory, as many batches in flight as in the pass."""
    rows = []
    for precision in ("fp32", "auto"):
        backbone = _backbone(precision)
        batch = np.stack([_pixels(path, backbone.preprocessing) for path in sorted(folder.iterdir())[:4]])
        n = 100
        with ThreadPoolExecutor(backbone.in_flight) as pool:
            list(pool.map(backbone.forward, [batch] * 4))
            start = time.perf_counter()
            list(pool.map(backbone.forward, [batch] * n))
            seconds = time.perf_counter() - start
        rows.append((f"{backbone.spec.engine} {backbone.spec.precision}", f"{n * len(batch) / seconds:.1f}"))
    return "The engine alone:\n\n" + table(("engine", "images/s"), rows)


def _backbone(precision: str) -> FrozenBackbone:
    return load_backbone(NetworkOptions(weights=WEIGHTS, resize="crop", device="cpu", precision=precision))


def _pixels(path: Path, preprocessing: Preprocessing) -> np.ndarray:
    return preprocessing(decode_image(path.read_bytes()).rgb)


def decoding(folder: Path) -> str:
    """Return decoding and resizing alone, one thread, and how near the embeddings stay."""
    backbone = _backbone("fp32")
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
        size = f"{np.mean([len(one) for one in data]) / 1e6:.1f} MB"
        ways: dict[str, tuple[Callable[[bytes], np.ndarray], ResizeMode]] = {
            "Pillow, torchvision's transform": (lambda one: _reference(_plainly_decoded(one)), "crop"),
            "--resize crop --decode exact": (_ours(recipe, "crop", "exact"), "crop"),
            "--resize crop --decode scaled": (_ours(recipe, "crop", "scaled"), "crop"),
            "--resize full --decode scaled (default)": (_ours(recipe, "full", "scaled"), "full"),
        }
        # first the time, while nothing large is held: that would spare the allocator its work
        rates = {
            way: len(data) / min(_timed(read, data) for _ in range(3)) for way, (read, _) in ways.items()
        }
        usual = next(iter(rates.values()))
        # the same colours: the usual script leaves embedded profiles aside, which is no matter of decoding
        wanted: dict[ResizeMode, Callable[[bytes], np.ndarray]] = {
            "crop": lambda one: _reference(decode_image(one).rgb),
            "full": _ours(recipe, "full", "exact"),
        }
        reference = {
            resize: _embedded(backbone.forward, [read(one) for one in data])
            for resize, read in wanted.items()
        }
        for way, (read, resize) in ways.items():
            same = cosines(_embedded(backbone.forward, [read(one) for one in data]), reference[resize])
            rows.append(
                (f"{name} ({size})", way, f"{rates[way]:.1f}", f"{rates[way] / usual:.2f}",
                 f"{same.mean():.5f}, {same.min():.5f}")
            )  # fmt: skip
            print(*rows[-1], flush=True)
    return (
        "Decoding and resizing alone, one thread. Cosines are to the same resizing of the fully decoded "
        "picture, for a crop by torchvision's transform, colour profiles honoured (the first way leaves them "
        "aside):\n\n"
        + table(("photos", "way", "images/s", "ratio", "cosine of the embeddings, mean and least"), rows)
    )


def _timed(read: Callable[[bytes], np.ndarray], data: Sequence[bytes]) -> float:
    start = time.perf_counter()
    for one in data:
        read(one)
    return time.perf_counter() - start


def _embedded(forward: Callable[[np.ndarray], np.ndarray], pictures: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate([forward(picture[None].copy()) for picture in pictures])


def _plainly_decoded(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data)).convert("RGB")


def _reference(image: Image.Image) -> np.ndarray:
    width, height = image.size
    size = (256, int(256 * height / width)) if width <= height else (int(256 * width / height), 256)
    image = image.resize(size, Image.Resampling.BILINEAR)
    left, top = (round((length - 224) / 2) for length in size)
    return np.asarray(image.crop((left, top, left + 224, top + 224)))


def _ours(recipe: Recipe, resize: ResizeMode, decode: Decode) -> Callable[[bytes], np.ndarray]:
    preprocessing = Preprocessing.of(recipe, NetworkOptions(resize=resize, decode=decode))
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
            start = time.perf_counter()
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=os.environ)
            with _watched(process.pid) as peak:
                if process.wait():
                    raise SystemExit("embed failed")
                seconds = time.perf_counter() - start
            rows.append((f"{n:,}", what, f"{seconds:.1f}", f"{peak[0]:,.0f}"))
            print(*rows[-1], flush=True)
    return "Memory over the number of images (--input-size 32, so that 20,000 are quick):\n\n" + table(
        ("images", "", "whole s", "peak MB"), rows
    )


if __name__ == "__main__":
    main()
