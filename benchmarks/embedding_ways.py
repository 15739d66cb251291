"""One way to embed a folder, run alone: ``python -m benchmarks.embedding_ways WAY FOLDER DEVICE``.

Prints one json document: images, seconds until the first batch could start, seconds of the pass itself, and
the precision of the network. `WAYS` run on the processor, `gpu_ways` and `alone_ways` on DEVICE.
"""

import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.processes import CORES, WEIGHTS
from toolkit.runtime.devices import cuda_count

START = time.perf_counter()
ENOUGH = 30.0  # seconds of a script that may be slow
SHARING = [n for n in (2, 4, 8) if n <= CORES]  # processes on one GPU: Python's lock bounds what one reads

Way = Callable[[Path], dict[str, Any]]


class _Images:
    """Data set of every script: the folder's files, decoded and transformed one by one."""

    def __init__(self, folder: Path, transform: Callable[[Any], Any]) -> None:
        self.paths = sorted(folder.iterdir())
        self.transform = transform

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Any:
        from PIL import Image

        return self.transform(Image.open(self.paths[index]).convert("RGB"))


def _usual(folder: Path, *, timm_style: bool) -> dict[str, Any]:
    """Do as the script everybody writes: two DataLoader workers, fp32, rows appended, np.save at the end."""
    import torch
    from torch.utils.data import DataLoader

    model, transform = _timm_model() if timm_style else _torchvision_model()
    batch_size = 16 if timm_style else 32
    loader = DataLoader(_Images(folder, transform), batch_size=batch_size, num_workers=2)
    ready = time.perf_counter()
    rows = []
    with torch.inference_mode():
        for batch in loader:
            rows.append(model(batch).numpy())
    return _saved(rows, ready, "fp32")


def _usual_on_gpu(folder: Path, device: str, *, careful: bool) -> dict[str, Any]:
    """Do as the script everybody writes for a GPU: a worker a core, pinned batches of 256, copied ahead.

    The careful one computes in bf16 and channels_last too. torch's own settings are left as they are, so
    fp32 convolutions run in TF32. After `ENOUGH` seconds the rate is known.
    """
    import torch
    from torch.utils.data import DataLoader

    gpu = device.startswith("cuda")
    model, transform = _torchvision_model()
    layout = torch.channels_last if careful else torch.contiguous_format
    model = model.to(device, memory_format=layout)
    images = _Images(folder, transform)
    loader = DataLoader(images, batch_size=256, num_workers=CORES, pin_memory=gpu)
    autocast = torch.autocast(torch.device(device).type, dtype=torch.bfloat16)
    rows = []
    with torch.inference_mode(), autocast if careful else contextlib.nullcontext():
        model(torch.zeros(2, 3, 224, 224, device=device))  # loading cuDNN is not part of a pass
        ready = time.perf_counter()
        for batch in loader:
            there = batch.to(device, memory_format=layout, non_blocking=True)
            rows.append(model(there).float().cpu().numpy())
            if time.perf_counter() - ready > ENOUGH:
                break
    usual = "fp32, TF32 in cuDNN" if gpu else "fp32"
    return _saved(rows, ready, "bf16" if careful else usual)


def _saved(rows: list[Any], ready: float, precision: str) -> dict[str, Any]:
    import numpy as np

    with tempfile.TemporaryDirectory() as out:
        np.save(Path(out) / "features.npy", np.concatenate(rows))
    return _measurement(sum(map(len, rows)), ready, precision)


def _torchvision_model() -> tuple[Any, Any]:
    import torch
    from torchvision.models import ResNet50_Weights

    from toolkit.backbones.torchvision_models import build

    model = build("resnet50", WEIGHTS).module
    return torch.nn.Module.eval(model), ResNet50_Weights.IMAGENET1K_V1.transforms()


def _timm_model() -> tuple[Any, Any]:
    import timm
    from timm.data import create_transform, resolve_model_data_config

    model = timm.create_model("resnet50", pretrained=False, num_classes=0).eval()
    return model, create_transform(**resolve_model_data_config(model), is_training=False)


def _toolkit(folder: Path, **options: Any) -> dict[str, Any]:
    from toolkit.verbs.embed import embed

    ready: list[float] = []

    def progress(stage: str, done: int, total: int | None, note: str = "") -> None:
        if stage == "embed" and not ready:
            ready.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as out:
        # cropped as by the usual script: the same pixels go through the network
        usual = {"resize": "crop", "device": "cpu"} | options
        report = embed(folder, artifacts=out, name="bench", weights=WEIGHTS, progress=progress, **usual)
        return _measurement(report.embedded, ready[0], report.store.meta.spec.precision)


def _measurement(images: int, ready: float, precision: str) -> dict[str, Any]:
    seconds = time.perf_counter() - ready
    return {"images": images, "startup": ready - START, "seconds": seconds, "precision": precision}


WAYS: dict[str, Way] = {
    "DataLoader script, torch fp32": lambda folder: _usual(folder, timm_style=False),
    "timm script, torch fp32": lambda folder: _usual(folder, timm_style=True),
    "toolkit --engine torch --precision fp32": lambda f: _toolkit(f, engine="torch", precision="fp32"),
    "toolkit --engine torch --precision bf16": lambda f: _toolkit(f, engine="torch", precision="bf16"),
    "toolkit --precision fp32": lambda folder: _toolkit(folder, precision="fp32"),
    "toolkit (auto)": _toolkit,
    "toolkit --resize full (auto, the default)": lambda folder: _toolkit(folder, resize="full"),
    "toolkit --precision int8": lambda folder: _toolkit(folder, precision="int8"),
}


def gpu_ways(device: str) -> dict[str, Way]:
    """Return whole passes on `device`, the best usual script first; ``x 4`` is four processes on one GPU."""

    def toolkit(processes: int, **options: Any) -> Way:
        return lambda folder: _toolkit(folder, device=",".join([device] * processes), **options)

    four = min(4, CORES)
    ways = {
        "DataLoader script, bf16, channels_last": lambda f: _usual_on_gpu(f, device, careful=True),
        f"toolkit --device {device}": toolkit(1),
        **{f"toolkit --device {device} x {n}": toolkit(n) for n in SHARING},
        f"toolkit --device {device} --decode device": toolkit(1, decode="device"),
        f"toolkit --device {device} x {four} --decode device": toolkit(four, decode="device"),
        "DataLoader script, fp32": lambda f: _usual_on_gpu(f, device, careful=False),
    }
    if device == "cuda" and cuda_count() > 1:
        ways["toolkit --device all"] = lambda f: _toolkit(f, device="all")
    return ways


def alone_ways(device: str) -> dict[str, Way]:
    """Return the bounds of a pass on `device`, each alone."""

    def network(folder: Path) -> dict[str, Any]:
        from benchmarks import embedding_alone

        return embedding_alone.network(folder, device)

    def read(processes: int, decode: str) -> tuple[str, Way]:
        def reading(folder: Path) -> dict[str, Any]:
            from benchmarks import embedding_alone

            return embedding_alone.reading(folder, device, decode=decode, processes=processes)

        return f"reading, --decode {decode}, {_processes(processes)}", reading

    return {
        "the network, copies included": network,
        **dict(read(n, "scaled") for n in (1, *SHARING)),
        **dict(read(n, "device") for n in (1, min(4, CORES))),
    }


def _processes(n: int) -> str:
    return "1 process" if n == 1 else f"{n} processes"


if __name__ == "__main__":
    way, images, place = sys.argv[1:]
    ways = WAYS if way in WAYS else gpu_ways(place) | alone_ways(place)
    print(json.dumps(ways[way](Path(images))))
