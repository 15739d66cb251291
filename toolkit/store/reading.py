"""A finished store."""

from pathlib import Path

from toolkit.errors import StoreError
from toolkit.files.npy import EmbeddingArray, open_array
from toolkit.runtime.messages import counted
from toolkit.store.records import Failure, StoreMeta, array_names
from toolkit.store.tables import damaged, read_rows, read_table


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
                held, listed = " x ".join(map(str, shape)), counted(len(self.rows), "row")
                raise damaged(
                    f"{path} holds {held} numbers but index.csv lists {listed} of {self.meta.spec.dim}"
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

    def views(self) -> list[EmbeddingArray]:
        """Return the augmented (N, D) arrays, memory-mapped; an empty list without augmented views."""
        return [open_array(path) for path in self._array_paths()[1:]]

    def _array_paths(self) -> list[Path]:
        return [self.folder / name for name in array_names(self.meta.views)]
