"""The protocol of decision rules, and passes over scores with one block in memory at a time."""

from collections.abc import Callable, Iterator
from typing import Annotated, Any, ClassVar, Protocol, Self

import numpy as np
import scipy.sparse as sp
from msgspec import Meta
from scipy.special import logit

from toolkit.arrays.types import BoolArray, Float32Array, Float64Array, RowNumbers
from toolkit.errors import OptionError

MinTags = Annotated[int, Meta(ge=0, le=2**31 - 1)]
BLOCK_BYTES = 2**25  # of float32 scores at a time: 1,200 rows of 6,941 tags


class ScoreMatrix(Protocol):
    """Scores (N, L): an array, a mapped file, or anything that is read in blocks."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, L)."""

    def __getitem__(self, at: Any) -> Any:
        """Return float32 ``[rows]`` or ``[rows, columns]``; rows a slice or integers, columns a slice."""


class DecisionRule(Protocol):
    """Turns scores (N, L) into predictions (N, L). A rule is a dataclass that derives from this class.

    Attributes
    ----------
    name : str
        As in `toolkit.evaluation.decisions.registry.RULES`.
    tuned : bool
        Whether `fit` learns from scores.
    per_tag : bool
        Whether each tag has a threshold, so that new tags need new ones (`extended`).
    min_tags : int
        Tags every image gets at least.
    """

    name: ClassVar[str]
    tuned: ClassVar[bool] = True
    per_tag: ClassVar[bool] = False
    min_tags: MinTags

    @classmethod
    def from_text(cls, value: str, *, min_tags: int) -> Self | None:
        """Build an untuned rule from the text after the colon of ``--rule``; None if it is not allowed.

        By default a rule takes no such text.
        """
        return None if value else cls(min_tags=min_tags)  # type: ignore[call-arg]

    def fit(self, scores: ScoreMatrix, Y: Any) -> Self:
        """Tune on scores (N, L) of rows the head never saw and the truth Y (N, L), dense or sparse."""

    def apply(self, scores: ScoreMatrix) -> sp.csr_array:
        """Return boolean CSR predictions."""

    def extended(self, new: Self) -> Self:  # noqa: ARG002, RUF100 - `per_tag` rules use it
        """Return the rule for more tags; `new` is a rule of the same class tuned on the added tags alone."""
        return self

    def check(self, n_tags: int) -> None:
        """Raise `OptionError` unless the rule suits scores of `n_tags` tags."""

    def n_needed(self, n_tags: int) -> int:
        """Return how many of an image's highest scores decide its tags; all `n_tags` unless fewer do."""
        return n_tags

    def to_dict(self) -> dict[str, Any]:
        """Return what `rule_from_dict` needs to build an equal rule: name, options and what was tuned."""
        return {"rule": self.name, **vars(self)}

    def describe(self) -> str:
        """Return a short text for a table, such as ``global 0.312, at least 1``."""
        minimum = f", at least {self.min_tags}" if self.min_tags else ""
        return f"{self.name}{self._tuned_text()}{minimum}"

    def _tuned_text(self) -> str:
        return ""


class ChosenRows:
    """Some rows of a score matrix, read one block at a time."""

    def __init__(self, scores: ScoreMatrix, rows: RowNumbers) -> None:
        self._scores = scores
        self._rows = rows
        self.shape = (len(rows), scores.shape[1])

    def __getitem__(self, at: Any) -> Float32Array:
        if isinstance(at, tuple):
            rows, columns = at
            return np.asarray(self._scores[self._rows[rows], columns])
        return np.asarray(self._scores[self._rows[at]])


def row_blocks(scores: ScoreMatrix) -> Iterator[tuple[slice, Float32Array]]:
    """Yield the rows of each block and its scores (n, L) in order; `OptionError` if they hold NaN."""
    N, L = scores.shape
    for rows in _slices(N, L):
        yield rows, checked(np.asarray(scores[rows]))


def column_blocks(scores: ScoreMatrix) -> Iterator[tuple[slice, Float32Array]]:
    """Yield the columns of each block and a transposed copy of its scores (l, N); as `row_blocks`."""
    N, L = scores.shape
    for columns in _slices(L, N):
        yield columns, checked(np.array(np.asarray(scores[0:N, columns]).T, order="C"))


def _slices(n: int, width: int) -> Iterator[slice]:
    step = max(1, BLOCK_BYTES // (4 * max(1, width)))
    for start in range(0, n, step):
        yield slice(start, min(start + step, n))


def checked(scores: Float32Array) -> Float32Array:
    """Return the scores; `OptionError` if they hold NaN."""
    if np.isnan(scores).any():
        raise OptionError("the scores hold NaN; fit the head again")
    return scores


def decide_by_blocks(scores: ScoreMatrix, decide: Callable[[Float32Array], BoolArray]) -> sp.csr_array:
    """Apply `decide`, scores (n, L) to bool (n, L), to blocks of rows; only one block is dense at a time."""
    no_rows = sp.csr_array((0, scores.shape[1]), dtype=bool)
    decided = (sp.csr_array(decide(block)) for _, block in row_blocks(scores))
    return sp.csr_array(sp.vstack([no_rows, *decided], format="csr"))


def positives(Y: Any) -> sp.csr_array:
    """Return the truth (N, L), dense or sparse, as boolean CSR without stored zeros, columns ascending."""
    truth = sp.csr_array(Y, dtype=bool, copy=True)
    truth.sum_duplicates()
    truth.eliminate_zeros()
    return truth


def positive_scores(scores: ScoreMatrix, truth: sp.csr_array) -> Float32Array:
    """Return the score of each stored entry of the truth, in its order, (P,)."""
    out = np.empty(truth.nnz, np.float32)
    rows = np.repeat(np.arange(truth.shape[0]), np.diff(truth.indptr))
    for part, block in row_blocks(scores):
        entries = slice(truth.indptr[part.start], truth.indptr[part.stop])
        out[entries] = block[rows[entries] - part.start, truth.indices[entries]]
    return out


def logits(thresholds: Any) -> Float64Array:
    """Return log(p / (1 - p)), p clipped to [1e-7, 1 - 1e-7]."""
    return np.asarray(logit(np.clip(np.asarray(thresholds, np.float64), 1e-7, 1 - 1e-7)))
