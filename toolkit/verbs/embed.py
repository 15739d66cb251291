"""The embedding pass. Everything after it runs on a laptop and never imports an image decoder."""

import contextlib
import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from toolkit.arrays.types import Pixels
from toolkit.backbones.frozen import load_backbone
from toolkit.backbones.options import INT8
from toolkit.backbones.preprocessing import Preprocessing
from toolkit.backbones.registry import device_for
from toolkit.embedding.run import PassReport, run_pass
from toolkit.embedding.runners import ManyDevices, OneDevice, Runner
from toolkit.errors import ImageError, OptionError
from toolkit.files.locks import StoreLock
from toolkit.images.decode import configure_pillow
from toolkit.images.isolated import IsolatedDecoder
from toolkit.images.manifest import Manifest, read_manifest
from toolkit.images.reading import read_picture
from toolkit.labels.find import find_label_file
from toolkit.runtime.devices import resolve_devices
from toolkit.runtime.options import PathLike, takes
from toolkit.store.folders import earlier, recover
from toolkit.verbs.options import EmbedOptions

NAME_BYTES = 240  # most file systems allow 255, and the folders beside a store have longer names
CALIBRATION = 200  # images an int8 graph is calibrated with


@takes(EmbedOptions)
def embed(options: EmbedOptions) -> PassReport:
    """Embed every image of a folder or csv into the store ``artifacts/embeddings/<name>/``.

    A second call embeds only new and changed images, keeps renamed ones and drops those that are gone. An
    interrupted call is resumed by the same call. The store remembers `labels`, `tags` and `split` for `fit`
    and `compare`. `weights` are by default those ``TOOLKIT_WEIGHTS`` names, else the backbone's usual ones.

    Returns
    -------
    PassReport
        The store, and how many images were kept, embedded, dropped or failed.

    Raises
    ------
    ManifestError
        `source` cannot be listed.
    OptionError, WeightsError
        An option, or a file it names, does not exist or does not fit.
    SpecMismatchError
        The store was made with other options.
    StoreError
        Another call is writing the store, or the disk refuses.

    Examples
    --------
    Skipped in tests, because weights must be fetched first.

    >>> report = toolkit.embed("train/", labels="train.csv")  # doctest: +SKIP
    >>> report.embedded, report.failed  # doctest: +SKIP
    (35000, 0)
    >>> report.store.embeddings().shape  # doctest: +SKIP
    (35000, 2048)
    """
    return embed_images(options)


def embed_images(options: EmbedOptions, *, for_prediction: bool = False) -> PassReport:
    """Embed as `embed` does; `for_prediction` marks a new store as one that ``predict`` makes for itself."""
    if options.isolate and options.decode == "device":
        raise OptionError(
            "--isolate cannot be used with --decode device, which decodes in this process; "
            "give --decode scaled, or leave --isolate out"
        )
    source, artifacts = Path(options.source), Path(options.artifacts)
    target = artifacts / "embeddings" / _checked_name(options.name, source)
    files = _remembered(source, {"labels": options.labels, "tags": options.tags, "split": options.split})
    root = None if options.root is None else Path(options.root)
    manifest = read_manifest(source, root=root, image_column=options.image_column)
    devices = resolve_devices(device_for(options.device, options.engine, options.precision))
    with StoreLock(target) as lock:  # before a network is loaded, which takes a while
        recover(target)
        weights = options.weights or os.environ.get("TOOLKIT_WEIGHTS") or None
        options = replace(options, weights=weights, precision=_same_int8(options, target))
        with contextlib.closing(_runner(options, devices, artifacts / "graphs", manifest)) as runner:
            return run_pass(
                manifest,
                runner,
                target,
                options,
                files=files,
                for_prediction=for_prediction,
                progress=options.progress,
                lock=lock,
            )


def _runner(options: EmbedOptions, devices: tuple[str, ...], graphs: Path, manifest: Manifest) -> Runner:
    if len(devices) > 1 and options.precision != "int8":
        return ManyDevices(devices, options, options, graphs=graphs, progress=options.progress)
    backbone = load_backbone(
        replace(options, device=devices[0]),
        graphs=graphs,
        calibration=_pictures(manifest, options),
        progress=options.progress,
    )
    if len(devices) == 1:
        return OneDevice(backbone, options)
    # calibrated here, once, for all of them
    return _runner(replace(options, precision=backbone.spec.precision), devices, graphs, manifest)


def store_name(source: Path) -> str:
    """Return the name a store gets from its source: the folder's, or the file's without its suffix."""
    source = source.resolve()  # "." and ".." are not names
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


def _same_int8(options: EmbedOptions, target: Path) -> str:
    """Return the precision; under int8 the graph of the rows that exist, for a new one would differ."""
    if options.precision == "int8" and not options.force:
        for meta in earlier(target)[:1]:
            if meta.spec.precision.startswith(INT8):
                return meta.spec.precision
    return options.precision


def _pictures(manifest: Manifest, options: EmbedOptions) -> Callable[[Preprocessing], list[Pixels]]:
    """Return a function that reads a sample of the images, evenly spaced, without those it cannot read."""

    def read(preprocessing: Preprocessing) -> list[Pixels]:
        configure_pillow(options)
        step = max(len(manifest.entries) // CALIBRATION, 1)
        pictures = []
        with contextlib.closing(IsolatedDecoder(options)) as decoder:  # starts no process unless it is used
            open_one = decoder.read if options.isolate else partial(read_picture, policy=options)
            for entry in manifest.entries[::step][:CALIBRATION]:
                try:
                    _, picture = open_one(entry.path, name=entry.id, least_side=preprocessing.least_side)
                except ImageError:
                    continue  # the pass itself records the reason in failed.csv
                pictures.append(preprocessing(picture.rgb))
        return pictures

    return read


def _remembered(source: Path, files: dict[str, PathLike | None]) -> dict[str, str]:
    """Return absolute paths of the files named; a csv of images that has tags is its own label file."""
    paths = {}
    for role, path in files.items():
        if path is None:
            continue
        if not Path(path).exists():
            raise OptionError(f"--{role} got {path}, which does not exist; check the path")
        paths[role] = str(Path(path).resolve())
    is_own = source.is_file() and find_label_file(source, name=source.stem) == source.absolute()
    return ({"labels": str(source.resolve())} if is_own else {}) | paths
