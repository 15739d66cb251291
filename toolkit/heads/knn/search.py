"""Search for the most similar training rows, exact or through an index, in memory or on disk."""

import logging
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from toolkit.arrays.features import BLOCK_BYTES, Features, Matrix, blocks, finite, unit_rows
from toolkit.arrays.sampling import draw
from toolkit.arrays.types import Float32Array, Int64Array
from toolkit.files.atomic import replacing
from toolkit.files.npy import Expected, write_header
from toolkit.heads.transforms import FeatureTransform
from toolkit.runtime.progress import Progress

logger = logging.getLogger(__name__)

SPARE = 8  # neighbours searched beyond k, so that ties at the k-th place are broken by row number
RECALL = 0.95  # least share of the true neighbours in the results of an index
DIMS = 128  # of the projection in which an index searches
CANDIDATES = 2  # rows compared exactly for each neighbour
_LISTS = 4.0  # number of lists divided by the square root of the number of rows: faiss's guideline
_LEAST_A_LIST = 39  # training rows in a list: faiss's minimum
_MOST_A_LIST = 64  # training rows in a list: more cost minutes and do not improve centroids
_SAMPLE = 20_000  # rows from which the projection is learned
_RECALL_ROWS = 200  # rows on which the recall is measured
_QUERIES = 1024  # searched in the index at a time

Neighbours = tuple[Float32Array, Int64Array]  # similarities and row numbers, (n, k) each


class TransformedRows:
    """Rows (N, D) of `source`, transformed, of length 1 and in float16 precision: a source of `Features`.

    They are saved as float16, so a loaded head gives the same scores as the fitted one.
    """

    def __init__(self, source: Features, transform: FeatureTransform) -> None:
        self._source, self._transform = source, transform
        self.shape = source.shape

    def __getitem__(self, rows: Any) -> Float32Array:
        unit = unit_rows(self._transform(finite(self._source[rows])))
        return unit.astype(np.float16).astype(np.float32)


class StackedRows:
    """Rows (N, D) followed by more rows (n, D), on disk or in memory: a source of `Features`."""

    def __init__(self, rows: Matrix, more: Matrix) -> None:
        self._rows, self._more = rows, more
        self.shape = (len(rows) + len(more), rows.shape[1])

    def __getitem__(self, rows: Any) -> Float32Array:
        numbers = np.arange(self.shape[0])[rows]
        out = np.empty((len(numbers), self.shape[1]), np.float32)
        first = numbers < len(self._rows)
        out[first], out[~first] = self._rows[numbers[first]], self._more[numbers[~first] - len(self._rows)]
        return out


def transformed(X: Matrix, transform: FeatureTransform) -> Matrix:
    """Return the transformed rows (N, D) of X, of length 1; rows on disk are transformed when read."""
    if isinstance(X, Features):
        return Features([TransformedRows(X, transform)])
    out = np.empty(X.shape, np.float32)
    for part, rows in blocks(X):
        out[part] = unit_rows(transform(rows))
    return out


def joined(rows: Matrix, more: Matrix) -> Matrix:
    """Return `rows` followed by `more`; in memory only if both are."""
    if isinstance(rows, Features) or isinstance(more, Features):
        return Features([StackedRows(rows, more)])
    return np.concatenate([rows, more])


def write_rows(path: Path, rows: Matrix) -> None:
    """Write the rows as a ``.npy``: float32 from memory, float16 block by block from disk.

    An existing file is replaced at the end, since `rows` may be read from it.
    """
    kind = "float16" if isinstance(rows, Features) else "float32"
    with replacing(path) as fresh, fresh.open("wb") as file:
        write_header(file, kind, (len(rows), rows.shape[1]))
        for _, block in blocks(rows):
            block.astype(kind, copy=False).tofile(file)


def nearest(queries: Float32Array, rows: Matrix, k: int, index: "ListIndex | None" = None) -> Neighbours:
    """Return the min(k, N) rows most similar to each query, most similar first; of equals the lower number.

    Queries (n, D) and rows (N, D) have length 1, or 0. With an index, only the rows it proposes are compared.

    faiss multiplies few queries by other code than many, and the last bits differ. Similarities are rounded
    to six decimals, so that the neighbours of a query do not depend on the other queries.
    """
    N = len(rows)
    k, searched = min(k, N), min(k + SPARE, N)
    if not len(queries):
        return np.empty((0, k), np.float32), np.empty((0, k), np.int64)
    sims, ids = (_exact if index is None else index.search)(queries, rows, searched)
    sims = np.round(sims, 6)
    order = np.lexsort((ids, -sims), axis=1)[:, :k]
    return np.take_along_axis(sims, order, axis=1), np.take_along_axis(ids, order, axis=1)


def _exact(queries: Float32Array, rows: Matrix, wanted: int) -> Neighbours:
    """Return the best `wanted` of all rows, unordered; rows on disk are compared a block at a time."""
    import faiss

    sims, ids = np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), np.int64)
    for part, block in blocks(rows) if isinstance(rows, Features) else [(slice(0, len(rows)), rows)]:
        more, at = faiss.knn(queries, block, min(wanted, len(block)), metric=faiss.METRIC_INNER_PRODUCT)
        sims, ids = _best(np.hstack([sims, more]), np.hstack([ids, at + part.start]), wanted)
    return sims, ids


def _best(sims: Float32Array, ids: Int64Array, wanted: int) -> Neighbours:
    """Return the `wanted` candidates of each query with the highest similarity, unordered."""
    if sims.shape[1] <= wanted:
        return sims, ids
    best = np.argpartition(-sims, wanted - 1, axis=1)[:, :wanted]
    return np.take_along_axis(sims, best, axis=1), np.take_along_axis(ids, best, axis=1)


class ListIndex:
    """Projected rows in lists around centroids (faiss IVF, one byte a dimension): 136 bytes a row.

    A search scans the `nprobe` lists nearest to the query in the projection `axes` (D, d), and compares
    `CANDIDATES` rows for each neighbour exactly. `recall` is the share of true neighbours in the results.
    """

    def __init__(self, lists: Any, axes: Float32Array, nprobe: int, recall: float) -> None:
        self._lists, self.axes, self.nprobe, self.recall = lists, axes, nprobe, recall
        self._centroids = lists.quantizer.reconstruct_n(0, lists.nlist)

    @classmethod
    def build(cls, rows: Matrix, k: int, seed: int, progress: Progress) -> Self:
        """Index the rows (N, D) for searches of `k` neighbours.

        `nprobe` is the least power of two that reaches `RECALL` on `_RECALL_ROWS` rows, or all lists.
        """
        N = len(rows)
        axes = _main_axes(rows, seed)
        reduced = np.empty((N, axes.shape[1]), np.float32)
        for part, block in blocks(rows):
            reduced[part] = block @ axes
            progress("project rows", part.stop, N)
        n_lists = max(1, min(int(_LISTS * N**0.5), N // _LEAST_A_LIST))
        lists = _empty_lists(n_lists, axes.shape[1])
        lists.cp.seed, lists.cp.max_points_per_centroid = seed, _MOST_A_LIST
        lists.cp.min_points_per_centroid = 1  # one list may have fewer than `_LEAST_A_LIST`
        lists.train(reduced)
        lists.add(reduced)
        del reduced
        index = cls(lists, axes, 1, 0.0)
        index._choose_nprobe(rows, k, seed, progress)
        return index

    def _choose_nprobe(self, rows: Matrix, k: int, seed: int, progress: Progress) -> None:
        queries, k = rows[draw(len(rows), _RECALL_ROWS, seed)], min(k, len(rows) - 1)
        truth, enough = nearest(queries, rows, k + 1)[0], False
        while not enough:
            sims = nearest(queries, rows, k + 1, self)[0]
            # by similarity, not number, since duplicates are equally good; minus the self-match
            hits = (sims >= truth[:, -1:] - 2e-6).sum(axis=1) - 1
            self.recall = float(hits.mean() / k) if k else 1.0
            enough = self.recall >= RECALL or self.nprobe == self._lists.nlist
            total = self.nprobe if enough else self._lists.nlist
            progress("choose lists to scan", self.nprobe, total, f"recall {self.recall:.3f}")
            if not enough:
                self.nprobe = min(2 * self.nprobe, self._lists.nlist)
        logger.warning(
            "%s rows are searched through an index, which finds %.3f of the nearest ones; -o index=exact "
            "finds all, more slowly",
            f"{len(rows):,}",
            self.recall,
        )

    def add(self, rows: Matrix) -> None:
        """Add rows (n, D) to the lists, whose centroids stay."""
        for _, block in blocks(rows):
            self._lists.add(block @ self.axes)

    def search(self, queries: Float32Array, rows: Matrix, wanted: int, nprobe: int = 0) -> Neighbours:
        """Return `wanted` neighbours of each query, unordered, from `nprobe` lists.

        For queries whose lists hold too few rows, four times as many lists are scanned.
        """
        nprobe = nprobe or self.nprobe
        sims = np.empty((len(queries), wanted), np.float32)
        ids = np.empty((len(queries), wanted), np.int64)
        for start in range(0, len(queries), _QUERIES):
            part = slice(start, start + _QUERIES)
            candidates = self._candidates(queries[part], min(CANDIDATES * wanted, len(rows)), nprobe)
            exact = _similarities(queries[part], rows, candidates)
            sims[part], ids[part] = _best(exact, candidates, wanted)
        short = (ids < 0).any(axis=1)
        if short.any():
            more = min(4 * nprobe, self._lists.nlist)  # all lists together hold enough
            sims[short], ids[short] = self.search(queries[short], rows, wanted, more)
        return sims, ids

    def _candidates(self, queries: Float32Array, count: int, nprobe: int) -> Int64Array:
        """Return row numbers (n, count), -1 if the lists scanned hold no more.

        Lists are chosen by rounded similarities, for the reason stated in `nearest`.
        """
        reduced = queries @ self.axes
        sims = np.round(reduced @ self._centroids.T, 5)
        lists = np.argsort(-sims, axis=1, kind="stable")[:, :nprobe]
        best = np.ascontiguousarray(np.take_along_axis(sims, lists, axis=1))
        self._lists.nprobe = nprobe
        ids: Int64Array = self._lists.search_preassigned(reduced, count, lists.astype(np.int64), best)[1]
        return ids

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return what `restore` needs, by name: plain arrays, as faiss's own format cannot be checked.

        ``index_list`` (N,) is the list of each row and ``index_codes`` (N, d) its bytes there.
        """
        import faiss

        lists, kept = np.empty(self._lists.ntotal, np.int32), self._lists.invlists
        codes = np.empty((len(lists), self.axes.shape[1]), np.uint8)
        for number in range(self._lists.nlist):
            size = kept.list_size(number)
            if size:
                rows = faiss.rev_swig_ptr(kept.get_ids(number), size)
                lists[rows] = number
                codes[rows] = faiss.rev_swig_ptr(kept.get_codes(number), size * codes.shape[1]).reshape(
                    size, -1
                )
        return {
            "index_axes": self.axes,
            "index_centroids": self._centroids,
            "index_ranges": faiss.vector_to_array(self._lists.sq.trained),
            "index_list": lists,
            "index_codes": codes,
        }

    @staticmethod
    def expected(name: str) -> Expected:
        """Return what the array `name` of `arrays` must be; `ValueError` if it has none of that name.

        ``index_lists``, in faiss's own format, was written by earlier versions.
        """
        known = {
            "index_axes": Expected(dtype="float32", shape=(None, None)),
            "index_centroids": Expected(dtype="float32", shape=(None, None)),
            "index_ranges": Expected(dtype="float32", shape=(None,)),
            "index_list": Expected(dtype="int32", shape=(None,), low=0),
            "index_codes": Expected(dtype="uint8", shape=(None, None)),
            "index_lists": Expected(dtype="uint8", shape=(None,)),
        }
        if name not in known:
            raise ValueError(f"it has no array {name!r}")
        return known[name]

    @classmethod
    def restore(
        cls, arrays: dict[str, NDArray[Any]], shape: tuple[int, int], *, nprobe: int, recall: float
    ) -> Self:
        """Return the index of rows of that shape (N, D) from what `arrays` returned; searches are equal."""
        import faiss

        axes, centroids, ranges, list_of, codes = _consistent(arrays, shape, nprobe)
        lists = _empty_lists(len(centroids), axes.shape[1])
        lists.quantizer.add(centroids)
        faiss.copy_array_to_vector(ranges, lists.sq.trained)
        lists.is_trained = True
        order = np.argsort(list_of, kind="stable")
        ends = np.searchsorted(list_of[order], np.arange(len(centroids) + 1))
        for number, (start, stop) in enumerate(pairwise(ends.tolist())):
            if stop > start:
                rows = order[start:stop].astype(np.int64)
                own = np.ascontiguousarray(codes[rows])
                lists.invlists.add_entries(number, len(rows), faiss.swig_ptr(rows), faiss.swig_ptr(own))
        lists.ntotal = len(list_of)
        return cls(lists, axes, nprobe, recall)


def _empty_lists(n_lists: int, dims: int) -> Any:
    """Return a faiss index of that many lists, not trained."""
    import faiss

    kind, metric = faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT
    return faiss.IndexIVFScalarQuantizer(faiss.IndexFlat(dims, metric), dims, n_lists, kind, metric)


def _consistent(
    arrays: dict[str, NDArray[Any]], shape: tuple[int, int], nprobe: int
) -> tuple[NDArray[Any], ...]:
    """Return the arrays of an index of rows (N, D); `ValueError` unless they fit one another."""
    axes, centroids, ranges = (arrays[f"index_{name}"] for name in ("axes", "centroids", "ranges"))
    list_of, codes = arrays["index_list"], arrays["index_codes"]
    (N, D), (dims, n_lists) = shape, (axes.shape[1], len(centroids))
    shapes = [each.shape for each in (axes, centroids, ranges, list_of, codes)]
    if shapes != [(D, dims), (n_lists, dims), (2 * dims,), (N,), (N, dims)] or not 0 < dims <= D:
        raise ValueError(f"its index is not of {N:,} rows of {D:,} features")
    if N and not list_of.max() < n_lists:
        raise ValueError(f"its index has rows in lists beyond its {n_lists:,}")
    if nprobe > n_lists:
        raise ValueError(f"its search scans {nprobe:,} of {n_lists:,} lists")
    return axes, centroids, ranges, list_of, codes


def _main_axes(rows: Matrix, seed: int) -> Float32Array:
    """Return the main axes (D, d) of a sample about zero, which keep inner products best."""
    D, sample = rows.shape[1], draw(len(rows), _SAMPLE, seed)
    moments = np.zeros((D, D))
    for part in np.array_split(sample, -(-len(sample) * D * 4 // BLOCK_BYTES)):
        block = rows[part]
        moments += block.T @ block
    vectors = np.linalg.eigh(moments)[1]
    return np.ascontiguousarray(vectors[:, ::-1][:, :DIMS], np.float32)


def _similarities(queries: Float32Array, rows: Matrix, ids: Int64Array) -> Float32Array:
    """Return the inner products (n, c) of each query with its candidates `ids`; -inf for -1."""
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
