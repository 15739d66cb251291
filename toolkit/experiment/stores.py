"""The stores that heads are fitted on: one, or several whose rows are matched by id."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
from msgspec import Meta

from toolkit.arrays.features import Features, blocks
from toolkit.arrays.types import RowNumbers
from toolkit.errors import StoreError
from toolkit.files.json import typed
from toolkit.store.reading import EmbeddingStore
from toolkit.store.records import array_names
from toolkit.store.spec import EmbeddingSpec


@dataclass(frozen=True)
class StoreRecord:
    """What a head records of a store it was fitted on: name, spec, and the factor of its values."""

    store: str
    spec: EmbeddingSpec
    scale: Annotated[float, Meta(gt=0)] = 1.0

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as json can hold them."""
        return {"store": self.store, "scale": self.scale, "spec": self.spec.to_dict()}

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> Self:
        """Build from `to_dict`'s output; `ValueError` if something is missing, of another type or range."""
        record = typed(document, cls)
        return replace(record, spec=record.spec.completed())


@dataclass(frozen=True, eq=False)
class StoreSet:
    """Stores side by side.

    Attributes
    ----------
    stores : tuple of EmbeddingStore
    ids : tuple of str, length N
        Images that every store has, in the order of the first.
    rows : ndarray (S, N) intp
        Each image's row in each of the S stores.
    scales : tuple of float, length S
        Factor of each store's values. Several stores are scaled to a mean squared row length of 1, so that
        the store with the largest numbers does not dominate.
    """

    stores: tuple[EmbeddingStore, ...]
    ids: tuple[str, ...]
    rows: RowNumbers
    scales: tuple[float, ...]

    @classmethod
    def of(cls, stores: Sequence[EmbeddingStore], scales: Sequence[float] | None = None) -> Self:
        """Match the stores' rows by id; `StoreError` if they have no image in common.

        Without `scales` they are computed.
        """
        row_of = [{image: row for row, image in enumerate(store.ids)} for store in stores]
        ids = tuple(image for image in stores[0].ids if all(image in rows for rows in row_of))
        if not ids and any(store.ids for store in stores):
            names = ", ".join(store.name for store in stores)
            raise StoreError(
                f"the stores {names} have no image in common: {stores[0].name} has {stores[0].ids[:1]}, "
                f"{stores[-1].name} has {stores[-1].ids[:1]}; embed the same folder for each"
            )
        rows = np.array([[numbers[image] for image in ids] for numbers in row_of], dtype=np.intp)
        rows = rows.reshape(len(stores), len(ids))
        if scales is None:
            scales = [1.0] if len(stores) == 1 else [_scale(store) for store in stores]
        return cls(tuple(stores), ids, rows, tuple(scales))

    @property
    def name(self) -> str:
        """The stores' names, joined by ``+``."""
        return "+".join(store.name for store in self.stores)

    @property
    def records(self) -> tuple[StoreRecord, ...]:
        """What a head fitted on these stores records of them."""
        pairs = zip(self.stores, self.scales, strict=True)
        return tuple(StoreRecord(store.name, store.meta.spec, scale) for store, scale in pairs)

    @property
    def n_left_out(self) -> int:
        """Number of images that only some of the stores have."""
        return len({image for store in self.stores for image in store.ids}) - len(self.ids)

    def take(self, rows: RowNumbers) -> Self:
        """Return some of the images."""
        ids = tuple(self.ids[row] for row in rows)
        return type(self)(self.stores, ids, self.rows[:, rows], self.scales)

    def features(self) -> Features:
        """Return X (N, D), unread."""
        return read_features(self.to_dict(), self.rows)[0]

    def to_dict(self) -> dict[str, Any]:
        """Return what another process needs, with `rows`, to read the features."""
        views = {store.meta.views for store in self.stores}
        return {
            "folders": [str(store.folder.resolve()) for store in self.stores],
            "scales": list(self.scales),
            "views": views.pop() if len(views) == 1 else 0,
        }


def read_features(document: dict[str, Any], rows: RowNumbers) -> list[Features]:
    """Return what `StoreSet.to_dict` described: the plain features (N, D), then each augmented view.

    `rows` (S, N) are each image's row in every store.
    """
    folders = [Path(folder) for folder in document["folders"]]
    return [
        Features([folder / name for folder in folders], rows=list(rows), scales=document["scales"])
        for name in array_names(document["views"])
    ]


def _scale(store: EmbeddingStore) -> float:
    """Return the factor that makes a store's mean squared row length 1."""
    X = Features([store.folder / "embeddings.npy"])
    total = sum(float(np.einsum("nd,nd->", rows, rows, dtype=np.float64)) for _, rows in blocks(X))
    return float((len(X) / total) ** 0.5) if total else 1.0
