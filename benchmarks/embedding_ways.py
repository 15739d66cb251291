"""One way to embed a folder, run alone in a process: ``python -m benchmarks.embedding_ways WAY FOLDER``.

Prints one json document: images, seconds until the first batch could start, and seconds of the pass itself.
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

START = time.perf_counter()
WEIGHTS = os.environ.get("TOOLKIT_WEIGHTS", "random:0")


def _usual(folder: Path, *, timm_style: bool) -> dict[str, float]:
    """Do as the script everybody writes: two DataLoader workers, fp32, rows appended, np.save at the end."""
    import numpy as np
    import torch
    from PIL import Image
    from torch.utils.data import DataLoader, Dataset

    model, transform = _timm_model() if timm_style else _torchvision_model()

    class Images(Dataset):  # type: ignore[type-arg]
        def __init__(self) -> None:
            self.paths = sorted(folder.iterdir())

        def __len__(self) -> int:
            return len(self.paths)

        def __getitem__(self, index: int) -> Any:
            return transform(Image.open(self.paths[index]).convert("RGB"))

    loader = DataLoader(Images(), batch_size=16 if timm_style else 32, num_workers=2)
    ready = time.perf_counter()
    rows = []
    with torch.inference_mode():
        for batch in loader:
            rows.append(model(batch).numpy())
    with tempfile.TemporaryDirectory() as out:
        np.save(Path(out) / "features.npy", np.concatenate(rows))
    return _told(sum(map(len, rows)), ready)


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


def _toolkit(folder: Path, **options: Any) -> dict[str, float]:
    from toolkit.embedding import embed

    ready: list[float] = []

    def progress(stage: str, done: int, total: int | None, note: str = "") -> None:
        if stage == "embed" and not ready:
            ready.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as out:
        # the usual script crops, so does this: the same pixels go through the network
        shape = {"resize": "crop"} | options
        report = embed(folder, artifacts=out, name="bench", weights=WEIGHTS, progress=progress, **shape)
        return _told(report.embedded, ready[0])


def _told(images: int, ready: float) -> dict[str, float]:
    return {"images": images, "startup": ready - START, "seconds": time.perf_counter() - ready}


WAYS: dict[str, Callable[[Path], dict[str, float]]] = {
    "DataLoader script, torch fp32": lambda folder: _usual(folder, timm_style=False),
    "timm script, torch fp32": lambda folder: _usual(folder, timm_style=True),
    "toolkit --engine torch --precision fp32": lambda f: _toolkit(f, engine="torch", precision="fp32"),
    "toolkit --engine torch --precision bf16": lambda f: _toolkit(f, engine="torch", precision="bf16"),
    "toolkit --precision fp32": lambda folder: _toolkit(folder, precision="fp32"),
    "toolkit (auto)": _toolkit,
    "toolkit --resize full (auto, the default)": lambda folder: _toolkit(folder, resize="full"),
    "toolkit --precision int8": lambda folder: _toolkit(folder, precision="int8"),
    "toolkit --device cuda": lambda folder: _toolkit(folder, device="cuda"),
    "toolkit --device cuda --decode device": lambda f: _toolkit(f, device="cuda", decode="device"),
    # Python's lock bounds what one process reads: four share the GPU
    "toolkit --device cuda:0,cuda:0,cuda:0,cuda:0": lambda f: _toolkit(f, device=",".join(["cuda:0"] * 4)),
    "toolkit --device all": lambda folder: _toolkit(folder, device="all"),
}

if __name__ == "__main__":
    print(json.dumps(WAYS[sys.argv[1]](Path(sys.argv[2]))))
