"""The best scores of every image in a small file, to tune and apply rules without the head."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from toolkit.arrays.ranking import best_columns
from toolkit.arrays.types import BoolArray, Float32Array, RowNumbers
from toolkit.errors import LabelError
from toolkit.evaluation.decisions.base import DecisionRule
from toolkit.files.atomic import replacing
from toolkit.files.npy import Expected
from toolkit.files.npz import open_npz
from toolkit.runtime.messages import counted

logger = logging.getLogger(__name__)

TOP = 256  # scores kept of an image, besides the sum of the others
SCORES_SUFFIX = ".scores.npz"
_BLOCK = 1024
_MEMBERS = {
    "img_path": Expected(kinds="Uf", shape=(None,)),  # without images earlier versions wrote no text
    "tags": Expected(kinds="U", shape=(None,)),
    "columns": Expected(dtype="int32", shape=(None, None)),
    "scores": Expected(dtype="float32", shape=(None, None), low=0, high=1),
    "rest": Expected(dtype="float32", shape=(None,), low=0),
    "readable": Expected(dtype="bool", shape=(None,)),
    "head": Expected(kinds="U", shape=()),
    "head_id": Expected(kinds="U", shape=()),
}
"""Arrays of the file, in the order of the fields of `TopScores`."""


def scores_path(predictions: Path) -> Path:
    """Return the path of the scores of a predictions csv: ``submit.scores.npz`` for ``submit.csv``."""
    return predictions.with_suffix(SCORES_SUFFIX)


@dataclass(frozen=True, eq=False)
class TopScores:
    """The best scores of every image.

    A `ScoreMatrix`: indexed like the scores (N, L) it was made from, by ``[rows]`` or ``[rows, columns]``.
    The scores not kept are replaced by their mean, or by less if that reaches a kept score.

    Attributes
    ----------
    img_path : ndarray (N,) str
        As in the csv beside it.
    columns : ndarray (N, K) int32
        Columns of the K best of the L tags, best first.
    rest : ndarray (N,) float32
        Sum of the scores of all other tags; 0 only if each of them is 0.
    readable : ndarray (N,) bool
        False for images without an embedding; their scores are 0.
    head, head_id : ndarray () str
        Name of the head, and which fit of it (`SavedHead.id`).
    """

    img_path: NDArray[np.str_]
    tags: NDArray[np.str_]
    columns: NDArray[np.int32]
    scores: Float32Array
    rest: Float32Array
    readable: BoolArray
    head: NDArray[np.str_]
    head_id: NDArray[np.str_]

    @classmethod
    def of(
        cls,
        scores: Float32Array,
        rows: RowNumbers,
        names: Sequence[str],
        tags: Sequence[str],
        *,
        head: str = "",
        head_id: str = "",
    ) -> Self:
        """Keep the best of `scores` (M, L); `rows` (N,) is each image's row in it, -1 without one."""
        K = min(TOP, len(tags))
        columns = np.zeros((len(rows), K), np.int32)
        best, rest = np.zeros((len(rows), K), np.float32), np.zeros(len(rows), np.float32)
        readable = rows >= 0
        scored = np.flatnonzero(readable)
        for first in range(0, len(scored), _BLOCK):
            part = scored[first : first + _BLOCK]
            block = np.array(scores[rows[part]])
            columns[part] = best_columns(block, K)
            best[part] = np.take_along_axis(block, columns[part], axis=1)
            np.put_along_axis(block, columns[part], 0, axis=1)
            rest[part] = block.sum(axis=1, dtype=np.float64)
        source = np.array(head), np.array(head_id)
        return cls(np.array(names, np.str_), np.array(tags, np.str_), columns, best, rest, readable, *source)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what `write` wrote, without pickle; `LabelError` if it is missing, damaged or too old."""
        try:
            with open_npz(path) as archive:
                return cls(*(archive.read(name, expected) for name, expected in _MEMBERS.items()))
        except FileNotFoundError as error:
            raise LabelError(f"there are no scores {path}; predict again to have them") from error
        except (OSError, ValueError) as error:
            raise LabelError(
                f"{path} is damaged or of another version ({error}); predict again, or remove it"
            ) from error

    def __post_init__(self) -> None:
        """Raise `ValueError` if the arrays contradict one another."""
        N, L = len(self.img_path), len(self.tags)
        K = min(TOP, L)
        shapes = dict(columns=(N, K), scores=(N, K), rest=(N,), readable=(N,), head=(), head_id=())
        for name, shape in shapes.items():
            if getattr(self, name).shape != shape:
                raise ValueError(f"{name} has shape {getattr(self, name).shape}, not {shape}")
        if self.columns.size and not 0 <= self.columns.min() <= self.columns.max() < L:
            raise ValueError(f"columns go beyond the {counted(L, 'tag')}")
        if len(set(self.tags.tolist())) != L:
            raise ValueError("a tag is there twice")
        if N and self.img_path.dtype.kind != "U":
            raise ValueError("img_path holds no text")

    def write(self, path: Path) -> None:
        """Write an ``.npz`` of plain arrays."""
        with replacing(path) as fresh, fresh.open("wb") as file:
            np.savez(file, **vars(self))

    @property
    def shape(self) -> tuple[int, int]:
        """(N, L)."""
        return len(self.rest), len(self.tags)

    def __getitem__(self, at: Any) -> Float32Array:
        rows, columns = at if isinstance(at, tuple) else (at, slice(None))
        first, last, _ = columns.indices(len(self.tags))
        place, scores = self.columns[rows] - first, self.scores[rows]
        out = np.repeat(self._others()[rows][:, None], max(0, last - first), axis=1)
        row, rank = np.nonzero((place >= 0) & (place < last - first))
        out[row, place[row, rank]] = scores[row, rank]
        return out

    def _others(self) -> Float32Array:
        """Return the score of each tag that is not kept, (N,): never above one that is kept."""
        K, L = self.columns.shape[1], len(self.tags)
        if K == L:
            return np.zeros(len(self.rest), np.float32)
        mean = (self.rest / np.float64(L - K)).astype(np.float32)
        return np.minimum(mean, np.nextafter(self.scores[:, -1], np.float32(0)))

    def suffices(self, rule: DecisionRule) -> bool:
        """Return whether all scores that the rule needs are kept, or 0."""
        return bool((self.rest == 0).all()) or rule.n_needed(len(self.tags)) <= self.columns.shape[1]


def warn_if_cut(top: TopScores, rules: Iterable[DecisionRule]) -> None:
    """Warn, once for all rules, if a rule needs scores that are not kept."""
    if not all(top.suffices(rule) for rule in rules):
        logger.warning(
            "%d of %s scores of each image are kept and the others replaced by their mean: with all scores a "
            "rule might be tuned or decide differently",
            top.columns.shape[1],
            f"{len(top.tags):,}",
        )


def redecide(rule: DecisionRule, top: TopScores) -> sp.csr_array:
    """Apply a tuned rule to the scores kept, (N, L) bool; images without an embedding get no tags.

    `OptionError` if the rule is not tuned, or was tuned for another number of tags.
    """
    readable = sp.csr_array((top.readable.astype(bool), (np.arange(len(top.rest)),) * 2))
    return sp.csr_array(readable @ rule.apply(top), dtype=bool)
