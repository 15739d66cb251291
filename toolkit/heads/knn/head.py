"""Nearest neighbours: votes of the most similar training rows, weighted by similarity."""

import itertools
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
import scipy.sparse as sp
from annotated_types import Ge, Gt
from msgspec import Meta
from numpy.typing import NDArray

from toolkit.arrays.features import Features, Matrix, blocks, loaded, unit_rows
from toolkit.arrays.sampling import draw
from toolkit.arrays.sparse import COLUMNS, ENDS, checked_csr
from toolkit.arrays.types import Float32Array, Int64Array
from toolkit.errors import HeadError
from toolkit.files.json import typed
from toolkit.files.npy import Expected, shape_text
from toolkit.heads.base import HeadBase, Val, check_fit, check_val
from toolkit.heads.knn.search import ListIndex, Neighbours, joined, nearest, transformed, write_rows
from toolkit.heads.knn.votes import RAW, Coefficients, KnownVotes, as_coefficients, calibrated, shares, votes
from toolkit.heads.transforms import FeatureTransform, TransformName
from toolkit.runtime.messages import counted
from toolkit.runtime.progress import Progress, silent

logger = logging.getLogger(__name__)

# largest first: of two equally good values the one that smooths more is kept
K_GRID = (200, 150, 100, 70, 50, 30, 20, 15, 10, 7, 5, 3)
T_GRID = (5.0, 1.0, 0.5, 0.3, 0.2, 0.15, 0.1, 0.07, 0.05, 0.03, 0.02)
BALANCE_GRID = (0.0, 0.1, -0.1, -0.25)
DEFAULT_K, DEFAULT_T = 20, 0.07  # without rows to choose on; T as in DINO's kNN evaluation
TUNING_ROWS = 2000  # rows on which k and T are chosen: more would take minutes
EXACT_VALUES = 2**28  # values up to which `index=auto` compares all rows: 131,072 rows of 2,048
SAME_ROW = 0.01  # distance up to which two unit rows are equal at float16 precision
_BLOCK = 16_000_000  # scores computed at once


@dataclass(frozen=True)
class _Facts:
    k: Annotated[int, Meta(ge=1)]
    temperature: Annotated[float, Meta(gt=0)]
    balance: float
    calibration: Coefficients
    recall: Annotated[float, Meta(ge=0, le=1)]
    nprobe: Annotated[int, Meta(ge=1)] | None
    tuning: list[dict[str, Any]]


@dataclass(kw_only=True, eq=False, repr=False)
class Knn(HeadBase):
    """Similarity-weighted, calibrated voting of the k nearest training rows.

    ``vote = sum_j w_j y_j / sum_j w_j`` over the k nearest rows j with ``w_j = exp((s_j - max s) / T)`` and s
    the cosine of transformed rows. ``score = sigmoid(a (logit(smoothed vote) - balance logit(share)) + b)``
    with the tag's share of the training rows; balance, a and b are the same for all tags. The balance divides
    odds by a power of the share's, as logit adjustment does (Menon et al., ICLR 2021); a and b are Platt
    scaling.

    `fit` chooses options that are None by micro-F1 at the best global threshold (the calibration by
    log-loss), on at most `TUNING_ROWS` rows of `val`, or of X. There a row does not vote on itself, but its
    duplicates do. `Features` too large to load are transformed whenever they are read, and compared and saved
    as float16.

    Choosing the balance by log-loss, together with a and b, lost .8 points of micro-F1 on corel5k. Counting
    only the nearest few rows of every tag (2PKNN, Verma and Jawahar, ECCV 2012) lost up to 2.7 points on
    scene and yeast.

    Parameters
    ----------
    k : int, optional
        Neighbours that vote, at most all rows. None chooses among `K_GRID`.
    temperature : float, optional
        Small: the nearest rows decide; large: all k vote alike. None chooses among `T_GRID`.
    balance : float, optional
        Above 0 rare tags weigh more than their votes, below 0 less. None chooses among `BALANCE_GRID`.
    calibration : tuple of float, optional
        The numbers a >= 0 and b; ``1,0`` with a balance of 0 leaves smoothed votes unchanged. None learns
        them.
    index : str
        ``exact`` compares all rows; ``approximate`` those that an index proposes; ``auto`` is exact up to
        `EXACT_VALUES` values in the training rows.
    transform : str
        Applied before rows are scaled to length 1. On pooled ResNet50 features of ucmerced ``l2`` and
        ``centered-sqrt-l2`` tie once k and temperature are tuned; on coco_small the latter is ahead by .2
        points of micro-F1.
    seed : int
        Of the choice of `TUNING_ROWS` rows, and of the index.

    Attributes
    ----------
    k_, temperature_, balance_, calibration_ : int, float, float, tuple of float
        The values in use.
    recall_ : float
        The share of true neighbours in the results of the search; 1 if it is exact.
    tuning_ : list of dict
        ``k``, ``temperature``, ``balance`` and ``micro_f1`` of every combination tried.
    """

    name: ClassVar[str] = "knn"
    keeps_rows: ClassVar[bool] = True

    k: Annotated[int, Ge(1)] | None = None
    temperature: Annotated[float, Gt(0)] | None = None
    balance: float | None = None
    calibration: tuple[float, ...] | None = None
    index: Literal["auto", "exact", "approximate"] = "auto"
    transform: TransformName = "centered-sqrt-l2"
    seed: Annotated[int, Ge(0)] = 0

    def _fit(self, X: Matrix, Y: sp.csr_array, val: Val, views: list[Any], progress: Progress) -> None:
        calibration = as_coefficients(self.calibration)
        self.transform_ = FeatureTransform.fit(self.transform, X)
        self._rows = transformed(X, self.transform_)
        self._set_tags(Y)
        exact = self.index == "exact" or (self.index == "auto" and X.shape[0] * X.shape[1] <= EXACT_VALUES)
        most = self.k or max(K_GRID)
        self._index = None if exact else ListIndex.build(self._rows, most, self.seed, progress)
        self.k_, self.temperature_ = self.k or min(DEFAULT_K, len(self._rows)), self.temperature or DEFAULT_T
        self.balance_, self.calibration_ = self.balance or 0.0, calibration or RAW
        self.tuning_: list[dict[str, Any]] = []
        if None in (self.k, self.temperature, self.balance, calibration):
            neighbours, truth = self._tuning_rows(val)
            if neighbours[0].size:
                self._choose(neighbours, truth, progress)

    def _choose(self, neighbours: Neighbours, truth: sp.csr_array, progress: Progress) -> None:
        """Choose the options that are None on rows with these neighbours (n, K) and tags (n, L)."""
        most, best = neighbours[0].shape[1], -1.0
        ks = [self.k] if self.k else sorted({min(k, most) for k in K_GRID}, reverse=True)
        pairs = list(itertools.product(ks, [self.temperature] if self.temperature else T_GRID))
        for number, (k, temperature) in enumerate(pairs, 1):
            known = KnownVotes(votes(*neighbours, self._Y, k, temperature), truth, self._shares)
            for balance in BALANCE_GRID if self.balance is None else (self.balance,):
                f1 = known.best_f1(balance)
                self.tuning_.append({"k": k, "temperature": temperature, "balance": balance, "micro_f1": f1})
                if f1 > best:
                    best, winner = f1, known
                    self.k_, self.temperature_, self.balance_ = k, temperature, balance
            progress("choose k and temperature", number, len(pairs), f"micro-F1 {best:.4f}")
        if self.calibration is None:
            self.calibration_ = winner.fit(self.balance_)

    def _tuning_rows(self, val: Val) -> tuple[Neighbours, sp.csr_array]:
        """Return the neighbours of rows of `val`, or of training rows without themselves, and their tags."""
        rows = draw(len(self._rows if val is None else val[0]), TUNING_ROWS, self.seed)
        queries = self._rows[rows] if val is None else unit_rows(self.transform_(val[0][rows]))
        nonzero = queries.any(axis=1)
        rows, queries, k = rows[nonzero], queries[nonzero], self.k or max(K_GRID)
        if val is not None:
            return self._search(queries, k), val[1][rows]
        k = min(k, len(self._rows) - 1)
        sims, ids = self._search(queries, k + 1)
        other = ids != rows[:, None]
        other[other.all(axis=1), -1] = False  # a row with so many duplicates that it is not in the results
        others = sims[other].reshape(len(rows), k), ids[other].reshape(len(rows), k)
        return others, self._Y[rows].astype(bool)

    def _set_tags(self, Y: Any) -> None:
        self._Y: sp.csr_array = Y.astype(np.float32)
        self._Y.sort_indices()
        self._shares = shares(self._Y)

    def _prepared(self, X: Any) -> Float32Array:
        rows = self._check_X(X)  # first: an unfitted head has no transform_
        return unit_rows(self.transform_(rows))

    def _search(self, queries: Float32Array, k: int) -> Neighbours:
        return nearest(queries, self._rows, k, self._index)

    def scores(self, X: Any) -> Float32Array:
        """Return the calibrated votes (N, L) float32; for a row of zeros, the tags' shares of all rows."""
        queries = self._prepared(X)
        sims, ids = self._search(queries, self.k_)
        out = np.empty((len(queries), self.n_tags_), np.float32)
        for part, _ in blocks(queries, max(1, _BLOCK // self.n_tags_)):
            dense = votes(sims[part], ids[part], self._Y, self.k_, self.temperature_).toarray()
            out[part] = calibrated(dense, self._shares, self.balance_, self.calibration_)
        out[~queries.any(axis=1)] = self._shares
        return np.clip(out, 0, 1, out=out)

    def neighbours(self, X: Any, k: int) -> tuple[Int64Array, Float32Array]:
        """Return the nearest training rows of each row of X (N, D), nearest first, and their similarities.

        Both are (N, k), or less wide if there are fewer rows: int64 row numbers in the X of `fit`, of equally
        similar rows the lower first, and float32 cosines of the transformed rows, rounded to six decimals.
        """
        if k < 1:
            raise HeadError(f"k must be 1 or more, it is {k}")
        sims, ids = self._search(self._prepared(X), k)
        return ids, sims

    def add(self, X: Any, Y: sp.csr_array) -> Self:
        """Add rows X (n, D) with tags Y (n, L), numbered after the present ones, to those that vote.

        Only the tags' shares are computed again.
        """
        self._check_fitted()
        features, labels = check_val((X, Y), self.n_features_, self.n_tags_)
        more = transformed(features, self.transform_)
        if self._index is not None:
            self._index.add(more)
        self._rows = joined(self._rows, more)
        self._set_tags(sp.vstack([self._Y, labels], format="csr"))
        return self

    def add_tags(self, X: Any, Y: sp.csr_array, *, progress: Progress = silent) -> Self:
        """Learn tags Y (N, M) of the rows X (N, D) that the head holds; the scores of present tags stay.

        `HeadError` if X are not these rows, in their order.
        """
        self._check_fitted()
        features, labels = check_fit(X, Y)
        self._check_same(features, progress)
        self._set_tags(sp.hstack([self._Y, labels], format="csr"))
        self.n_tags_ = self._Y.shape[1]
        return self

    def _check_same(self, X: Matrix, progress: Progress) -> None:
        if X.shape != self._rows.shape:
            held = f"{counted(len(self._rows), 'row')} of {counted(self.n_features_, 'feature')}"
            raise HeadError(
                f"tags are added to the {held} that the head holds, "
                f"X has {X.shape[0]} of {X.shape[1]}; give the same rows in the same order"
            )
        for part, rows in blocks(X):
            difference = unit_rows(self.transform_(rows)) - self._rows[part]
            other = np.flatnonzero(np.einsum("nd,nd->n", difference, difference) > SAME_ROW**2)
            if other.size:
                raise HeadError(
                    "tags are added to the rows that the head holds, but row "
                    f"{part.start + other[0]} of X is another; give the same rows in the same order"
                )
            progress("compare rows", part.stop, len(X))

    @property
    def recall_(self) -> float:
        """The share of true neighbours in the results of the search."""
        return 1.0 if self._index is None else self._index.recall

    def diagnostics(self) -> dict[str, Any]:
        """Return the ``recall`` of the search."""
        return {"recall": self.recall_}

    def chosen(self) -> dict[str, Any]:
        """Return the options with the k, temperature, balance and calibration in use."""
        self._check_fitted()
        return self.get_params() | self._choices()

    def _choices(self) -> dict[str, Any]:
        return {name: getattr(self, f"{name}_") for name in ("k", "temperature", "balance", "calibration")}

    def save(self, folder: Path) -> None:
        """Write the files of `HeadBase.save`, and the rows into ``rows.npy``."""
        super().save(folder)
        write_rows(folder / "rows.npy", self._rows)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote; rows too large for memory stay in `folder`."""
        head = super().load(folder)
        rows = Features([folder / "rows.npy"])
        wanted = (head._Y.shape[0], head.n_features_)
        if rows.shape != wanted:
            raise HeadError(
                f"{folder} holds rows of {shape_text(rows.shape)} numbers, its other files are of "
                f"{shape_text(wanted)}; fit it again"
            )
        head._rows = loaded(rows)
        if not isinstance(head._rows, Features) and not (np.abs(head._rows) <= 1 + SAME_ROW).all():
            raise HeadError(
                f"{folder / 'rows.npy'} holds NaN or infinity, or rows that are not of length 1; "
                "fit the head again"
            )
        if head._index is None and head._nprobe is not None:
            logger.warning(
                "%s: its index was saved by an earlier version and is not read; it is built again from the "
                "rows, at every start: fit the head again to save it",
                folder.name,
            )
            head._index = ListIndex.build(head._rows, head.k or max(K_GRID), head.seed, silent)
        return head

    def _arrays(self) -> dict[str, NDArray[Any]]:
        tags = {"Y_indices": self._Y.indices, "Y_indptr": self._Y.indptr}
        index = {} if self._index is None else self._index.arrays()
        return tags | {"mean": self.transform_.mean, "scale": self.transform_.scale} | index

    def _facts(self) -> dict[str, Any]:
        nprobe = None if self._index is None else self._index.nprobe
        return self._choices() | {"recall": self.recall_, "nprobe": nprobe, "tuning": self.tuning_}

    def _expected(self, name: str) -> Expected:
        if name in ("mean", "scale"):
            return FeatureTransform.expected(name, self.n_features_)
        return {"Y_indices": COLUMNS, "Y_indptr": ENDS}.get(name) or ListIndex.expected(name)

    def _restore(self, arrays: dict[str, NDArray[Any]], facts: dict[str, Any]) -> None:
        learned = typed(facts, _Facts)
        indices, indptr = arrays["Y_indices"], arrays["Y_indptr"]
        N = len(indptr) - 1
        if N < 1:
            raise ValueError("it has no rows")
        self._set_tags(checked_csr(indices, indptr, (N, self.n_tags_)))
        self.transform_ = FeatureTransform(self.transform, arrays["mean"], arrays["scale"])
        self.k_, self.temperature_, self.tuning_ = learned.k, learned.temperature, learned.tuning
        self.balance_, self.calibration_ = learned.balance, learned.calibration
        if self.calibration_[0] < 0:
            raise ValueError(f"the slope of its calibration is {self.calibration_[0]}, not 0 or more")
        self._nprobe = learned.nprobe
        self._index = None
        if learned.nprobe is not None and "index_codes" in arrays:
            self._index = ListIndex.restore(
                arrays, (N, self.n_features_), nprobe=learned.nprobe, recall=learned.recall
            )
