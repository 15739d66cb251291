"""The embedding pass. Everything after it runs on a laptop and never imports an image decoder."""

import os
from pathlib import Path
from typing import Literal

from toolkit.embedding.run import PassOptions, PassReport, run_pass
from toolkit.errors import OptionError
from toolkit.images import ImagePolicy
from toolkit.labels import find_label_file
from toolkit.manifest import read_manifest
from toolkit.progress import Progress, silent
from toolkit.store import StoreDtype

__all__ = ["PassOptions", "PassReport", "embed", "run_pass", "store_name"]


def embed(
    source: Path | str,
    *,
    artifacts: Path | str = "artifacts",
    name: str | None = None,
    root: Path | None = None,
    backbone: str = "resnet50",
    weights: str | None = None,
    resize: Literal["crop", "squash"] = "crop",
    input_size: int | None = None,
    flip: bool = False,
    device: str = "auto",
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto",
    batch_size: int = 16,
    num_workers: int = 0,
    views: int = 0,
    dtype: StoreDtype = "float32",
    truncated: Literal["fail", "keep"] = "fail",
    max_pixels: int = 178_956_970,
    seed: int = 0,
    labels: Path | str | None = None,
    tags: Path | str | None = None,
    split: Path | str | None = None,
    for_prediction: bool = False,
    force: bool = False,
    progress: Progress = silent,
) -> PassReport:
    """Embed every image of `source` (a folder or a csv) into ``artifacts/embeddings/<name>/``.

    A second call embeds only new and changed images and drops vanished ones. The options are those of
    `toolkit.backbones.resnet.ResNet50`, `PassOptions` and `toolkit.images.ImagePolicy`. `name` is by default
    that of the folder or csv, `weights` what ``TOOLKIT_WEIGHTS`` says or else ``imagenet1k-v1``. The store
    remembers `labels`, `tags` and `split` for ``fit`` and ``compare``.

    Raises
    ------
    ManifestError, WeightsError, OptionError, SpecMismatchError, StoreError
        See the modules of the same topic.
    """
    from toolkit.backbones import load_backbone
    from toolkit.backbones.weights import DEFAULT_WEIGHTS  # imports torch: not before it is needed

    source = Path(source)
    name = store_name(source) if name is None else name
    if "/" in name or name.startswith(".") or not name:
        raise OptionError(f"--name got {name!r}; give a plain folder name such as train")
    options = PassOptions(
        batch_size=batch_size,
        num_workers=num_workers,
        views=views,
        seed=seed,
        dtype=dtype,
        policy=ImagePolicy(max_pixels=max_pixels, truncated=truncated),
        force=force,
        for_prediction=for_prediction,
        files=_remembered(source, labels=labels, tags=tags, split=split),
    )
    manifest = read_manifest(source, root=root)
    weights = weights or os.environ.get("TOOLKIT_WEIGHTS") or DEFAULT_WEIGHTS
    network = load_backbone(
        backbone,
        weights=weights,
        resize=resize,
        input_size=input_size,
        flip=flip,
        device=device,
        precision=precision,
    )
    target = Path(artifacts) / "embeddings" / name
    return run_pass(manifest, network, target, options, progress=progress)


def store_name(source: Path) -> str:
    """Return the name a store gets from its source: the folder's or the csv's."""
    # "." and ".." have no name of their own
    return source.resolve().stem or "root"


def _remembered(source: Path, **files: Path | str | None) -> dict[str, str]:
    """Return the absolute paths of the files given; a csv of images that has tags is its own label file."""
    out = {}
    for role, path in files.items():
        if path is None:
            continue
        if not Path(path).exists():
            raise OptionError(f"--{role} got {path}, which does not exist; check the path")
        out[role] = str(Path(path).resolve())
    if (
        "labels" not in out
        and source.is_file()
        and find_label_file(source, name=source.stem) == source.absolute()
    ):
        out["labels"] = str(source.resolve())
    return out
