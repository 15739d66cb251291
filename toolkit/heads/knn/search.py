"""The most similar training rows: all rows compared, or those that an index proposes, in memory or on disk.

No torch here: it and faiss bring an OpenMP runtime each.
"""

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from toolkit.arrays.features import BLOCK_BYTES, Features, Matrix, blocks, finite, unit_rows
from toolkit.arrays.sampling import draw
from toolkit.arrays.types import Float32Array, Int64Array
from toolkit.files.atomic import replacing
from toolkit.files.npy import write_header
from toolkit.heads.transforms import FeatureTransform
from toolkit.runtime.progress import Progress

logger = logging.getLogger(__name__)

SPARE = 8  # neighbours searched beyond k, so that ties at the k-th place are broken by row and not by chance
RECALL = 0.95
"""Share of the true neighbours an index has to find; more lists are scanned until it does."""
DIMS = 128  # of the projection that candidates are found in
CANDIDATES = 2  # rows compared exactly for every neighbour wanted
_LISTS = 4.0  # number of lists divided by the square root of rows, as faiss's guidelines advise
_LEAST_A_LIST = 39  # rows a list that faiss asks for in training
_MOST_A_LIST = 64  # more do not improve the centroids and cost minutes at a million rows
_SAMPLE = 20_000  # rows that the projection is learned from
_ASKED = 200  # rows that the recall is measured on
_QUERIES = 1024  # searched in the index at a time


class TransformedRows:
    """Rows (N, D) of `source`, transformed, of length 1 and in float16 precision: a source of `Features`.

    float16 is the precision of the file they are saved to, so that a loaded head scores as the fitted one.
    """

    def __init__(self, source: Features, transform: FeatureTransform) -> None:
        self._source, self._transform = source, transform
        self.shape = source.shape

    def __getitem__(self, rows: Any) -> Float32Array:
        unit = unit_rows(self._transform(finite(self._source[rows])))
        return unit.astype(np.float16).astype(np.float32)


class StackedRows:
    """Rows (N, D), then further rows (n, D), on disk or in memory: a source of `Features`."""

    def __init__(self, rows: Matrix, more: Matrix) -> None:
        self._rows, self._more = rows, more
        self.shape = (len(rows) + len(more), rows.shape[1])

    def __getitem__(self, rows: Any) -> Float32Array:
        numbers = np.arange(self.shape[0])[rows]
        out = np.empty((len(numbers), self.shape[1]), np.float32)
        first = numbers < len(self._rows)
        out[first], out[~first] = self._rows[numbers[first]], self._more[numbers[~first] - len(self._rows)]
        return out


Neighbours = tuple[Float32Array, Int64Array]
"""Similarities and row numbers, (n, k) each."""


def transformed(X: Matrix, transform: FeatureTransform) -> Matrix:
    """Return the unit rows (N, D) of X: an array made block by block, or left on disk if X is there."""
    if isinstance(X, Features):
        return Features([TransformedRows(X, transform)])
    out = np.empty(X.shape, np.float32)
    for part, rows in blocks(X):
        out[part] = unit_rows(transform(rows))
    return out


def joined(rows: Matrix, more: Matrix) -> Matrix:
    """Return both, one after the other; in memory only if both are."""
    if isinstance(rows, Features) or isinstance(more, Features):
        return Features([StackedRows(rows, more)])
    return np.concatenate([rows, more])


def write_rows(path: Path, rows: Matrix) -> None:
    """Write the rows as a ``.npy``: float32 from memory, float16 block by block from disk.

    A file of that name is replaced at the end: `rows` may be reading from it.
    """
    kind = "float16" if isinstance(rows, Features) else "float32"
    with replacing(path) as fresh, fresh.open("wb") as file:
        write_header(file, kind, (len(rows), rows.shape[1]))
        for _, block in blocks(rows):
            block.astype(kind, copy=False).tofile(file)


def nearest(queries: Float32Array, rows: Matrix, k: int, index: "ListIndex | None" = None) -> Neighbours:
    """Return the min(k, N) rows most similar to each query, most similar first.

    faiss multiplies few queries by other code than many, and the last bits differ: rounding to six decimals,
    then ordering by row number, makes the result for a query independent of the other queries.

    Queries (n, D) and rows (N, D) are of length 1, or 0. The index proposes rows to compare; without it all
    are compared.
    """
    N = len(rows)
    wanted = min(k + SPARE, N)
    if not len(queries):
        return np.empty((0, min(k, N)), np.float32), np.empty((0, min(k, N)), np.int64)
    find = _exact if index is None else index.search
    sims, ids = find(queries, rows, wanted)
    sims = np.round(sims, 6)
    order = np.lexsort((ids, -sims), axis=1)[:, : min(k, N)]
    return np.take_along_axis(sims, order, axis=1), np.take_along_axis(ids, order, axis=1)


def _exact(queries: Float32Array, rows: Matrix, wanted: int) -> Neighbours:
    """Compare all rows, those on disk a block at a time, and keep the best `wanted`, in no certain order."""
    import faiss

    whole = isinstance(rows, np.ndarray)
    parts: Iterable[tuple[slice, Any]] = [(slice(0, len(rows)), rows)] if whole else blocks(rows)
    sims, ids = np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), np.int64)
    for part, block in parts:
        more, at = faiss.knn(queries, block, min(wanted, len(block)), metric=faiss.METRIC_INNER_PRODUCT)
        sims, ids = np.hstack([sims, more]), np.hstack([ids, at + part.start])
        if sims.shape[1] > wanted:
            best = np.argpartition(-sims, wanted - 1, axis=1)[:, :wanted]
            sims, ids = np.take_along_axis(sims, best, axis=1), np.take_along_axis(ids, best, axis=1)
    return sims, ids


class ListIndex:
    """Rows in lists around centroids, on their main axes (faiss IVF, one byte a dimension), 136 bytes a row.

    A search scans the `nprobe` nearest lists, and compares the best `CANDIDATES` rows for every one wanted
    exactly, in all dimensions.

    Attributes
    ----------
    axes : ndarray (D, d) float32
        The projection: main axes of the rows about zero, which keep inner products best.
    nprobe : int
        Chosen by `build`, the least power of two that reaches `RECALL` on `_ASKED` rows, or all lists.
    recall : float
        The share of the nearest `k` rows that it found there.
    """

    def __init__(self, lists: Any, axes: Float32Array, nprobe: int, recall: float) -> None:
        self._lists, self.axes, self.nprobe, self.recall = lists, axes, nprobe, recall
        self._centroids = lists.quantizer.reconstruct_n(0, lists.nlist)

    @classmethod
    def build(cls, rows: Matrix, k: int, seed: int, progress: Progress) -> Self:
        """Index the rows (N, D); `nprobe` is chosen for `k` neighbours."""
        import faiss

        N = len(rows)
        axes = _main_axes(rows, seed)
        reduced = np.empty((N, axes.shape[1]), np.float32)
        for part, block in blocks(rows):
            reduced[part] = block @ axes
            progress("project rows", part.stop, N)
        n_lists = max(1, min(int(_LISTS * N**0.5), N // _LEAST_A_LIST))
        metric = faiss.METRIC_INNER_PRODUCT
        quantizer = faiss.IndexFlat(axes.shape[1], metric)
        kind = faiss.ScalarQuantizer.QT_8bit
        lists = faiss.IndexIVFScalarQuantizer(quantizer, axes.shape[1], n_lists, kind, metric)
        lists.cp.seed, lists.cp.max_points_per_centroid = seed, _MOST_A_LIST
        lists.cp.min_points_per_centroid = 1  # fewer rows than `_LEAST_A_LIST` make one list
        lists.train(reduced)
        lists.add(reduced)
        del reduced
        index = cls(lists, axes, 1, 0.0)
        index._choose_nprobe(rows, k, seed, progress)
        return index

    def _choose_nprobe(self, rows: Matrix, k: int, seed: int, progress: Progress) -> None:
        asked = draw(len(rows), _ASKED, seed)
        queries, k = rows[asked], min(k, len(rows) - 1)
        truth, enough = nearest(queries, rows, k + 1)[0], False
        while not enough:
            sims = nearest(queries, rows, k + 1, self)[0]
            # by similarity, not number, since any duplicate will do; minus one to exclude the self-match
            hits = (sims >= truth[:, -1:] - 2e-6).sum(axis=1) - 1
            self.recall = float(hits.mean() / k) if k else 1.0
            enough = self.recall >= RECALL or self.nprobe == self._lists.nlist
            total = self.nprobe if enough else self._lists.nlist
            progress("choose lists to scan", self.nprobe, total, f"recall {self.recall:.3f}")
            if not enough:
                self.nprobe = min(2 * self.nprobe, self._lists.nlist)
        # whatever the recall: always warn about approximate search
        logger.warning(
            "%s rows are searched through an index, which finds %.3f of the nearest ones; -o index=exact "
            "finds all, more slowly",
            f"{len(rows):,}",
            self.recall,
        )

    def add(self, rows: Matrix) -> None:
        """Put further rows (n, D) into the lists; nothing is learned again."""
        for _, block in blocks(rows):
            self._lists.add(block @ self.axes)

    def search(self, queries: Float32Array, rows: Matrix, wanted: int, nprobe: int = 0) -> Neighbours:
        """Return `wanted` neighbours of each query, in no certain order, from `nprobe` lists.

        By default from as many as `build` chose. For a query whose lists hold fewer rows than wanted, four
        times as many are scanned.
        """
        nprobe = nprobe or self.nprobe
        asked = min(CANDIDATES * wanted, len(rows))
        sims = np.empty((len(queries), wanted), np.float32)
        ids = np.empty((len(queries), wanted), np.int64)
        for start in range(0, len(queries), _QUERIES):
            part = slice(start, start + _QUERIES)
            candidates = self._candidates(queries[part], asked, nprobe)
            exact = _similarities(queries[part], rows, candidates)
            best = np.argpartition(-exact, wanted - 1, axis=1)[:, :wanted]
            sims[part] = np.take_along_axis(exact, best, axis=1)
            ids[part] = np.take_along_axis(candidates, best, axis=1)
        short = (ids < 0).any(axis=1)
        if short.any():
            more = min(4 * nprobe, self._lists.nlist)  # all lists hold enough
            sims[short], ids[short] = self.search(queries[short], rows, wanted, more)
        return sims, ids

    def _candidates(self, queries: Float32Array, asked: int, nprobe: int) -> Int64Array:
        """Return row numbers (n, asked), -1 if the lists scanned hold no more.

        The lists are chosen here, by rounded similarities, for the reason stated in `nearest`.
        """
        reduced = queries @ self.axes
        sims = np.round(reduced @ self._centroids.T, 5)
        lists = np.argsort(-sims, axis=1, kind="stable")[:, :nprobe]
        best = np.ascontiguousarray(np.take_along_axis(sims, lists, axis=1))
        self._lists.nprobe = nprobe
        ids: Int64Array = self._lists.search_preassigned(reduced, asked, lists.astype(np.int64), best)[1]
        return ids

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return what `restore` needs, by name."""
        import faiss

        return {"index_lists": faiss.serialize_index(self._lists), "index_axes": self.axes}

    @classmethod
    def restore(cls, arrays: dict[str, NDArray[Any]], nprobe: int, recall: float) -> Self:
        """Return the index that `arrays` described."""
        import faiss

        return cls(faiss.deserialize_index(arrays["index_lists"]), arrays["index_axes"], nprobe, recall)


def _main_axes(rows: Matrix, seed: int) -> Float32Array:
    """Return the eigenvectors (D, d) of the largest d eigenvalues of a sample's second moments."""
    D = rows.shape[1]
    sample = draw(len(rows), _SAMPLE, seed)
    moments = np.zeros((D, D))
    for part in np.array_split(sample, -(-len(sample) * D * 4 // BLOCK_BYTES)):
        block = rows[part]
        moments += block.T @ block
    vectors = np.linalg.eigh(moments)[1]
    return np.ascontiguousarray(vectors[:, ::-1][:, :DIMS], np.float32)


def _similarities(queries: Float32Array, rows: Matrix, ids: Int64Array) -> Float32Array:
    """Return the inner products (n, c) of each query with its own candidates; -inf for number -1."""
    out = np.empty(ids.shape, np.float32)
    step = max(1, BLOCK_BYTES // (4 * ids.shape[1] * queries.shape[1]))
    for start in range(0, len(queries), step):
        part = slice(start, start + step)
        distinct, inverse = np.unique(ids[part], return_inverse=True)
        values = rows[np.maximum(distinct, 0)]
        for at, (query, own) in enumerate(zip(queries[part], inverse.reshape(ids[part].shape), strict=True)):
            out[start + at] = values[own] @ query
    out[ids < 0] = -np.inf
    return out
