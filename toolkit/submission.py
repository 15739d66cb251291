"""Predictions as files: the ``img_path,tags`` csv and, beside it, the scores it was decided from."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from toolkit.errors import LabelError
from toolkit.textfiles import write_csv

HEADER = ("img_path", "tags")
TOP = 256  # scores kept an image; the sum of the others is kept as one number
_BLOCK = 4096


def check_tags(tags: Sequence[str], separator: str) -> None:
    """Raise `LabelError` if a tag holds the separator: joined, it could not be told from two tags."""
    holding = [tag for tag in tags if separator in tag]
    if holding:
        raise LabelError(
            f"{len(holding)} tags hold the separator {separator!r}, first {holding[0]!r}; nothing was "
            "written: give another --separator, such as | or ;"
        )


def bare_names(ids: Sequence[str]) -> tuple[list[str], int]:
    """Return the ids without their folders, and how many rows share a name with another image."""
    names = [image.rpartition("/")[2] for image in ids]
    count = Counter(name for _, name in set(zip(ids, names, strict=True)))
    return names, sum(count[name] > 1 for name in names)


def write_predictions(
    path: Path,
    names: Sequence[str],
    tags: Sequence[Sequence[str]],
    *,
    separator: str = ",",
    bom: bool = False,
) -> None:
    """Write ``img_path,tags``, one row an image in the order given, tags joined in one cell, no index.

    The file is complete or not there. `bom` puts a mark in front, for Excel.
    """
    partial = path.with_name(f".{path.name}.partial")
    rows = ((name, separator.join(found)) for name, found in zip(names, tags, strict=True))
    try:
        write_csv(partial, HEADER, rows, bom=bom)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@dataclass(frozen=True, eq=False)
class TopScores:
    """The best scores of every image.

    Attributes
    ----------
    img_path : ndarray (N,) str
        As in the csv beside it.
    tags : ndarray (L,) str
    columns : ndarray (N, K) int32
        Columns of the K best tags, best first.
    scores : ndarray (N, K) float32
    rest : ndarray (N,) float32
        Sum of the scores of all other tags.
    readable : ndarray (N,) bool
        False for images without an embedding; their scores are 0.
    """

    img_path: NDArray[np.str_]
    tags: NDArray[np.str_]
    columns: NDArray[np.int32]
    scores: NDArray[np.float32]
    rest: NDArray[np.float32]
    readable: NDArray[np.bool_]

    @classmethod
    def of(
        cls, scores: NDArray[np.float32], rows: NDArray[np.intp], names: Sequence[str], tags: Sequence[str]
    ) -> Self:
        """Keep the best of `scores` (M, L); `rows` (N,) is each image's row in it, -1 for none."""
        K = min(TOP, len(tags))
        columns = np.zeros((len(rows), K), np.int32)
        best, rest = np.zeros((len(rows), K), np.float32), np.zeros(len(rows), np.float32)
        readable = rows >= 0
        there = np.flatnonzero(readable)
        for first in range(0, len(there), _BLOCK):
            part = there[first : first + _BLOCK]
            block = np.asarray(scores[rows[part]])
            order = np.argsort(-block, axis=1, kind="stable")
            ranked = np.take_along_axis(block, order, axis=1)
            columns[part], best[part], rest[part] = order[:, :K], ranked[:, :K], ranked[:, K:].sum(axis=1)
        return cls(np.array(names), np.array(tags), columns, best, rest, readable)

    def write(self, path: Path) -> None:
        """Write an ``.npz`` of plain arrays."""
        partial = path.with_name(f".{path.name}.partial")
        with partial.open("wb") as file:
            np.savez(file, **vars(self))
        partial.replace(path)


def scores_path(predictions: Path) -> Path:
    """Return where the scores of a predictions csv lie: ``submit.csv`` has ``submit.scores.npz``."""
    return predictions.with_suffix(".scores.npz")
