"""The embedding pass: from a manifest to a store."""

import importlib.metadata
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from toolkit.embedding.forward import Embedded
from toolkit.embedding.options import PassOptions
from toolkit.embedding.read import Known
from toolkit.embedding.runners import Runner
from toolkit.files.locks import StoreLock
from toolkit.files.npy import is_finite_as
from toolkit.images.manifest import Manifest
from toolkit.runtime.progress import Progress, silent
from toolkit.store.folders import earlier, recover
from toolkit.store.reading import EmbeddingStore
from toolkit.store.records import StoreMeta
from toolkit.store.writing import StoreWriter

FLUSH_SECONDS = 0.5  # of work that a kill may lose


@dataclass(frozen=True)
class PassReport:
    """The store that a pass wrote, and numbers of images.

    Attributes
    ----------
    kept, embedded, failed : int
        Images whose row was kept, whose row is new, and which cannot be read.
    dropped : int
        Images of the earlier store that no longer exist.
    renamed : int
        Images of `kept` under another name.
    skipped : tuple of str
        Files of a folder that are not images by their names.
    """

    store: EmbeddingStore
    kept: int
    embedded: int
    dropped: int
    failed: int
    renamed: int = 0
    skipped: tuple[str, ...] = ()


def run_pass(
    manifest: Manifest,
    runner: Runner,
    target: Path,
    options: PassOptions,
    *,
    files: Mapping[str, str] | None = None,
    for_prediction: bool = False,
    progress: Progress = silent,
    lock: StoreLock | None = None,
) -> PassReport:
    """Embed every image of `manifest` that the store `target` does not hold yet.

    Parameters
    ----------
    files : mapping of str, optional
        Label, tag and split files to remember, by role.
    for_prediction : bool
        Whether a new store is one that ``predict`` makes for itself.
    lock : StoreLock, optional
        The lock of `target`, if the caller holds it already.

    Raises
    ------
    SpecMismatchError, StoreError
        `target` was made with other options or of another folder, another pass is writing it, or the disk
        cannot be written.
    """
    with StoreLock(target) if lock is None else lock as held:
        recover(target)
        meta = _meta(manifest, runner, options, earlier(target), dict(files or {}), for_prediction)
        # views depend on the image's name, so with views a renamed image must be embedded again
        known = Known(manifest.entries, by_content=not meta.views)
        ids = [entry.id for entry in manifest.entries]
        writer = StoreWriter(target, meta, ids, keep=known, force=options.force, lock=held)
        todo = writer.todo()
        try:
            _fill(writer, todo, manifest, runner, progress)
            store = writer.finish()
        except BaseException:
            writer.close()
            raise
    before = writer.before.ids if writer.before is not None else ()
    embedded = len(todo) - len(store.failures)
    return PassReport(
        store,
        kept=len(store.rows) - embedded,
        embedded=embedded,
        dropped=len(set(before) - set(ids) - set(known.renamed.values())),
        failed=len(store.failures),
        renamed=len(known.renamed),
        skipped=manifest.skipped,
    )


def _meta(
    manifest: Manifest,
    runner: Runner,
    options: PassOptions,
    existing: Sequence[StoreMeta],
    files: dict[str, str],
    for_prediction: bool,
) -> StoreMeta:
    root = str(manifest.root.resolve())
    past = [meta for meta in existing if meta.may_be_of(root)]
    libraries = ("numpy", "pillow", runner.spec.engine)
    return StoreMeta(
        spec=runner.spec,
        dtype=options.dtype,
        views=runner.options.views,
        seed=runner.options.seed,
        root=root,
        files={role: file for meta in past for role, file in meta.files.items()} | files,
        for_prediction=for_prediction and all(meta.for_prediction for meta in past),
        versions={name: importlib.metadata.version(name) for name in libraries},
        made_with=runner.made_with,
    )


def _fill(
    writer: StoreWriter, todo: Sequence[int], manifest: Manifest, runner: Runner, progress: Progress
) -> None:
    progress("embed", 0, len(todo))
    flushed = time.monotonic()
    for number, embedded in enumerate(runner.embed((slot, manifest.entries[slot]) for slot in todo), start=1):
        reason = embedded.reason or _unfit(embedded, writer.meta)
        if embedded.row is None or reason:
            writer.fail(embedded.slot, reason)
        else:
            writer.write(embedded.slot, embedded.row, embedded.rows)
        if time.monotonic() - flushed > FLUSH_SECONDS:
            writer.flush()
            flushed = time.monotonic()
        progress("embed", number, len(todo), f"{len(writer.failures)} failed" if writer.failures else "")


def _unfit(embedded: Embedded, meta: StoreMeta) -> str:
    """Return the reason why the store cannot hold these rows, or an empty text."""
    if all(is_finite_as(rows, meta.dtype) for rows in embedded.rows):
        return ""
    if all(is_finite_as(rows, "float32") for rows in embedded.rows):
        return f"its features are too large for {meta.dtype}; use --dtype float32"
    if meta.spec.precision == "fp32":
        return "its features are not finite, even in fp32; check the weights"
    return f"its features are not finite ({meta.spec.precision} overflow?); use --precision fp32"
