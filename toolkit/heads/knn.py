"""Nearest neighbours: the tags of the most similar training rows, each weighted by its similarity.

The search is exact (faiss, inner product of unit rows) and, at any k, done once; voting is a product of two
sparse matrices. No torch here: it and faiss bring an OpenMP runtime each.
"""

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Self

import numpy as np
import scipy.sparse as sp
from annotated_types import Ge, Gt
from numpy.typing import NDArray

from toolkit.decisions import best_threshold
from toolkit.errors import HeadError
from toolkit.heads.base import Array, HeadBase, Val, check_fit, check_val
from toolkit.heads.options import check_options
from toolkit.heads.transforms import FeatureTransform, TransformName, unit_rows
from toolkit.progress import Progress, silent

Ids = NDArray[np.int64]

# Largest first: of two equally good values the one that smooths more is kept.
K_GRID = (200, 150, 100, 70, 50, 30, 20, 15, 10, 7, 5, 3)
T_GRID = (5.0, 1.0, 0.5, 0.3, 0.2, 0.15, 0.1, 0.07, 0.05, 0.03, 0.02)
DEFAULT_K, DEFAULT_T = 20, 0.07  # where no row is left to choose on; T as in DINO's kNN evaluation
TUNING_ROWS = 2000  # rows that k and T are chosen on, at most: 35,000 left-out searches would take minutes
SPARE = 8  # neighbours searched beyond k, so that ties at the k-th place are broken by row and not by chance
_BLOCK = 16_000_000  # scores held densely at once while voting


class Knn(HeadBase):
    """Similarity-weighted voting of the k nearest training rows.

    ``score = sum_j w_j y_j / sum_j w_j`` over the k nearest rows j with ``w_j = exp((s_j - max s) / T)``
    and s the cosine of transformed rows (the weights of DINO's kNN evaluation, arXiv 2104.14294).

    Parameters
    ----------
    k : int, optional
        Neighbours that vote; None chooses among `K_GRID`. More than there are rows means all rows.
    temperature : float, optional
        Small: the nearest rows decide; large: all k vote alike. None chooses among `T_GRID`.
    transform : str
        What is done to the features before rows are scaled to length 1. On pooled ResNet50 features of
        ucmerced ``l2`` and ``centered-sqrt-l2`` tie once k and temperature are tuned; on coco_small the
        latter is ahead by .2 points of micro-F1.
    seed : int
        Which rows k and temperature are chosen on where there are more than `TUNING_ROWS`.

    Attributes
    ----------
    k_, temperature_ : int, float
        The values in use.
    tuning_ : list of dict
        ``k``, ``temperature`` and ``micro_f1`` (at the best global threshold) of every combination tried.
    """

    name: ClassVar[str] = "knn"

    def __init__(
        self,
        *,
        k: Annotated[int, Ge(1)] | None = None,
        temperature: Annotated[float, Gt(0)] | None = None,
        transform: TransformName = "centered-sqrt-l2",
        seed: int = 0,
    ) -> None:
        self.k = k
        self.temperature = temperature
        self.transform = transform
        self.seed = seed

    def fit(self, X: Any, Y: sp.csr_array, *, val: Val | None = None, progress: Progress = silent) -> Self:
        """Keep the rows X (N, D) and tags Y (N, L); choose k and temperature where they are None.

        They are chosen by micro-F1 at the best global threshold, on `val` or else on the training rows, each
        voted on by all others (left out by row number, so a duplicate of a row still counts).

        Raises
        ------
        HeadError
            If the arrays do not fit together or hold NaN.
        OptionError
            If an option has a value that is not allowed.
        """
        check_options(self)
        features, self._Y = check_fit(X, Y)
        pair = None if val is None else check_val(val, features.shape[1], self._Y.shape[1])
        self.n_features_, self.n_tags_ = features.shape[1], self._Y.shape[1]
        self.transform_ = FeatureTransform.fit(self.transform, features)
        self._rows = unit_rows(self.transform_(features))
        self._votes_of_all = np.asarray(self._Y.mean(axis=0, dtype=np.float64), np.float32)
        self.k_, self.temperature_, self.tuning_ = self._choose(pair, progress)
        return self

    def scores(self, X: Any) -> Array:
        """Return the weighted share of neighbours that carry each tag, (N, L) float32 in [0, 1].

        A row that is all zero after the transform is like no other: every training row votes alike on it.
        """
        queries = self._prepared(X)
        sims, ids = self._search(queries, self.k_)
        out = np.empty((len(queries), self.n_tags_), np.float32)
        for block in _blocks(len(queries), self.n_tags_):
            out[block] = self._vote(sims[block], ids[block], self.k_, self.temperature_)
        out[~queries.any(axis=1)] = self._votes_of_all
        return np.clip(out, 0, 1, out=out)

    def neighbours(self, X: Any, k: int) -> tuple[Ids, Array]:
        """Return the `k` nearest training rows of each row of X (N, D), nearest first.

        Returns
        -------
        ids : ndarray (N, min(k, number of training rows)) int64
            Row numbers in the X given to `fit`; of equally similar rows the lower number comes first.
        similarities : ndarray, same shape, float32
            Cosines of the transformed rows, rounded to six decimals.

        Raises
        ------
        HeadError
            If `k` is below 1, the head is not fitted, or X does not fit it.
        """
        if k < 1:
            raise HeadError(f"k must be 1 or more, it is {k}")
        sims, ids = self._search(self._prepared(X), k)
        return ids, sims

    def chosen(self) -> dict[str, Any]:
        """Return the options with the k and temperature in use filled in."""
        self._check_fitted()
        return self.get_params() | {"k": self.k_, "temperature": self.temperature_}

    def _prepared(self, X: Any) -> Array:
        features = self._check_X(X)  # first: an unfitted head has no transform_
        return unit_rows(self.transform_(features))

    def _search(self, queries: Array, k: int) -> tuple[Array, Ids]:
        """Return similarities and row numbers (n, min(k, N)) of the nearest rows, in a reproducible order.

        faiss multiplies few queries by other code than many, and the last bits differ: rounding, then
        ordering by row number, makes the answer for a row independent of the rows asked with it.
        """
        import faiss

        N = len(self._rows)
        wanted = min(k + SPARE, N)
        if not len(queries):
            return np.empty((0, min(k, N)), np.float32), np.empty((0, min(k, N)), np.int64)
        sims, ids = faiss.knn(queries, self._rows, wanted, metric=faiss.METRIC_INNER_PRODUCT)
        sims = np.round(sims, 6)
        order = np.lexsort((ids, -sims), axis=1)[:, : min(k, N)]
        return np.take_along_axis(sims, order, axis=1), np.take_along_axis(ids, order, axis=1)

    def _vote(self, sims: Array, ids: Ids, k: int, temperature: float) -> Array:
        """Return the votes (n, L) float32 of the first k of the neighbours given."""
        near, who = sims[:, :k].astype(np.float64), ids[:, :k]
        weights = np.exp((near - near[:, :1]) / temperature)
        weights /= weights.sum(axis=1, keepdims=True)
        n, width = who.shape
        parts = (weights.astype(np.float32).ravel(), who.ravel(), np.arange(0, n * width + 1, width))
        votes: Array = (
            sp.csr_array(parts, shape=(n, len(self._rows))) @ self._Y.astype(np.float32)
        ).toarray()
        return votes

    def _choose(
        self, val: tuple[Array, sp.csr_array] | None, progress: Progress
    ) -> tuple[int, float, list[dict[str, Any]]]:
        """Return k, temperature and the table they were chosen from (empty where nothing was to choose)."""
        N = len(self._rows)
        k, temperature = self.k or min(DEFAULT_K, N), self.temperature or DEFAULT_T
        if self.k is not None and self.temperature is not None:
            return k, temperature, []
        sims, ids, truth = self._left_out() if val is None else self._on(val)
        if not sims.size:
            return k, temperature, []
        widest = sims.shape[1]
        ks = [self.k] if self.k else sorted({min(k, widest) for k in K_GRID}, reverse=True)
        ts = [self.temperature] if self.temperature else list(T_GRID)
        table: list[dict[str, Any]] = []
        for k in ks:
            for temperature in ts:
                f1 = best_threshold(self._vote(sims, ids, k, temperature), truth)[1]
                table.append({"k": k, "temperature": temperature, "micro_f1": f1})
                progress("choose k and temperature", len(table), len(ks) * len(ts), f"micro-F1 {f1:.4f}")
        best = max(table, key=lambda row: row["micro_f1"])
        return best["k"], best["temperature"], table

    def _on(self, val: tuple[Array, sp.csr_array]) -> tuple[Array, Ids, sp.csr_array]:
        """Search for the rows of `val` (a seeded part of them where there are many)."""
        X, Y = val
        rows = self._tuning_rows(len(X))
        queries = unit_rows(self.transform_(X[rows]))
        known = queries.any(axis=1)
        sims, ids = self._search(queries[known], self.k or max(K_GRID))
        return sims, ids, Y[rows[known]]

    def _left_out(self) -> tuple[Array, Ids, sp.csr_array]:
        """Search for training rows among all the others."""
        rows = self._tuning_rows(len(self._rows))
        rows = rows[self._rows[rows].any(axis=1)]
        wanted = min(self.k or max(K_GRID), len(self._rows) - 1)
        sims, ids = self._search(self._rows[rows], wanted + 1)
        other = ids != rows[:, None]
        other[other.all(axis=1), -1] = False  # so many duplicates that the row itself was not found
        shape = (len(rows), wanted)
        return sims[other].reshape(shape), ids[other].reshape(shape), self._Y[rows]

    def _tuning_rows(self, n: int) -> Ids:
        if n <= TUNING_ROWS:
            return np.arange(n)
        return np.sort(np.random.default_rng(self.seed).choice(n, TUNING_ROWS, replace=False))

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return {
            "rows": self._rows,
            "Y_indices": self._Y.indices,
            "Y_indptr": self._Y.indptr,
            "mean": self.transform_.mean,
            "scale": self.transform_.scale,
        }

    def _facts(self) -> dict[str, Any]:
        return {"k": self.k_, "temperature": self.temperature_, "tuning": self.tuning_}

    def _restore(self, arrays: dict[str, NDArray[Any]], facts: dict[str, Any]) -> None:
        self._rows = arrays["rows"]
        indices, indptr = arrays["Y_indices"], arrays["Y_indptr"]
        shape = (len(self._rows), self.n_tags_)
        self._Y = sp.csr_array((np.ones(len(indices), bool), indices, indptr), shape=shape)
        self._votes_of_all = np.asarray(self._Y.mean(axis=0, dtype=np.float64), np.float32)
        self.transform_ = FeatureTransform(self.transform, arrays["mean"], arrays["scale"])
        self.k_, self.temperature_, self.tuning_ = facts["k"], facts["temperature"], facts["tuning"]


def _blocks(n: int, width: int) -> Iterator[slice]:
    """Cut n rows of `width` scores into blocks of bounded size."""
    step = max(1, _BLOCK // max(1, width))
    return (slice(start, start + step) for start in range(0, n, step))
