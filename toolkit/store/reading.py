"""A finished store."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from toolkit.errors import StoreError
from toolkit.files.folders import changed, digest_of, read_steadily
from toolkit.files.npy import EmbeddingArray, open_array
from toolkit.runtime.messages import counted
from toolkit.store.records import Failure, Row, StoreMeta, array_names
from toolkit.store.tables import damaged, read_rows, read_table

R = TypeVar("R")

_DOCUMENTS = ("meta.json", "index.csv")  # they say which images the rows are, and what made the rows


class EmbeddingStore:
    """A finished store, opened for reading.

    What is opened stays the same store: if the folder is replaced meanwhile, `embeddings` and `views` raise
    `ChangedError` rather than give the rows of other images.

    Attributes
    ----------
    folder : Path
    identity : str
        Digest of the store's tables. It goes with the folder's path to whoever opens the store again.
    meta : StoreMeta
    rows : tuple of Row
        Row i of the arrays, in order.
    failures : tuple of Failure
    """

    identity: str
    meta: StoreMeta
    rows: tuple[Row, ...]
    failures: tuple[Failure, ...]

    def __init__(self, folder: Path) -> None:
        """Open `folder`; `StoreError` if it is missing, incomplete or its parts disagree."""
        self.folder = folder
        read_steadily(folder, self._read)

    def _read(self, folder: Path) -> None:
        if not (folder / "meta.json").is_file():
            raise StoreError(
                f"there is no embedding store at {folder}, which lacks meta.json; embed again with --force"
                if folder.exists()
                else f"there is no embedding store at {folder}; make one with: toolkit embed FOLDER"
            )
        self.identity = digest_of(folder, _DOCUMENTS)
        self.meta = StoreMeta.read(folder / "meta.json")
        self.rows = tuple(read_rows(folder / "index.csv"))
        self.failures = tuple(Failure(*cells) for cells in read_table(folder / "failed.csv", 2))
        for name in array_names(self.meta.views):
            shape = open_array(folder / name).shape
            if shape != (len(self.rows), self.meta.spec.dim):
                held, listed = " x ".join(map(str, shape)), counted(len(self.rows), "row")
                dim = self.meta.spec.dim
                raise damaged(f"{folder / name} holds {held} numbers but index.csv lists {listed} of {dim}")

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.name

    @property
    def ids(self) -> tuple[str, ...]:
        """Image ids, one a row."""
        return tuple(row.img_path for row in self.rows)

    def embeddings(self) -> EmbeddingArray:
        """Return the (N, D) array, memory-mapped and read-only."""
        return open_arrays(self.folder, self.identity, ["embeddings.npy"], open_array)[0]

    def views(self) -> list[EmbeddingArray]:
        """Return the augmented (N, D) arrays, memory-mapped; an empty list without augmented views."""
        return open_arrays(self.folder, self.identity, array_names(self.meta.views)[1:], open_array)


def open_arrays(folder: Path, identity: str, names: Sequence[str], open_one: Callable[[Path], R]) -> list[R]:
    """Open arrays of the store at `folder`; `ChangedError` if it is no longer that of `identity`."""

    def read(place: Path) -> list[R]:
        if digest_of(place, _DOCUMENTS) != identity:
            raise changed(folder)
        return [open_one(place / name) for name in names]

    return read_steadily(folder, read)
