"""Writing a store, from its first row to the finished folder."""

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np

from toolkit.errors import StoreError
from toolkit.files.disk import writing
from toolkit.files.folders import beside, discard, replace
from toolkit.files.locks import StoreLock
from toolkit.files.npy import EmbeddingArray, copy_rows, open_array, read_header, write_header
from toolkit.runtime.messages import counted
from toolkit.store.folders import holds_rows, recover
from toolkit.store.reading import EmbeddingStore
from toolkit.store.records import Failure, Row, StoreMeta, array_names
from toolkit.store.tables import add_to_journal, read_journal, write_failed, write_index

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Source:
    """The finished store or an interrupted pass; `moves` are (slot, place) of the rows kept."""

    name: str
    folder: Path
    meta: StoreMeta
    rows: Mapping[int, Row]
    moves: list[tuple[int, int]] = field(default_factory=list)


class StoreWriter:
    """Writes a store: one slot for each image, filled in any order, resumable after a kill.

    Rows are kept from the finished store of that name and from an interrupted pass. They are copied before
    the first new row is written; without new rows, if all rows of the finished store keep their places, only
    its tables are written. Copying needs room for the kept rows twice, as does leaving out failed images.

    End it with `finish`, `close` or `abandon`. Only the thread that owns the writer may call its methods.

    Parameters
    ----------
    target : Path
        Folder of the store.
    meta : StoreMeta
    ids : sequence of str
        Image ids, one a slot.
    keep : callable, optional
        Called with an image's id and with the rows by id, of the finished store and then of an interrupted
        pass. Returns the id of the row to keep and the `Row` to enter for the image, or None if the image
        must be embedded. By default nothing is kept.
    force : bool
        Ignore the finished store and an interrupted pass.
    lock : StoreLock, optional
        The store's lock, if the caller holds it already; the writer releases it at the end.

    Attributes
    ----------
    rows : dict of int
        Rows kept or written, by slot.
    failures : dict of int
        Reasons for missing rows, by slot.
    before : EmbeddingStore or None
        The finished store, if it can be read.

    Raises
    ------
    SpecMismatchError, StoreError
        The existing rows were made another way; another pass is writing the store; the disk refuses.
    """

    def __init__(
        self,
        target: Path,
        meta: StoreMeta,
        ids: Sequence[str],
        *,
        keep: Callable[[str, Mapping[str, Row]], tuple[str, Row] | None] = lambda *_: None,
        force: bool = False,
        lock: StoreLock | None = None,
    ) -> None:
        self.target, self.meta, self.ids = target, meta, tuple(ids)
        self.lock = StoreLock(target) if lock is None else lock
        self.rows: dict[int, Row] = {}
        self.failures: dict[int, str] = {}
        self.before: EmbeddingStore | None = None
        self._folder: Path | None = None
        self._open_files = contextlib.ExitStack()  # closes each, even if one raises
        self._files: list[BinaryIO] = []
        self._offset = 0
        self._arrays = array_names(meta.views)
        self._row_bytes = meta.spec.dim * np.dtype(meta.dtype).itemsize
        self._pending: dict[int, Row] = {}
        self._added = self._refused = False
        self._sources: list[_Source] = []
        try:
            self._open_existing(force)
            for source in self._sources:
                rows = {row.img_path: row for row in source.rows.values()}
                places = {row.img_path: place for place, row in source.rows.items()}
                for slot in self.todo():
                    match = keep(self.ids[slot], rows)
                    if match is not None:
                        source.moves.append((slot, places[match[0]]))
                        self.rows[slot] = match[1]
        except BaseException:
            self.lock.release()
            raise

    def _open_existing(self, force: bool) -> None:
        partial = beside(self.target, "partial")
        if force:
            with writing(self.target):
                discard(partial, self.target)
        else:
            recover(self.target)
        try:
            self.before = EmbeddingStore(self.target) if self.target.exists() else None
        except StoreError:
            if not force:  # else it is replaced, damaged or not
                raise
        if self.before is not None and not force:
            name, rows = f"the store at {self.target}", dict(enumerate(self.before.rows))
            self._sources.append(_Source(name, self.target, self.before.meta, rows))
        if holds_rows(partial):
            slots = range(len(open_array(partial / "embeddings.npy")))
            rows = {slot: row for slot, row in read_journal(partial / "journal.csv") if slot in slots}
            meta = StoreMeta.read(partial / "meta.json")
            self._sources.append(_Source(f"the interrupted pass at {partial}", partial, meta, rows))
        for source in self._sources:
            source.meta.require_same(self.meta, source.name)

    def todo(self) -> list[int]:
        """Return the slots that still need embedding, in order."""
        return [slot for slot in range(len(self.ids)) if slot not in self.rows and slot not in self._pending]

    def begin(self) -> Path:
        """Make the folder of the pass, with copies of the kept rows; the first `write` calls this."""
        if self._folder is None:
            partial = beside(self.target, "partial")
            with writing(self.target):
                kept = [(source.folder, source.moves) for source in self._sources]
                with self._copied(len(self.ids), kept) as fresh:
                    self._describe(fresh, added=bool(self.todo()))
                    add_to_journal(fresh / "journal.csv", self.rows)
                discard(partial, self.target)
                self._folder = fresh.rename(partial)
                self._open(self._folder)
        return self._folder

    def write(self, slot: int, row: Row, arrays: Sequence[EmbeddingArray]) -> None:
        """Write one image's rows, (D,) each: the plain one, then its views. Counted only after `flush`."""
        self.begin()
        with self._writing():
            for file, values in zip(self._files, arrays, strict=True):
                data = np.ascontiguousarray(values, dtype=self.meta.dtype)
                file.seek(self._offset + slot * data.nbytes)
                file.write(data.tobytes())
        self._pending[slot] = row
        self._added = True

    def fail(self, slot: int, reason: str) -> None:
        """Record that the image of `slot` has no embedding. The next pass tries it again."""
        self.failures[slot] = reason

    def flush(self) -> None:
        """Flush rows to the operating system, then enter them in the journal.

        They survive the end of this process, but not a crash of the machine: nothing is synced.
        """
        if self._folder is not None:
            with self._writing():
                for file in self._files:
                    file.flush()
                add_to_journal(self._folder / "journal.csv", self._pending)
        self.rows.update(self._pending)
        self._pending.clear()

    def finish(self) -> EmbeddingStore:
        """Leave out failed slots, write the tables, rename the folder to `target` and return the store."""
        self.flush()
        missing = [slot for slot in self.todo() if slot not in self.failures]
        if missing:
            count = counted(len(missing), "image is", "images are")
            raise StoreError(f"{count} neither embedded nor failed, first {self.ids[missing[0]]}")
        with writing(self.target):
            if self._folder is None and self._all_in_place():
                self._update()
            else:
                self._complete()
            store = EmbeddingStore(self.target)
        self.lock.release()
        return store

    def _all_in_place(self) -> bool:
        """Return whether the rows are those of the finished store, in its order."""
        if [source.folder for source in self._sources] != [self.target]:
            return False
        (source,) = self._sources
        return [place for _, place in source.moves] == list(range(len(source.rows)))

    def _update(self) -> None:
        """Write those files of the finished store, other than arrays, that change."""
        assert self.before is not None
        meta = self.meta.joined([self.before.meta], added=False)
        if self._ordered() != list(self.before.rows):
            write_index(self.target / "index.csv", self._ordered())
        if self._failed() != list(self.before.failures):
            write_failed(self.target / "failed.csv", self._failed())
        if meta != self.before.meta:
            meta.write(self.target / "meta.json")

    def _complete(self) -> None:
        final = self.begin()
        self._close()
        if len(self.rows) < len(self.ids):  # into another folder, so that a kill leaves the pass as it was
            with self._copied(len(self.rows), [(final, list(enumerate(sorted(self.rows))))]) as fresh:
                final = fresh
        self._describe(final, added=self._added)
        write_index(final / "index.csv", self._ordered())
        write_failed(final / "failed.csv", self._failed())
        replace(final, self.target)
        # after the rename: a pass killed before it is resumed from its journal
        (self.target / "journal.csv").unlink(missing_ok=True)
        discard(beside(self.target, "partial"), self.target)

    def _ordered(self) -> list[Row]:
        return [self.rows[slot] for slot in sorted(self.rows)]

    def _failed(self) -> list[Failure]:
        return [Failure(self.ids[slot], reason) for slot, reason in sorted(self.failures.items())]

    def close(self) -> None:
        """Stop without finishing; the next pass keeps the rows written.

        An error of the disk is only logged, because `close` is called while another error is handled.
        """
        if not self._refused:
            try:
                self.flush()
            except StoreError as error:
                logger.warning("%s", error)
        self._drop()
        self.lock.release()

    def abandon(self) -> None:
        """Stop and delete the pass; a finished store of that name stays."""
        self._drop()
        if self._folder is not None:
            with contextlib.suppress(OSError):
                discard(self._folder, self.target)
        self.lock.release()

    # ------------------------------------------------------------------ arrays

    @contextlib.contextmanager
    def _copied(self, n: int, sources: Sequence[tuple[Path, Sequence[tuple[int, int]]]]) -> Iterator[Path]:
        """Yield the folder ``next`` with arrays of `n` rows, some copied; on an error it is removed."""
        fresh = beside(self.target, "next")
        try:
            discard(fresh, self.target)
            for name in self._arrays:
                (fresh / name).parent.mkdir(parents=True, exist_ok=True)
                with (fresh / name).open("wb") as empty:
                    write_header(empty, self.meta.dtype, (n, self.meta.spec.dim))
                    empty.truncate(empty.tell() + n * self._row_bytes)
            self._open(fresh)
            for folder, moves in sources:
                for file, name in zip(self._files, self._arrays, strict=True):
                    copy_rows(folder / name, file, self._offset, moves, self._row_bytes)
            self._close()
            yield fresh
        except BaseException:  # it holds only copies, and a full disk needs the room
            self._drop()
            discard(fresh, self.target)
            raise

    def _open(self, folder: Path) -> None:
        for name in self._arrays:
            file = self._open_files.enter_context((folder / name).open("r+b"))
            self._offset = read_header(file).offset
            self._files.append(file)

    def _close(self) -> None:
        self._files = []
        self._open_files.close()

    def _drop(self) -> None:
        with contextlib.suppress(OSError):
            self._close()

    def _describe(self, folder: Path, *, added: bool) -> None:
        sources = [source.meta for source in self._sources if source.moves]
        self.meta.joined(sources, added=added).write(folder / "meta.json")

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """As `writing`, and remember an error: nothing may follow a cut-off line of the journal."""
        try:
            with writing(self.target):
                yield
        except StoreError:
            self._refused = True
            raise
