"""The most similar of the training rows: all compared, or those that an index proposes, wherever they lie.

No torch here: it and faiss bring an OpenMP runtime each.
"""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from toolkit.arrays.features import BLOCK_BYTES, Features, Matrix, blocks, finite, loaded, unit_rows
from toolkit.arrays.sampling import draw
from toolkit.heads.transforms import FeatureTransform
from toolkit.runtime.progress import Progress

logger = logging.getLogger(__name__)

Array = NDArray[np.float32]
Ids = NDArray[np.int64]

SPARE = 8  # neighbours searched beyond k, so that ties at the k-th place are broken by row and not by chance
RECALL = 0.95
"""Share of the true neighbours an index has to find; more lists are scanned until it does."""
DIMS = 128  # of the projection that candidates are found in
CANDIDATES = 2  # rows compared exactly for every neighbour wanted
_LISTS = 4.0  # lists a square root of rows, as faiss's guidelines have it
_LEAST_A_LIST = 39  # rows a list that faiss wants to see in training
_MOST_A_LIST = 64  # more are of no use to the centroids and cost minutes at a million rows
_SAMPLE = 20_000  # rows that the projection is learned from
_ASKED = 200  # rows that the recall is measured on
_QUERIES = 1024  # searched in the index at a time


class StoredRows:
    """Unit rows (N, D) too large for memory: read, and where need be transformed, when asked for.

    Parameters
    ----------
    parts : sequence of matrix (n, D)
        Anything with a shape that an integer array of row numbers indexes; they follow one another.
    """

    def __init__(self, parts: Sequence[Any]) -> None:
        self.parts = list(parts)
        self._starts = np.cumsum([0, *(part.shape[0] for part in parts)])
        self.shape = (int(self._starts[-1]), int(parts[0].shape[1]))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> Array:
        wanted = np.arange(*rows.indices(len(self))) if isinstance(rows, slice) else np.asarray(rows)
        out = np.empty((len(wanted), self.shape[1]), np.float32)
        for part, start in zip(self.parts, self._starts[:-1], strict=True):
            inside = (wanted >= start) & (wanted < start + part.shape[0])
            if inside.any():
                out[inside] = part[wanted[inside] - start]
        return out


class TransformedRows:
    """Rows (N, D) of `source`, transformed, to unit length and in float16 precision whenever they are read.

    The precision is that of the file they are saved to, so that a loaded head scores as the fitted one.
    """

    def __init__(self, source: Features, transform: FeatureTransform) -> None:
        self._source, self._transform = source, transform
        self.shape = source.shape

    def __getitem__(self, rows: Any) -> Array:
        read = unit_rows(self._transform(finite(self._source[rows])))
        return read.astype(np.float16).astype(np.float32)


UnitRows = Array | StoredRows


def transformed(X: Matrix, transform: FeatureTransform) -> UnitRows:
    """Return the unit rows (N, D) of X: an array made block by block, or left on disk where X is."""
    if isinstance(X, Features):
        return StoredRows([TransformedRows(X, transform)])
    out = np.empty(X.shape, np.float32)
    for part, rows in blocks(X):
        out[part] = unit_rows(transform(rows))
    return out


def joined(rows: UnitRows, more: UnitRows) -> UnitRows:
    """Return both, one after the other; in memory only if both are."""
    if isinstance(rows, StoredRows) or isinstance(more, StoredRows):
        return StoredRows([*_parts(rows), *_parts(more)])
    return np.concatenate([rows, more])


def _parts(rows: UnitRows) -> list[Any]:
    return rows.parts if isinstance(rows, StoredRows) else [rows]


def write_rows(path: Path, rows: UnitRows) -> None:
    """Write the rows as a ``.npy``: float32 as they are from memory, float16 block by block from disk.

    It replaces a file of that name at the end: `rows` may be reading from it.
    """
    stored = isinstance(rows, StoredRows)
    part = path.with_suffix(".part")
    kind = "<f2" if stored else "<f4"
    header = {"descr": kind, "fortran_order": False, "shape": rows.shape}
    with part.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for _, block in blocks(rows):
            block.astype(kind, copy=False).tofile(file)
    part.replace(path)


def read_rows(path: Path) -> UnitRows:
    """Read what `write_rows` wrote: into memory what fits (`IN_MEMORY`), lazily the rest.

    Raises
    ------
    HeadError
        There is no such file.
    """
    rows = loaded(Features([path]))
    return StoredRows([rows]) if isinstance(rows, Features) else np.asarray(rows)


def nearest(queries: Array, rows: UnitRows, k: int, index: "ListIndex | None" = None) -> tuple[Array, Ids]:
    """Return similarities and numbers (n, min(k, N)) of the rows most like each query, most similar first.

    faiss multiplies few queries by other code than many, and the last bits differ: rounding to six decimals,
    then ordering by row number, makes the answer for a row independent of the rows asked with it.

    Parameters
    ----------
    queries : ndarray (n, D) float32
        Of length 1, or 0.
    rows : matrix (N, D)
        Of length 1, or 0.
    k : int
    index : ListIndex, optional
        Proposes the rows that are compared; by default all are.
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


def _exact(queries: Array, rows: UnitRows, wanted: int) -> tuple[Array, Ids]:
    """Compare all rows, those on disk a block at a time, and keep the best `wanted`, in no certain order."""
    import faiss

    parts: Iterator[tuple[slice, Array]] = (
        iter([(slice(0, len(rows)), rows)]) if isinstance(rows, np.ndarray) else blocks(rows)
    )
    sims, ids = np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), np.int64)
    for part, block in parts:
        near, who = faiss.knn(queries, block, min(wanted, len(block)), metric=faiss.METRIC_INNER_PRODUCT)
        sims, ids = np.hstack([sims, near]), np.hstack([ids, who + part.start])
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
        The share of the nearest `k` rows that was found there.
    """

    def __init__(self, lists: Any, axes: Array, nprobe: int, recall: float) -> None:
        self._lists, self.axes, self.nprobe, self.recall = lists, axes, nprobe, recall
        self._centroids = lists.quantizer.reconstruct_n(0, lists.nlist)

    @classmethod
    def build(cls, rows: UnitRows, k: int, seed: int, progress: Progress) -> Self:
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
        lists.cp.min_points_per_centroid = 1  # a set of fewer rows than `_LEAST_A_LIST` is one list
        lists.train(reduced)
        lists.add(reduced)
        del reduced
        found = cls(lists, axes, 1, 0.0)
        found._probe_enough(rows, k, seed, progress)
        return found

    def _probe_enough(self, rows: UnitRows, k: int, seed: int, progress: Progress) -> None:
        asked = draw(len(rows), _ASKED, seed)
        queries, k = rows[asked], min(k, len(rows) - 1)
        truth = nearest(queries, rows, k + 1)[0]
        while True:
            found = nearest(queries, rows, k + 1, self)[0]
            # by similarity, not number: of duplicates any will do; each row finds itself, which is no merit
            hits = (found >= truth[:, -1:] - 2e-6).sum(axis=1) - 1
            self.recall = float(hits.mean() / k) if k else 1.0
            progress("choose lists to scan", self.nprobe, self._lists.nlist, f"recall {self.recall:.3f}")
            if self.recall >= RECALL or self.nprobe == self._lists.nlist:
                break
            self.nprobe = min(2 * self.nprobe, self._lists.nlist)
        # told whatever it is: neighbours that are not the nearest must not come unannounced
        logger.warning(
            "%s rows are searched through an index, which finds %.3f of the nearest ones; -o index=exact "
            "finds all, more slowly",
            f"{len(rows):,}",
            self.recall,
        )

    def add(self, rows: UnitRows) -> None:
        """Put further rows (n, D) into the lists; nothing is learned anew."""
        for _, block in blocks(rows):
            self._lists.add(block @ self.axes)

    def search(self, queries: Array, rows: UnitRows, wanted: int) -> tuple[Array, Ids]:
        """Return similarities and numbers (n, wanted) of the rows found, in no certain order.

        For a query whose lists hold fewer rows, four times as many are scanned.
        """
        return self._search(queries, rows, wanted, self.nprobe)

    def _search(self, queries: Array, rows: UnitRows, wanted: int, nprobe: int) -> tuple[Array, Ids]:
        asked = min(CANDIDATES * wanted, len(rows))
        sims = np.empty((len(queries), wanted), np.float32)
        ids = np.empty((len(queries), wanted), np.int64)
        for start in range(0, len(queries), _QUERIES):
            part = slice(start, start + _QUERIES)
            who = self._candidates(queries[part], asked, nprobe)
            near = _similarities(queries[part], rows, who)
            best = np.argpartition(-near, wanted - 1, axis=1)[:, :wanted]
            sims[part] = np.take_along_axis(near, best, axis=1)
            ids[part] = np.take_along_axis(who, best, axis=1)
        short = (ids < 0).any(axis=1)
        if short.any():
            more = min(4 * nprobe, self._lists.nlist)  # all lists hold enough
            sims[short], ids[short] = self._search(queries[short], rows, wanted, more)
        return sims, ids

    def _candidates(self, queries: Array, asked: int, nprobe: int) -> Ids:
        """Return row numbers (n, asked), -1 where the lists scanned hold no more.

        The lists are chosen here, of rounded similarities, for the reason given in `nearest`.
        """
        reduced = queries @ self.axes
        near = np.round(reduced @ self._centroids.T, 5)
        lists = np.argsort(-near, axis=1, kind="stable")[:, :nprobe]
        best = np.ascontiguousarray(np.take_along_axis(near, lists, axis=1))
        self._lists.nprobe = nprobe
        ids: Ids = self._lists.search_preassigned(reduced, asked, lists.astype(np.int64), best)[1]
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


def _main_axes(rows: UnitRows, seed: int) -> Array:
    """Return the eigenvectors (D, d) of the largest d eigenvalues of a sample's second moments."""
    D = rows.shape[1]
    drawn = draw(len(rows), _SAMPLE, seed)
    moments = np.zeros((D, D))
    for few in np.array_split(drawn, -(-len(drawn) * D * 4 // BLOCK_BYTES)):
        block = rows[few]
        moments += block.T @ block
    vectors = np.linalg.eigh(moments)[1]
    return np.ascontiguousarray(vectors[:, ::-1][:, :DIMS], np.float32)


def _similarities(queries: Array, rows: UnitRows, ids: Ids) -> Array:
    """Return the inner products (n, c) of each query with its own candidates; -inf for number -1."""
    out = np.empty(ids.shape, np.float32)
    step = max(1, BLOCK_BYTES // (4 * ids.shape[1] * queries.shape[1]))
    for start in range(0, len(queries), step):
        part = slice(start, start + step)
        who, place = np.unique(ids[part], return_inverse=True)
        read = rows[np.maximum(who, 0)]
        for at, (query, mine) in enumerate(zip(queries[part], place.reshape(ids[part].shape), strict=True)):
            out[start + at] = read[mine] @ query
    out[ids < 0] = -np.inf
    return out
