"""The embedding store: rows on disk, who they are and what made them. Knows no torch.

Layout of ``<name>/``::

    embeddings.npy   (N, D) float32 or float16, C order
    index.csv        row, img_path, bytes, mtime_ns, digest, width, height, mode     (row i of the .npy)
    failed.csv       img_path, reason
    meta.json        spec, dtype, views, root, versions, remembered label files
    views/NN.npy     augmented views, same rows

A pass writes beside it, into ``.<name>.partial/``: rows go straight to their place in the ``.npy`` files, and
a journal line follows them once they are written, so a kill loses only the rows not yet in the journal.
Finishing is one rename.
"""

import csv
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal, Self

import numpy as np
from numpy.typing import NDArray

from toolkit.errors import StoreError
from toolkit.spec import EmbeddingSpec
from toolkit.storearrays import Features, copy_rows, data_offset, open_array, write_header
from toolkit.textfiles import read_csv
from toolkit.wording import counted

StoreDtype = Literal["float32", "float16"]

INDEX_COLUMNS = ("row", "img_path", "bytes", "mtime_ns", "digest", "width", "height", "mode")


@dataclass(frozen=True)
class Row:
    """Who one embedding is: the image's id and what its file looked like when it was read.

    `bytes` and `mtime_ns` are the file's size and modification time, `digest` is BLAKE2b-128 of its content
    in hex, `width` and `height` are pixels as shown, `mode` is Pillow's name of the pixels as stored.
    """

    img_path: str
    bytes: int = 0
    mtime_ns: int = 0
    digest: str = ""
    width: int = 0
    height: int = 0
    mode: str = ""


@dataclass(frozen=True)
class Failure:
    """An image without an embedding, and why in plain words."""

    img_path: str
    reason: str


@dataclass(frozen=True)
class StoreMeta:
    """What made a store.

    `root` is the folder ids are relative to (empty for imported features), `views` the number of augmented
    arrays and `seed` what they were drawn with, `files` the label, tag and split files given to ``embed``,
    `versions` those of the libraries, `made_with` the device and why that precision. `for_prediction` marks a
    store that ``predict`` made for itself: it is not taken for the one to train on.
    """

    spec: EmbeddingSpec
    dtype: StoreDtype
    views: int = 0
    seed: int = 0
    root: str = ""
    files: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    for_prediction: bool = False
    made_with: dict[str, str] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        """Write as indented json."""
        path.write_text(json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what `write` wrote; `StoreError` if it is missing or not that."""
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            document["spec"] = EmbeddingSpec.from_dict(document["spec"])
            return cls(**document)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{path} is not a readable store description ({error}); embed again") from error


Keep = Callable[[str, Mapping[str, Row]], tuple[str, Row] | None]


class EmbeddingStore:
    """A finished store, opened for reading.

    Attributes
    ----------
    folder : Path
    meta : StoreMeta
    rows : tuple of Row
        Row i of the arrays, in order.
    failures : tuple of Failure
    """

    def __init__(self, folder: Path) -> None:
        """Open `folder`; `StoreError` if it is missing, incomplete or its parts disagree."""
        self.folder = folder
        if not (folder / "meta.json").is_file():
            raise StoreError(f"there is no embedding store at {folder}; make one with: toolkit embed FOLDER")
        self.meta = StoreMeta.read(folder / "meta.json")
        self.rows = tuple(_read_rows(folder / "index.csv"))
        self.failures = tuple(Failure(*cells) for cells in _read_table(folder / "failed.csv", 2))
        for path in self._array_paths():
            shape = open_array(path).shape
            if shape != (len(self.rows), self.meta.spec.dim):
                listed = counted(len(self.rows), "row")
                raise StoreError(
                    f"{path} holds {shape[0]} x {shape[1]} numbers but index.csv lists {listed} "
                    f"of {self.meta.spec.dim}; the store is damaged, embed again with --force"
                )

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.name

    @property
    def ids(self) -> tuple[str, ...]:
        """Image ids, one a row."""
        return tuple(row.img_path for row in self.rows)

    def embeddings(self) -> Features:
        """Return the (N, D) array, memory-mapped and read-only."""
        return open_array(self.folder / "embeddings.npy")

    def refresh(self, rows: Sequence[Row], meta: StoreMeta) -> "EmbeddingStore":
        """Enter what changed about the same images in the same order, not their features; return the store.

        Raises
        ------
        SpecMismatchError, StoreError
            `meta` says the features would be others.
        """
        _Source(self.folder, self.meta, {}).check(meta)
        if tuple(rows) != self.rows:
            _write_index(self.folder / ".index.csv", rows)
            (self.folder / ".index.csv").replace(self.folder / "index.csv")
        if meta != self.meta:
            meta.write(self.folder / ".meta.json")
            (self.folder / ".meta.json").replace(self.folder / "meta.json")
        return EmbeddingStore(self.folder)

    def views(self) -> list[Features]:
        """Return the augmented (N, D) arrays, memory-mapped; an empty list if there are none."""
        return [open_array(path) for path in self._array_paths()[1:]]

    def _array_paths(self) -> list[Path]:
        return [self.folder / name for name in array_names(self.meta.views)]


def array_names(views: int) -> list[str]:
    """Return the relative names of a store's arrays: the plain one first."""
    return ["embeddings.npy", *(f"views/{view:02d}.npy" for view in range(views))]


@dataclass
class StoreWriter:
    """A pass in progress: one slot per image of the plan, filled in any order, resumable after a kill.

    Make one with `StoreWriter.begin`. `done` maps slots to rows already on disk; `failures` maps slots to
    reasons. Only the thread that owns the writer may call its methods.
    """

    folder: Path
    target: Path
    meta: StoreMeta
    ids: tuple[str, ...]
    done: dict[int, Row] = field(default_factory=dict)
    failures: dict[int, str] = field(default_factory=dict)
    _files: list[BinaryIO] = field(default_factory=list)
    _offset: int = 0
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
    ) -> Self:
        """Start, or resume, the pass that will become the store `target`.

        `keep` is asked for every image, with the rows by id of the finished store and of an interrupted pass:
        it returns the id the image has there and the row to enter for it now, or None if it must be embedded
        again. `force` forgets both.

        Raises
        ------
        SpecMismatchError
            What is there was made another way.
        """
        partial, fresh = _beside(target, "partial"), _beside(target, "next")
        sources: list[_Source] = []
        if force:
            shutil.rmtree(partial, ignore_errors=True)
        else:
            _recover(target)
            sources = [source for source in (_finished(target), _interrupted(partial)) if source]
        for source in sources:
            source.check(meta)
        writer = cls(fresh, target, meta, tuple(ids))
        writer._allocate()
        for source in sources:
            writer._take_over(source, keep)
        writer.flush()
        writer._close()
        shutil.rmtree(partial, ignore_errors=True)
        writer.folder = fresh.rename(partial)
        writer._open()
        return writer

    @property
    def _row_bytes(self) -> int:
        return self.meta.spec.dim * np.dtype(self.meta.dtype).itemsize

    def todo(self) -> list[int]:
        """Return the slots that still need embedding, in order."""
        return [slot for slot in range(len(self.ids)) if slot not in self.done and slot not in self._pending]

    def write(self, slot: int, row: Row, arrays: Sequence[Features]) -> None:
        """Put one image's rows, (D,) each: the plain one, then its views. Counted only after `flush`."""
        for file, values in zip(self._files, arrays, strict=True):
            data = np.ascontiguousarray(values, dtype=self.meta.dtype)
            file.seek(self._offset + slot * data.nbytes)
            file.write(data.tobytes())
        self._pending[slot] = row

    def fail(self, slot: int, reason: str) -> None:
        """Record that the image of `slot` has no embedding. It is tried again at the next run."""
        self.failures[slot] = reason

    def flush(self) -> None:
        """Push what was written to disk, then enter it in the journal."""
        for file in self._files:
            file.flush()
        with _csv_writer(self.folder / "journal.csv", mode="a") as journal:
            journal.writerows([slot, *_row_cells(row)] for slot, row in self._pending.items())
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
        self._close()
        kept = np.array(sorted(self.done), dtype=np.intp)
        final = self.folder if len(kept) == len(self.ids) else self._closed_up(kept)
        _write_index(final / "index.csv", [self.done[slot] for slot in kept.tolist()])
        with _csv_writer(final / "failed.csv") as table:
            table.writerow(("img_path", "reason"))
            table.writerows((self.ids[slot], reason) for slot, reason in sorted(self.failures.items()))
        _replace(final, self.target)
        # only now: until the rename a kill must find the journal and go on from it
        (self.target / "journal.csv").unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)
        return EmbeddingStore(self.target)

    def _closed_up(self, kept: NDArray[np.intp]) -> Path:
        """Copy the rows `kept` into a folder of their own, so that a kill leaves the pass as it was."""
        final = _beside(self.target, "next")
        shutil.rmtree(final, ignore_errors=True)
        final.mkdir()
        moves = list(enumerate(kept.tolist()))
        for name in array_names(self.meta.views):
            (final / name).parent.mkdir(exist_ok=True)
            with (final / name).open("wb") as file:
                write_header(file, self.meta.dtype, (len(kept), self.meta.spec.dim))
                copy_rows(self.folder / name, file, file.tell(), moves, self._row_bytes)
        self.meta.write(final / "meta.json")
        return final

    def close(self) -> None:
        """Stop without finishing: what is in hand is entered in the journal for the next run."""
        self.flush()
        self._close()

    def abandon(self) -> None:
        """Stop and forget the pass; a finished store of that name stays as it is."""
        self._close()
        shutil.rmtree(self.folder)

    def _allocate(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
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
            self._offset = data_offset(file)
            self._files.append(file)

    def _close(self) -> None:
        for file in self._files:
            file.close()
        self._files = []

    def _take_over(self, source: "_Source", keep: Keep) -> None:
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


@dataclass(frozen=True)
class _Source:
    """Rows that may be taken over: of the finished store, or of an interrupted pass."""

    folder: Path
    meta: StoreMeta
    rows: dict[int, Row]

    def check(self, meta: StoreMeta) -> None:
        remedy = "give the new one another --name, or --force to make it anew"
        self.meta.spec.require(meta.spec, have=f"the store at {self.folder}", want="this pass", remedy=remedy)
        for name in ("dtype", "views", *(["seed"] if meta.views else [])):
            have, want = getattr(self.meta, name), getattr(meta, name)
            if have != want:
                raise StoreError(f"the store at {self.folder} has {name} {have}, this pass {want}; {remedy}")


def _beside(target: Path, role: Literal["partial", "next", "previous"]) -> Path:
    return target.with_name(f".{target.name}.{role}")


def _finished(target: Path) -> _Source | None:
    if not target.exists():
        return None
    store = EmbeddingStore(target)
    return _Source(target, store.meta, dict(enumerate(store.rows)))


def _interrupted(partial: Path) -> _Source | None:
    if not (partial / "journal.csv").is_file():
        return None
    rows = {int(slot): row for slot, row in _read_journal(partial / "journal.csv")}
    return _Source(partial, StoreMeta.read(partial / "meta.json"), rows)


def described(target: Path) -> StoreMeta | None:
    """Return what the store at `target`, or else the pass into it that was cut off, says of itself."""
    for folder in (target, _beside(target, "partial")):
        if (folder / "meta.json").is_file():
            return StoreMeta.read(folder / "meta.json")
    return None


def interrupted(target: Path) -> bool:
    """Tell whether a pass into `target` was cut off and can be resumed."""
    return any((_beside(target, role) / "journal.csv").is_file() for role in ("partial", "next"))


def _recover(target: Path) -> None:
    """Undo what a kill left between two renames: no store and no pass is lost."""
    partial, fresh, previous = (_beside(target, role) for role in ("partial", "next", "previous"))
    if previous.exists() and not target.exists():
        previous.rename(target)
    shutil.rmtree(previous, ignore_errors=True)
    if not partial.exists() and (fresh / "journal.csv").is_file():
        fresh.rename(partial)


def _replace(folder: Path, target: Path) -> None:
    previous = _beside(target, "previous")
    if target.exists():
        target.rename(previous)
    folder.rename(target)
    shutil.rmtree(previous, ignore_errors=True)


def _write_index(path: Path, rows: Sequence[Row]) -> None:
    with _csv_writer(path) as table:
        table.writerow(INDEX_COLUMNS)
        table.writerows([number, *_row_cells(row)] for number, row in enumerate(rows))


def _row_cells(row: Row) -> list[str | int]:
    return [row.img_path, row.bytes, row.mtime_ns, row.digest, row.width, row.height, row.mode]


def _row(cells: Sequence[str]) -> Row:
    name, size, mtime, digest, width, height, mode = cells
    return Row(name, int(size), int(mtime), digest, int(width), int(height), mode)


def _read_rows(path: Path) -> Iterator[Row]:
    return (_row(cells[1:]) for cells in _read_table(path, len(INDEX_COLUMNS)))


def _read_table(path: Path, width: int) -> Iterator[list[str]]:
    """Yield the data rows of one of the store's own tables."""
    rows = read_csv(path, error=StoreError, escape=True)
    for line, cells in rows:
        if len(cells) != width:
            raise StoreError(
                f"{path} line {line} has {counted(len(cells), 'cell')}, not {width}; embed again with --force"
            )
        if line > 1:
            yield cells


def _read_journal(path: Path) -> Iterator[tuple[int, Row]]:
    """Yield the journal's complete lines; a kill may have cut the last one off."""
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        text = file.read()
    for cells in csv.reader(text[: text.rfind("\n") + 1].splitlines(keepends=True)):
        if len(cells) == len(INDEX_COLUMNS):
            yield int(cells[0]), _row(cells[1:])


class _csv_writer:
    """A csv writer on `path` whose names may hold bytes that are not UTF-8; closes the file at the end."""

    def __init__(self, path: Path, *, mode: Literal["w", "a"] = "w") -> None:
        self._file = path.open(mode, newline="", encoding="utf-8", errors="surrogateescape")

    def __enter__(self) -> Any:
        return csv.writer(self._file, lineterminator="\n")

    def __exit__(self, *_: object) -> None:
        self._file.close()
