"""The pass: manifest in, embedding store out."""

import importlib.metadata
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from toolkit.embedding.forward import Embedded
from toolkit.embedding.read import Known
from toolkit.embedding.runners import Runner
from toolkit.errors import StoreError
from toolkit.files.locks import StoreLock
from toolkit.files.npy import is_finite_as
from toolkit.images.manifest import Manifest
from toolkit.runtime.progress import Progress, silent
from toolkit.store.folders import earlier, interrupted, recover
from toolkit.store.reading import EmbeddingStore
from toolkit.store.records import Failure, Row, StoreMeta
from toolkit.store.spec import StoreDtype
from toolkit.store.writing import Keep, StoreWriter

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
    that have gone, `skipped` the files of a folder that are no images by their names.
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
    keep: Keep = known
    ids = [entry.id for entry in manifest.entries]
    todo, rows = None, None
    if before is not None and not options.force and not interrupted(target):
        before.meta.require_same(meta, f"the store at {target}")
        by_id = {row.img_path: row for row in before.rows}
        found = {image: known(image, by_id) for image in ids}
        keep = partial(_looked_up, found)
        rows = _in_place(before, found)
        todo = [slot for slot, image in enumerate(ids) if found[image] is None]
    filling = _Filling(
        partial(StoreWriter.begin, target, meta, ids, keep=keep, force=options.force, lock=lock)
    )
    if todo is None or rows is None:
        todo = filling.writer().todo()
    try:
        _fill(filling, todo, manifest, runner, meta, progress)
        if before is None or rows is None or filling.begun is not None:
            store = filling.finish()
        else:
            failures = [Failure(ids[slot], reason) for slot, reason in sorted(filling.failures.items())]
            store = before.refresh(rows, meta.joined([before.meta], added=False), failures)
    except BaseException:
        filling.close()
        raise
    gone = {row.img_path for row in before.rows} - set(ids) if before is not None else set()
    embedded = len(todo) - len(filling.failures)
    return PassReport(
        store,
        kept=len(store.rows) - embedded,
        embedded=embedded,
        dropped=len(gone - set(known.renamed.values())),
        failed=len(store.failures),
        renamed=len(known.renamed),
        skipped=manifest.skipped,
    )


class _Filling:
    """Rows on their way into a store, which is begun when the first one comes: failures change no row."""

    def __init__(self, begin: Callable[[], StoreWriter]) -> None:
        self._begin = begin
        self.begun: StoreWriter | None = None
        self.failures: dict[int, str] = {}

    def writer(self) -> StoreWriter:
        """Return the writer, begun by now."""
        if self.begun is None:
            self.begun = self._begin()
        return self.begun

    def flush(self) -> None:
        if self.begun is not None:
            self.begun.flush()

    def finish(self) -> EmbeddingStore:
        for slot, reason in self.failures.items():
            self.writer().fail(slot, reason)
        return self.writer().finish()

    def close(self) -> None:
        if self.begun is not None:
            self.begun.close()


def _looked_up(
    found: Mapping[str, tuple[str, Row] | None], image: str, _: Mapping[str, Row]
) -> tuple[str, Row] | None:
    return found[image]


def _in_place(before: EmbeddingStore, found: Mapping[str, tuple[str, Row] | None]) -> list[Row] | None:
    """Return the rows to enter where every row of the store stays in its place; else None."""
    kept = {image: match[1] for image, match in found.items() if match is not None}
    return list(kept.values()) if tuple(kept) == before.ids else None


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


def _fill(
    filling: _Filling,
    todo: Sequence[int],
    manifest: Manifest,
    runner: Runner,
    meta: StoreMeta,
    progress: Progress,
) -> None:
    progress("embed", 0, len(todo))
    flushed = time.monotonic()
    for done, embedded in enumerate(runner.embed((slot, manifest.entries[slot]) for slot in todo), start=1):
        reason = embedded.reason or _unfit(embedded, meta)
        if embedded.row is None or reason:
            filling.failures[embedded.slot] = reason
        else:
            filling.writer().write(embedded.slot, embedded.row, embedded.rows)
        if time.monotonic() - flushed > FLUSH_SECONDS:
            filling.flush()
            flushed = time.monotonic()
        note = f"{len(filling.failures)} failed" if filling.failures else ""
        progress("embed", done, len(todo), note)


def _unfit(embedded: Embedded, meta: StoreMeta) -> str:
    """Return why the store cannot hold these rows, or nothing."""
    if all(is_finite_as(rows, meta.dtype) for rows in embedded.rows):
        return ""
    if all(is_finite_as(rows, "float32") for rows in embedded.rows):
        return f"its features are too large for {meta.dtype}; use --dtype float32"
    if meta.spec.precision == "fp32":
        return "its features are not finite, even in fp32; check the weights"
    return f"its features are not finite ({meta.spec.precision} overflow?); use --precision fp32"
