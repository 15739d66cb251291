"""The features heads work on: those of one store, or of several whose rows are matched by id."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from toolkit.arrays.features import Features, blocks
from toolkit.errors import StoreError
from toolkit.store.reading import EmbeddingStore
from toolkit.store.records import array_names
from toolkit.store.spec import EmbeddingSpec

Rows = NDArray[np.intp]


@dataclass(frozen=True)
class Part:
    """One store of those a head was fitted on: its name, its spec, and what its values are scaled by."""

    store: str
    spec: EmbeddingSpec
    scale: float = 1.0

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as json can hold them."""
        return {"store": self.store, "scale": self.scale, "spec": self.spec.to_dict()}

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> Self:
        """Build from `to_dict`'s output; `KeyError` or `StoreError` if something is missing."""
        return cls(document["store"], EmbeddingSpec.from_dict(document["spec"]), float(document["scale"]))


@dataclass(frozen=True, eq=False)
class Source:
    """Stores side by side.

    Attributes
    ----------
    stores : tuple of EmbeddingStore
    ids : tuple of str, length N
        Images that every store has, in the order of the first.
    rows : ndarray (S, N) intp
        Each image's row in each of the S stores.
    scales : tuple of float, length S
        Factor of each store's values. Side by side, stores are scaled to a mean squared row length of 1, so
        that the one with the largest numbers does not decide alone.
    """

    stores: tuple[EmbeddingStore, ...]
    ids: tuple[str, ...]
    rows: Rows
    scales: tuple[float, ...]

    @classmethod
    def of(cls, stores: Sequence[EmbeddingStore], scales: Sequence[float] | None = None) -> Self:
        """Match the stores' rows by id; `StoreError` if they have no image in common.

        Without `scales` they are measured.
        """
        places = [{image: row for row, image in enumerate(store.ids)} for store in stores]
        ids = tuple(image for image in stores[0].ids if all(image in place for place in places))
        if not ids and any(store.ids for store in stores):
            names = ", ".join(store.name for store in stores)
            raise StoreError(
                f"the stores {names} have no image in common: {stores[0].name} has {stores[0].ids[:1]}, "
                f"{stores[-1].name} has {stores[-1].ids[:1]}; embed the same folder for each"
            )
        rows = np.array([[place[image] for image in ids] for place in places], dtype=np.intp)
        rows = rows.reshape(len(stores), len(ids))
        if scales is None:
            scales = [1.0] if len(stores) == 1 else [_scale(store) for store in stores]
        return cls(tuple(stores), ids, rows, tuple(scales))

    @property
    def name(self) -> str:
        """The stores' names, joined by ``+``."""
        return "+".join(store.name for store in self.stores)

    @property
    def widths(self) -> tuple[int, ...]:
        """Columns of each store."""
        return tuple(store.meta.spec.dim for store in self.stores)

    @property
    def parts(self) -> tuple[Part, ...]:
        """What a head fitted on this must find again."""
        pairs = zip(self.stores, self.scales, strict=True)
        return tuple(Part(store.name, store.meta.spec, scale) for store, scale in pairs)

    @property
    def left_out(self) -> int:
        """Images that only some of the stores have."""
        return len({image for store in self.stores for image in store.ids}) - len(self.ids)

    def take(self, rows: Rows) -> Self:
        """Return the source of some of the images."""
        chosen = tuple(self.ids[row] for row in rows)
        return type(self)(self.stores, chosen, self.rows[:, rows], self.scales)

    def features(self) -> Features:
        """Return X (N, D), unread."""
        return read_features(self.to_dict(), self.rows)[0]

    def to_dict(self, block: int | None = None) -> dict[str, Any]:
        """Return what a worker needs, with `rows`, to read the features of all stores or of one of them."""
        blocks = list(range(len(self.stores))) if block is None else [block]
        views = {self.stores[each].meta.views for each in blocks}
        return {
            "blocks": blocks,
            "folders": [str(self.stores[each].folder.resolve()) for each in blocks],
            "scales": [self.scales[each] for each in blocks],
            "views": views.pop() if len(views) == 1 else 0,
        }


def read_features(document: dict[str, Any], rows: Rows) -> list[Features]:
    """Return what `Source.to_dict` described: the plain features (N, D), then each augmented view.

    `rows` (S, N) are each image's row in every store of the source.
    """
    folders, places = [Path(folder) for folder in document["folders"]], list(rows[document["blocks"]])
    return [
        Features([folder / name for folder in folders], rows=places, scales=document["scales"])
        for name in array_names(document["views"])
    ]


def _scale(store: EmbeddingStore) -> float:
    """Return the factor that makes a store's mean squared row length 1."""
    X = Features([store.folder / "embeddings.npy"])
    total = sum(float(np.einsum("nd,nd->", rows, rows, dtype=np.float64)) for _, rows in blocks(X))
    return float((len(X) / total) ** 0.5) if total else 1.0
