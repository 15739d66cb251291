"""The pass: manifest in, embedding store out.

Threads read, decode and resize (Pillow releases the GIL); the main thread runs the backbone on batches of one
fixed shape and writes rows. Batches are padded to that shape, so that an image's row does not depend on which
images share its batch: a pass that was killed and resumed is bit-equal to an undisturbed one.
"""

import importlib.metadata
import logging
import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np

from toolkit.backbones import Backbone
from toolkit.embedding.read import ReadImage, read_image, unchanged
from toolkit.errors import OptionError, StoreError
from toolkit.images import ImagePolicy, configure_pillow
from toolkit.manifest import Manifest
from toolkit.progress import Progress, silent
from toolkit.store import EmbeddingStore, Row, StoreDtype, StoreMeta, StoreWriter

logger = logging.getLogger(__name__)

BATCH_SIZE = 16
Read = ReadImage | str


@dataclass(frozen=True, kw_only=True)
class PassOptions:
    """How a pass runs; nothing here but `views`, `seed`, `dtype` and `policy` changes what is stored.

    Attributes
    ----------
    batch_size : int
        Images a forward pass.
    num_workers : int
        Decoding threads; 0 means one a processor core.
    views : int
        Augmented views cached beside the plain embedding.
    files : dict
        Label, tag and split files to remember, by role.
    for_prediction : bool
        Whether the store, if it is new, is one that ``predict`` makes for itself.
    """

    batch_size: int = BATCH_SIZE
    num_workers: int = 0
    views: int = 0
    seed: int = 0
    dtype: StoreDtype = "float32"
    policy: ImagePolicy = field(default_factory=ImagePolicy)
    files: dict[str, str] = field(default_factory=dict)
    for_prediction: bool = False
    force: bool = False

    def __post_init__(self) -> None:
        for name, least in (("batch_size", 1), ("num_workers", 0), ("views", 0)):
            if getattr(self, name) < least:
                flag = name.replace("_", "-")
                raise OptionError(f"--{flag} got {getattr(self, name)}; give {least} or more")


@dataclass(frozen=True)
class PassReport:
    """What a pass did: the store, and numbers of images kept, embedded, dropped (gone) and failed."""

    store: EmbeddingStore
    kept: int
    embedded: int
    dropped: int
    failed: int


def run_pass(
    manifest: Manifest,
    backbone: Backbone,
    target: Path,
    options: PassOptions,
    *,
    progress: Progress = silent,
) -> PassReport:
    """Embed every image of `manifest` that `target` does not hold yet.

    Raises
    ------
    SpecMismatchError, StoreError
        `target` was made another way, or of another folder.
    """
    before = EmbeddingStore(target) if target.exists() else None
    if before is not None and not options.force:
        _check_root(before, manifest.root)
    gone = {row.img_path for row in before.rows} if before is not None else set()
    meta = StoreMeta(
        spec=backbone.spec,
        dtype=options.dtype,
        views=options.views,
        seed=options.seed,
        root=str(manifest.root.resolve()),
        files=(before.meta.files if before is not None else {}) | options.files,
        for_prediction=options.for_prediction and (before is None or before.meta.for_prediction),
        versions={name: importlib.metadata.version(name) for name in ("numpy", "pillow", "torch")},
    )
    by_id = {entry.id: entry for entry in manifest.entries}

    def keep(row: Row) -> Row | None:
        return unchanged(row, by_id[row.img_path])

    writer = StoreWriter.begin(target, meta, list(by_id), keep=keep, force=options.force)
    kept = len(writer.done)
    try:
        _fill(writer, manifest, backbone, options, progress)
    finally:
        writer.close()
    failed = len(writer.failures)
    embedded = len(writer.done) - kept
    store = writer.finish()
    return PassReport(store, kept, embedded, len(gone - by_id.keys()), failed)


def _check_root(before: EmbeddingStore, root: Path) -> None:
    """Refuse to turn one folder's store into another's; a folder that has moved is still the same."""
    held = before.meta.root
    if held and Path(held).exists() and not root.samefile(held):
        raise StoreError(
            f"the store at {before.folder} holds the images of {held}, these are of {root.resolve()}; "
            "give the new one another --name, or --force to replace it"
        )


def _fill(
    writer: StoreWriter, manifest: Manifest, backbone: Backbone, options: PassOptions, progress: Progress
) -> None:
    todo = writer.todo()
    done = 0
    progress("embed", done, len(todo))
    for batch in _batches(_read_all(manifest, backbone, options, todo), options.batch_size):
        good = [(slot, read) for slot, read in batch if isinstance(read, ReadImage)]
        for slot, read in batch:
            if isinstance(read, str):
                writer.fail(slot, read)
        if good:
            views = [
                _forward(backbone, [read.pixels[view] for _, read in good], options.batch_size)
                for view in range(options.views + 1)
            ]
            for place, (slot, read) in enumerate(good):
                writer.write(slot, read.row, [view[place] for view in views])
            writer.flush()
        done += len(batch)
        note = f"{len(writer.failures)} failed" if writer.failures else ""
        progress("embed", done, len(todo), note)


def _forward(backbone: Backbone, pixels: list[np.ndarray], batch_size: int) -> np.ndarray:
    """Run one batch, padded with black images to `batch_size`, and return the real rows."""
    batch = np.zeros((batch_size, *pixels[0].shape), np.uint8)
    np.stack(pixels, out=batch[: len(pixels)])
    return backbone.forward(batch)[: len(pixels)]


def _read_all(
    manifest: Manifest, backbone: Backbone, options: PassOptions, todo: list[int]
) -> Iterator[tuple[int, Read]]:
    """Yield (slot, pixels or reason) in order, read ahead by a bounded number of images."""
    configure_pillow(options.policy)
    workers = options.num_workers or os.cpu_count() or 1
    ahead = 2 * options.batch_size + workers
    queue: deque[tuple[int, Future[Read]]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="decode") as pool:
        try:
            slots = iter(todo)
            while True:
                for slot in islice(slots, ahead - len(queue)):
                    job = pool.submit(
                        read_image,
                        manifest.entries[slot],
                        backbone.preprocess,
                        policy=options.policy,
                        views=options.views,
                        seed=options.seed,
                    )
                    queue.append((slot, job))
                if not queue:
                    return
                slot, job = queue.popleft()
                yield slot, job.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _batches(items: Iterable[tuple[int, Read]], size: int) -> Iterator[list[tuple[int, Read]]]:
    stream = iter(items)
    while batch := list(islice(stream, size)):
        yield batch
