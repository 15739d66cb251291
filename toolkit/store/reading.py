"""A finished store."""

from collections.abc import Sequence
from pathlib import Path

from toolkit.errors import StoreError
from toolkit.files.disk import writing
from toolkit.files.npy import EmbeddingArray, open_array
from toolkit.runtime.messages import counted
from toolkit.store.records import Failure, Row, StoreMeta, array_names
from toolkit.store.tables import read_rows, read_table, write_failed, write_index


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
            raise StoreError(
                f"there is no embedding store at {folder}, which lacks meta.json; embed again with --force"
                if folder.exists()
                else f"there is no embedding store at {folder}; make one with: toolkit embed FOLDER"
            )
        self.meta = StoreMeta.read(folder / "meta.json")
        self.rows = tuple(read_rows(folder / "index.csv"))
        self.failures = tuple(Failure(*cells) for cells in read_table(folder / "failed.csv", 2))
        for path in self._array_paths():
            shape = open_array(path).shape
            if shape != (len(self.rows), self.meta.spec.dim):
                listed = counted(len(self.rows), "row")
                raise StoreError(
                    f"{path} holds {' x '.join(map(str, shape))} numbers but index.csv lists {listed} "
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

    def embeddings(self) -> EmbeddingArray:
        """Return the (N, D) array, memory-mapped and read-only."""
        return open_array(self.folder / "embeddings.npy")

    def refresh(
        self, rows: Sequence[Row], meta: StoreMeta, failures: Sequence[Failure] | None = None
    ) -> "EmbeddingStore":
        """Enter what changed about the same images in the same order, not their features; return the store.

        `failures` are the images that have no row now, if others than before.

        Raises
        ------
        SpecMismatchError, StoreError
            `meta` says the features would be others.
        """
        self.meta.require_same(meta, f"the store at {self.folder}")
        with writing(self.folder):
            if tuple(rows) != self.rows:
                write_index(self.folder / ".index.csv", rows)
                (self.folder / ".index.csv").replace(self.folder / "index.csv")
            if failures is not None and tuple(failures) != self.failures:
                write_failed(self.folder / ".failed.csv", failures)
                (self.folder / ".failed.csv").replace(self.folder / "failed.csv")
            if meta != self.meta:
                meta.write(self.folder / "meta.json")
        return EmbeddingStore(self.folder)

    def views(self) -> list[EmbeddingArray]:
        """Return the augmented (N, D) arrays, memory-mapped; an empty list if there are none."""
        return [open_array(path) for path in self._array_paths()[1:]]

    def _array_paths(self) -> list[Path]:
        return [self.folder / name for name in array_names(self.meta.views)]
