"""A pass in progress, from its first row to the finished store."""

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from toolkit.errors import StoreError
from toolkit.files.disk import writing
from toolkit.files.locks import StoreLock
from toolkit.files.npy import EmbeddingArray, copy_rows, open_array, read_header, write_header
from toolkit.runtime.messages import counted
from toolkit.store.folders import beside, discard, interrupted, recover, replace
from toolkit.store.reading import EmbeddingStore
from toolkit.store.records import Failure, Row, StoreMeta, array_names
from toolkit.store.tables import add_to_journal, read_journal, write_failed, write_index

logger = logging.getLogger(__name__)

Keep = Callable[[str, Mapping[str, Row]], tuple[str, Row] | None]


@dataclass
class StoreWriter:
    """A pass in progress: one slot per image of the plan, filled in any order, resumable after a kill.

    Make one with `StoreWriter.begin`; end it with `finish`, `close` or `abandon`. `done` maps slots to rows
    already on disk, `failures` slots to reasons. Only the thread that owns the writer may call its methods.

    Going on with a pass, or adding to a store, copies the rows that stay: the disk must have room for
    them twice until that is done. So does closing up the rows of failed images at the end.
    """

    folder: Path
    target: Path
    meta: StoreMeta
    ids: tuple[str, ...]
    lock: StoreLock
    done: dict[int, Row] = field(default_factory=dict)
    failures: dict[int, str] = field(default_factory=dict)
    _files: list[BinaryIO] = field(default_factory=list)
    _offset: int = 0
    _refused: bool = False
    _added: bool = False
    _taken: list[StoreMeta] = field(default_factory=list)
    _pending: dict[int, Row] = field(default_factory=dict)

    @classmethod
    def begin(
        cls,
        target: Path,
        meta: StoreMeta,
        ids: Sequence[str],
        *,
        keep: Keep,
        force: bool = False,
        lock: StoreLock | None = None,
    ) -> Self:
        """Start, or resume, the pass that will become the store `target`.

        `keep` is asked for every image, with the rows by id of the finished store and of an interrupted pass:
        it returns the id the image has there and the row to enter for it now, or None if it must be embedded
        again. `force` forgets both. `lock` is the store's where the caller holds it already; the writer lets
        go of it at the end.

        Raises
        ------
        SpecMismatchError
            What is there was made another way.
        StoreError
            The same, or another pass is writing the store, or the disk refuses.
        """
        lock = StoreLock(target) if lock is None else lock
        try:
            return cls._begin(target, meta, ids, keep, force=force, lock=lock)
        except BaseException:
            lock.release()
            raise

    @classmethod
    def _begin(
        cls, target: Path, meta: StoreMeta, ids: Sequence[str], keep: Keep, *, force: bool, lock: StoreLock
    ) -> Self:
        partial, fresh = beside(target, "partial"), beside(target, "next")
        sources: list[_Source] = []
        if force:
            with writing(target):
                discard(partial, target)
        else:
            recover(target)
            sources = [source for source in (_finished(target), _interrupted(target)) if source]
        for source in sources:
            source.meta.require_same(meta, source.what)
        writer = cls(fresh, target, meta, tuple(ids), lock)
        with writing(target):
            try:
                writer._allocate()
                writer._taken = [source.meta for source in sources if writer._take_over(source, keep)]
                writer._describe(writer.folder, added=bool(writer.todo()))
                writer.flush()
                writer._close()
            except BaseException:  # all it holds are copies, and a full disk needs the room
                writer._drop()
                discard(fresh, target)
                raise
            discard(partial, target)
            writer.folder = fresh.rename(partial)
            writer._open()
        return writer

    @property
    def _row_bytes(self) -> int:
        return self.meta.spec.dim * np.dtype(self.meta.dtype).itemsize

    def todo(self) -> list[int]:
        """Return the slots that still need embedding, in order."""
        return [slot for slot in range(len(self.ids)) if slot not in self.done and slot not in self._pending]

    def write(self, slot: int, row: Row, arrays: Sequence[EmbeddingArray]) -> None:
        """Put one image's rows, (D,) each: the plain one, then its views. Counted only after `flush`."""
        with self._writing():
            for file, values in zip(self._files, arrays, strict=True):
                data = np.ascontiguousarray(values, dtype=self.meta.dtype)
                file.seek(self._offset + slot * data.nbytes)
                file.write(data.tobytes())
        self._pending[slot] = row
        self._added = True

    def fail(self, slot: int, reason: str) -> None:
        """Record that the image of `slot` has no embedding. It is tried again at the next run."""
        self.failures[slot] = reason

    def flush(self) -> None:
        """Hand what was written to the operating system, then enter it in the journal.

        It outlives this process, however that ends, but not a crash of the machine: nothing is synced.
        """
        with self._writing():
            for file in self._files:
                file.flush()
            add_to_journal(self.folder / "journal.csv", self._pending)
        self.done.update(self._pending)
        self._pending.clear()

    def finish(self) -> EmbeddingStore:
        """Make the store: failed slots are closed up, tables written, and the folder renamed into place."""
        self.flush()
        missing = [slot for slot in self.todo() if slot not in self.failures]
        if missing:
            first = self.ids[missing[0]]
            are = counted(len(missing), "image is", "images are")
            raise StoreError(f"{are} neither embedded nor failed, first {first}")
        with writing(self.target):
            store = self._complete()
        self.lock.release()
        return store

    def _complete(self) -> EmbeddingStore:
        self._close()
        kept = np.array(sorted(self.done), dtype=np.intp)
        final = self.folder if len(kept) == len(self.ids) else self._closed_up(kept)
        self._describe(final, added=self._added)
        write_index(final / "index.csv", [self.done[slot] for slot in kept.tolist()])
        failures = [Failure(self.ids[slot], reason) for slot, reason in sorted(self.failures.items())]
        write_failed(final / "failed.csv", failures)
        replace(final, self.target)
        # only now: until the rename a kill must find the journal and go on from it
        (self.target / "journal.csv").unlink(missing_ok=True)
        discard(beside(self.target, "partial"), self.target)
        return EmbeddingStore(self.target)

    def _closed_up(self, kept: NDArray[np.intp]) -> Path:
        """Copy the rows `kept` into a folder of their own, so that a kill leaves the pass as it was."""
        final = beside(self.target, "next")
        discard(final, self.target)
        final.mkdir()
        moves = list(enumerate(kept.tolist()))
        try:
            for name in array_names(self.meta.views):
                (final / name).parent.mkdir(exist_ok=True)
                with (final / name).open("wb") as file:
                    write_header(file, self.meta.dtype, (len(kept), self.meta.spec.dim))
                    copy_rows(self.folder / name, file, file.tell(), moves, self._row_bytes)
        except BaseException:
            discard(final, self.target)
            raise
        return final

    def close(self) -> None:
        """Stop without finishing: what is in hand is entered in the journal for the next run.

        What the disk refuses now is logged: this is for the way out, where another error is on its way.
        """
        if not self._refused:
            try:
                self.flush()
            except StoreError as error:
                logger.warning("%s", error)
        self._drop()
        self.lock.release()

    def abandon(self) -> None:
        """Stop and forget the pass; a finished store of that name stays as it is."""
        self._drop()
        with contextlib.suppress(OSError):
            discard(self.folder, self.target)
        self.lock.release()

    def _allocate(self) -> None:
        discard(self.folder, self.target)
        self.folder.mkdir(parents=True)
        shape = (len(self.ids), self.meta.spec.dim)
        for name in array_names(self.meta.views):
            path = self.folder / name
            path.parent.mkdir(exist_ok=True)
            with path.open("wb") as file:
                write_header(file, self.meta.dtype, shape)
                file.truncate(file.tell() + np.dtype(self.meta.dtype).itemsize * shape[0] * shape[1])
        self.meta.write(self.folder / "meta.json")
        (self.folder / "journal.csv").touch()
        self._open()

    def _open(self) -> None:
        self._files = []
        for name in array_names(self.meta.views):
            file = (self.folder / name).open("r+b")
            self._offset = read_header(file).offset
            self._files.append(file)

    def _close(self) -> None:
        files, self._files = self._files, []
        with contextlib.ExitStack() as stack:  # each is closed, whatever becomes of the others
            for file in files:
                stack.callback(file.close)

    def _drop(self) -> None:
        with contextlib.suppress(OSError):
            self._close()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Explain what the disk refuses, and remember it: a cut-off journal line must stay the last one."""
        try:
            with writing(self.target):
                yield
        except StoreError:
            self._refused = True
            raise

    def _describe(self, folder: Path, *, added: bool) -> None:
        self.meta.joined(self._taken, added=added).write(folder / "meta.json")

    def _take_over(self, source: "_Source", keep: Keep) -> int:
        """Copy the rows that are still right; return how many."""
        rows = {row.img_path: row for row in source.rows.values()}
        places = {row.img_path: place for place, row in source.rows.items()}
        moves: list[tuple[int, int]] = []
        for slot, image in enumerate(self.ids):
            found = keep(image, rows) if slot not in self._pending else None
            if found is not None:
                moves.append((slot, places[found[0]]))
                self._pending[slot] = found[1]
        for file, name in zip(self._files, array_names(self.meta.views), strict=True):
            copy_rows(source.folder / name, file, self._offset, moves, self._row_bytes)
        return len(moves)


@dataclass(frozen=True)
class _Source:
    """Rows that may be taken over: of the finished store, or of an interrupted pass."""

    what: str
    folder: Path
    meta: StoreMeta
    rows: dict[int, Row]


def _finished(target: Path) -> _Source | None:
    if not target.exists():
        return None
    store = EmbeddingStore(target)
    return _Source(f"the store at {target}", target, store.meta, dict(enumerate(store.rows)))


def _interrupted(target: Path) -> _Source | None:
    if not interrupted(target):
        return None
    partial = beside(target, "partial")
    slots = range(len(open_array(partial / "embeddings.npy")))
    rows = {slot: row for slot, row in read_journal(partial / "journal.csv") if slot in slots}
    return _Source(f"the interrupted pass at {partial}", partial, StoreMeta.read(partial / "meta.json"), rows)
