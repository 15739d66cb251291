"""The pass: manifest in, embedding store out."""

import importlib.metadata
import logging
import time
from dataclasses import dataclass, field
from pathlib import Path

from toolkit.embedding.forward import Embedded
from toolkit.embedding.read import Known
from toolkit.embedding.runners import Runner
from toolkit.errors import StoreError
from toolkit.manifest import Manifest
from toolkit.progress import Progress, silent
from toolkit.store import (
    EmbeddingStore,
    StoreDtype,
    StoreLock,
    StoreMeta,
    StoreWriter,
    earlier,
    interrupted,
    recover,
)
from toolkit.storearrays import fits

logger = logging.getLogger(__name__)

FLUSH_SECONDS = 0.5  # what a kill may lose


@dataclass(frozen=True, kw_only=True)
class PassOptions:
    """What becomes of a pass.

    Attributes
    ----------
    dtype : {"float32", "float16"}
        Of the store.
    files : dict
        Label, tag and split files to remember, by role.
    for_prediction : bool
        Whether the store, if it is new, is one that ``predict`` makes for itself.
    force : bool
        Make the store anew.
    """

    dtype: StoreDtype = "float32"
    files: dict[str, str] = field(default_factory=dict)
    for_prediction: bool = False
    force: bool = False


@dataclass(frozen=True)
class PassReport:
    """What a pass did: the store, and numbers of images.

    `kept` counts rows taken over, `renamed` those of them whose image has another name now, `dropped` images
    that have gone.
    """

    store: EmbeddingStore
    kept: int
    embedded: int
    dropped: int
    failed: int
    renamed: int = 0


def run_pass(
    manifest: Manifest,
    runner: Runner,
    target: Path,
    options: PassOptions,
    *,
    progress: Progress = silent,
    lock: StoreLock | None = None,
) -> PassReport:
    """Embed every image of `manifest` that `target` does not hold yet.

    No other pass can write `target` meanwhile; `lock` is its lock where the caller holds it already.

    Raises
    ------
    SpecMismatchError, StoreError
        `target` was made another way, or of another folder; another pass is writing it; the disk refuses.
    """
    with StoreLock(target) if lock is None else lock as held:
        return _run(manifest, runner, target, options, progress, held)


def _run(
    manifest: Manifest,
    runner: Runner,
    target: Path,
    options: PassOptions,
    progress: Progress,
    lock: StoreLock,
) -> PassReport:
    recover(target)
    before = _opened(target, force=options.force)
    root = str(manifest.root.resolve())
    past = [meta for meta in earlier(target) if meta.may_be_of(root)]
    libraries = ("numpy", "pillow", runner.spec.engine)
    meta = StoreMeta(
        spec=runner.spec,
        dtype=options.dtype,
        views=runner.options.views,
        seed=runner.options.seed,
        root=root,
        files={role: file for meta in past for role, file in meta.files.items()} | options.files,
        for_prediction=options.for_prediction and all(meta.for_prediction for meta in past),
        versions={name: importlib.metadata.version(name) for name in libraries},
        made_with=runner.made_with,
    )
    # a view is drawn by its image's name, so with views a renamed image is another one
    known = Known(manifest.entries, by_content=not meta.views)
    if before is not None and not options.force and not interrupted(target):
        report = _nothing_new(before, manifest, meta, known)
        if report is not None:
            return report
    ids = [entry.id for entry in manifest.entries]
    writer = StoreWriter.begin(target, meta, ids, keep=known, force=options.force, lock=lock)
    kept = len(writer.done)
    try:
        _fill(writer, manifest, runner, progress)
        store = writer.finish()
    except BaseException:
        writer.close()
        raise
    gone = {row.img_path for row in before.rows} - set(ids) if before is not None else set()
    return PassReport(
        store,
        kept,
        embedded=len(store.rows) - kept,
        dropped=len(gone - set(known.renamed.values())),
        failed=len(store.failures),
        renamed=len(known.renamed),
    )


def _opened(target: Path, *, force: bool) -> EmbeddingStore | None:
    """Open the finished store; one that is to be replaced need not be whole."""
    if not target.exists():
        return None
    try:
        return EmbeddingStore(target)
    except StoreError:
        if force:
            return None
        raise


def _nothing_new(
    before: EmbeddingStore, manifest: Manifest, meta: StoreMeta, known: Known
) -> PassReport | None:
    """Report a store whose images are all as they were, without copying a row; None if some are not."""
    if before.ids != tuple(entry.id for entry in manifest.entries):
        return None
    by_id = {row.img_path: row for row in before.rows}
    rows = []
    for image in before.ids:
        found = known(image, by_id)
        if found is None:
            return None
        rows.append(found[1])
    return PassReport(before.refresh(rows, meta.joined([before.meta], added=False)), len(rows), 0, 0, 0)


def _fill(writer: StoreWriter, manifest: Manifest, runner: Runner, progress: Progress) -> None:
    todo = writer.todo()
    progress("embed", 0, len(todo))
    flushed = time.monotonic()
    for done, embedded in enumerate(runner.embed((slot, manifest.entries[slot]) for slot in todo), start=1):
        reason = embedded.reason or _unfit(embedded, writer.meta)
        if embedded.row is None or reason:
            writer.fail(embedded.slot, reason)
        else:
            writer.write(embedded.slot, embedded.row, embedded.rows)
        if time.monotonic() - flushed > FLUSH_SECONDS:
            writer.flush()
            flushed = time.monotonic()
        note = f"{len(writer.failures)} failed" if writer.failures else ""
        progress("embed", done, len(todo), note)


def _unfit(embedded: Embedded, meta: StoreMeta) -> str:
    """Return why the store cannot hold these rows, or nothing."""
    if all(fits(rows, meta.dtype) for rows in embedded.rows):
        return ""
    if all(fits(rows, "float32") for rows in embedded.rows):
        return f"its features are too large for {meta.dtype}; use --dtype float32"
    if meta.spec.precision == "fp32":
        return "its features are not finite, even in fp32; check the weights"
    return f"its features are not finite ({meta.spec.precision} overflow?); use --precision fp32"
