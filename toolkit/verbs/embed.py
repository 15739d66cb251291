"""The embedding pass. Everything after it runs on a laptop and never imports an image decoder."""

import contextlib
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

from toolkit.backbones.base import Pixels
from toolkit.backbones.engines.choice import EngineName, device_for
from toolkit.backbones.frozen import load_backbone
from toolkit.backbones.int8 import INT8
from toolkit.backbones.preprocessing import Decode, Preprocessing, ResizeMode
from toolkit.embedding.read import ReadOptions
from toolkit.embedding.run import PassOptions, PassReport, run_pass
from toolkit.embedding.runners import ManyDevices, OneDevice, Runner
from toolkit.errors import ImageError, OptionError
from toolkit.files.locks import StoreLock
from toolkit.images.decode import check_header, decode_image
from toolkit.images.manifest import Manifest, read_manifest
from toolkit.images.options import ImagePolicy
from toolkit.labels.find import find_label_file
from toolkit.runtime.devices import resolve_devices
from toolkit.runtime.progress import Progress, silent
from toolkit.store.folders import described
from toolkit.store.spec import StoreDtype
from toolkit.verbs.verify import Verification, verify

__all__ = [
    "PassOptions",
    "PassReport",
    "ReadOptions",
    "Verification",
    "embed",
    "run_pass",
    "store_name",
    "verify",
]

NAME_BYTES = 240  # most file systems allow 255, and a pass works in folders of a longer name
CALIBRATION = 200  # images an int8 graph takes its ranges from


def embed(
    source: Path | str,
    *,
    artifacts: Path | str = "artifacts",
    name: str | None = None,
    root: Path | None = None,
    backbone: str = "resnet50",
    weights: str | None = None,
    resize: ResizeMode | None = None,
    input_size: int | None = None,
    decode: Decode = "scaled",
    flip: bool = False,
    device: str = "auto",
    engine: EngineName = "auto",
    precision: str = "auto",
    batch_size: int | None = None,
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

    A second call embeds only new and changed images, keeps renamed ones and drops vanished ones. The options
    are those of `toolkit.backbones.frozen.load_backbone`, `ReadOptions`, `PassOptions` and
    `ImagePolicy`; `device` may name several, ``cuda:0,cuda:1`` or ``all``. `name` is by
    default that of the folder or csv, `weights` what ``TOOLKIT_WEIGHTS`` says or else the backbone's usual
    ones. The store remembers `labels`, `tags` and `split` for ``fit`` and ``compare``.

    Raises
    ------
    ManifestError, WeightsError, OptionError, SpecMismatchError, StoreError
        See the modules of the same topic.
    """
    source = Path(source)
    name = _checked_name(name, source)
    policy = ImagePolicy(max_pixels=max_pixels, truncated=truncated)
    reading = ReadOptions(
        batch_size=batch_size, num_workers=num_workers, views=views, seed=seed, policy=policy
    )
    options = PassOptions(
        dtype=dtype,
        force=force,
        for_prediction=for_prediction,
        files=_remembered(source, labels=labels, tags=tags, split=split),
    )
    manifest = read_manifest(source, root=root)
    target = Path(artifacts) / "embeddings" / name
    devices = resolve_devices(device_for(device, engine, precision))
    with StoreLock(target) as lock:  # before a network is loaded, which takes a while
        network = {
            "name": backbone,
            "weights": weights or os.environ.get("TOOLKIT_WEIGHTS") or None,
            "resize": resize,
            "input_size": input_size,
            "decode": decode,
            "flip": flip,
            "engine": engine,
            "precision": _same_int8(precision, target, force=force),
            "graphs": Path(artifacts) / "graphs",
        }
        runner = _runner(devices, network, reading, _pictures(manifest, policy), progress)
        with contextlib.closing(runner):
            return run_pass(manifest, runner, target, options, progress=progress, lock=lock)


def _runner(
    devices: tuple[str, ...],
    network: dict[str, Any],
    reading: ReadOptions,
    calibration: Callable[[Preprocessing], list[Pixels]],
    progress: Progress,
) -> Runner:
    first = partial(load_backbone, device=devices[0], calibration=calibration, progress=progress)
    if len(devices) == 1:
        return OneDevice(first(**network), reading)
    if network["precision"] == "int8":  # calibrated here, once, for all of them
        network |= {"precision": first(**network).spec.precision}
    return ManyDevices(devices, network, reading)


def store_name(source: Path) -> str:
    """Return the name a store gets from its source: the folder's, or the file's without its suffix."""
    source = source.resolve()  # "." and ".." have no name of their own
    return (source.name if source.is_dir() else source.stem) or "root"


def _checked_name(name: str | None, source: Path) -> str:
    usual = store_name(source)
    name = usual if name is None else name
    wrong = "/" in name or name.startswith(".") or not name
    if name == usual and (wrong or len(os.fsencode(name)) > NAME_BYTES):
        raise OptionError(f"the name of {source} cannot name a store; give --name, such as --name train")
    if wrong:
        raise OptionError(f"--name got {name!r}; give a plain folder name such as train")
    if len(os.fsencode(name)) > NAME_BYTES:
        raise OptionError(
            f"--name got {name[:20]!r}…, {len(os.fsencode(name))} bytes long; give {NAME_BYTES} or fewer"
        )
    return name


def _same_int8(precision: str, target: Path, *, force: bool) -> str:
    """Let a pass that goes on use the int8 graph it was begun with; a new one calibrates its own."""
    meta = None if force or precision != "int8" else described(target)
    return meta.spec.precision if meta is not None and meta.spec.precision.startswith(INT8) else precision


def _pictures(manifest: Manifest, policy: ImagePolicy) -> Callable[[Preprocessing], list[Pixels]]:
    """Return what reads a sample of the images, evenly spaced; those that cannot be read are left out."""

    def read(preprocessing: Preprocessing) -> list[Pixels]:
        step = max(len(manifest.entries) // CALIBRATION, 1)
        pictures = []
        for entry in manifest.entries[::step][:CALIBRATION]:
            try:
                with entry.path.open("rb") as file:
                    check_header(file, policy, name=entry.id)
                    file.seek(0)
                    data = file.read()
                picture = decode_image(data, policy, name=entry.id, least_side=preprocessing.least_side)
            except (ImageError, OSError):
                continue  # the pass itself will say so, in failed.csv
            pictures.append(preprocessing(picture.rgb))
        return pictures

    return read


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
