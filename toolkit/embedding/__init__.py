"""The embedding pass. Everything after it runs on a laptop and never imports an image decoder."""

from pathlib import Path
from typing import Literal

from toolkit.embedding.run import PassOptions, PassReport, run_pass
from toolkit.errors import OptionError
from toolkit.images import ImagePolicy
from toolkit.manifest import read_manifest
from toolkit.progress import Progress, silent
from toolkit.store import StoreDtype

__all__ = ["PassOptions", "PassReport", "embed", "run_pass"]


def embed(
    source: Path | str,
    *,
    artifacts: Path | str = "artifacts",
    name: str,
    root: Path | None = None,
    backbone: str = "resnet50",
    weights: str = "imagenet1k-v1",
    resize: Literal["crop", "squash"] = "crop",
    device: str = "auto",
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto",
    batch_size: int = 16,
    num_workers: int = 0,
    views: int = 0,
    dtype: StoreDtype = "float32",
    truncated: Literal["fail", "keep"] = "fail",
    max_pixels: int = 178_956_970,
    seed: int = 0,
    force: bool = False,
    progress: Progress = silent,
) -> PassReport:
    """Embed every image of `source` (a folder or a csv) into ``artifacts/embeddings/<name>/``.

    A second call embeds only new and changed images and drops vanished ones. The options are those of
    `toolkit.backbones.resnet.ResNet50`, `PassOptions` and `toolkit.images.ImagePolicy`.

    Raises
    ------
    ManifestError, WeightsError, OptionError, SpecMismatchError, StoreError
        See the modules of the same topic.
    """
    from toolkit.backbones import load_backbone  # imports torch: not before the cheap checks

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
    )
    manifest = read_manifest(Path(source), root=root)
    network = load_backbone(backbone, weights=weights, resize=resize, device=device, precision=precision)
    target = Path(artifacts) / "embeddings" / name
    return run_pass(manifest, network, target, options, progress=progress)
