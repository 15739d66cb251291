"""Predictions as files: the ``img_path,tags`` csv and, beside it, the scores it was decided from."""

import zipfile
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from toolkit.arrays.ranking import best_columns
from toolkit.errors import LabelError
from toolkit.files.text import write_csv
from toolkit.runtime.messages import counted

HEADER = ("img_path", "tags")
TOP = 256  # scores kept an image; the sum of the others is kept as one number
SCORES_SUFFIX = ".scores.npz"
_BLOCK = 1024


def check_tags(tags: Sequence[str], separator: str) -> None:
    """Raise `LabelError` if a tag holds the separator: joined, it could not be told from two tags."""
    holding = [tag for tag in tags if separator in tag]
    if holding:
        raise LabelError(
            f"{counted(len(holding), 'tag holds', 'tags hold')} the separator {separator!r}, first "
            f"{holding[0]!r}; nothing was written: give another --separator, such as | or ;"
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

    It can be indexed like the scores (N, L) it was made of, ``[rows]`` or ``[rows, columns]``, which gives
    `dense` float32 blocks: all a decision rule asks for. `redeciding` says when decisions so made are
    those of all scores.

    Attributes
    ----------
    img_path : ndarray (N,) str
        As in the csv beside it.
    tags : ndarray (L,) str
    columns : ndarray (N, K) int32
        Columns of the K best tags, best first.
    scores : ndarray (N, K) float32
    rest : ndarray (N,) float32
        Sum of the scores of all other tags; 0 only where each of them is 0.
    readable : ndarray (N,) bool
        False for images without an embedding; their scores are 0.
    head, head_id : ndarray () str
        Name of the head whose scores these are, and which fit of it (`SavedHead.id`).
    """

    img_path: NDArray[np.str_]
    tags: NDArray[np.str_]
    columns: NDArray[np.int32]
    scores: NDArray[np.float32]
    rest: NDArray[np.float32]
    readable: NDArray[np.bool_]
    head: NDArray[np.str_]
    head_id: NDArray[np.str_]

    @classmethod
    def of(
        cls,
        scores: NDArray[np.float32],
        rows: NDArray[np.intp],
        names: Sequence[str],
        tags: Sequence[str],
        *,
        head: str = "",
        head_id: str = "",
    ) -> Self:
        """Keep the best of `scores` (M, L); `rows` (N,) is each image's row in it, -1 for none."""
        K = min(TOP, len(tags))
        columns = np.zeros((len(rows), K), np.int32)
        best, rest = np.zeros((len(rows), K), np.float32), np.zeros(len(rows), np.float32)
        readable = rows >= 0
        there = np.flatnonzero(readable)
        for first in range(0, len(there), _BLOCK):
            part = there[first : first + _BLOCK]
            block = np.array(scores[rows[part]])
            columns[part] = best_columns(block, K)
            best[part] = np.take_along_axis(block, columns[part], axis=1)
            np.put_along_axis(block, columns[part], 0, axis=1)
            rest[part] = block.sum(axis=1, dtype=np.float64)
        who = np.array(head), np.array(head_id)
        return cls(np.array(names), np.array(tags), columns, best, rest, readable, *who)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what `write` wrote; nothing is unpickled.

        Raises
        ------
        LabelError
            There is no such file, or it is damaged or of another version.
        """
        names = [field.name for field in fields(cls)]
        try:
            with path.open("rb") as file, zipfile.ZipFile(file) as members:
                arrays = [_member(members, name) for name in names]
            return cls(*arrays)._checked()
        except FileNotFoundError as error:
            raise LabelError(f"there are no scores {path}; predict again to have them") from error
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise LabelError(
                f"{path} is damaged or of another version ({error}); predict again, or remove it"
            ) from error

    def _checked(self) -> Self:
        """Return itself; `ValueError` if the arrays contradict one another."""
        N, K = len(self.img_path), min(TOP, len(self.tags))
        expected = {
            "columns": (N, K),
            "scores": (N, K),
            "rest": (N,),
            "readable": (N,),
            "head": (),
            "head_id": (),
        }
        for name, shape in expected.items():
            if getattr(self, name).shape != shape:
                raise ValueError(f"{name} has shape {getattr(self, name).shape}, not {shape}")
        if self.columns.size and not 0 <= self.columns.min() <= self.columns.max() < len(self.tags):
            raise ValueError(f"columns go beyond the {counted(len(self.tags), 'tag')}")
        return self

    @property
    def shape(self) -> tuple[int, int]:
        """(N, L)."""
        return len(self.rest), len(self.tags)

    def __getitem__(self, where: Any) -> NDArray[np.float32]:
        rows, columns = where if isinstance(where, tuple) else (where, slice(None))
        return self.dense(rows, columns)

    def tail(self) -> NDArray[np.float32]:
        """Return what each tag that is not kept is taken to score, (N,): the mean, just under the K-th score.

        Just under, so that a tag that was kept always goes before one that was not.
        """
        K, L = self.columns.shape[1], len(self.tags)
        if K == L:
            return np.zeros(len(self.rest), np.float32)
        mean = (self.rest / np.float64(L - K)).astype(np.float32)
        out: NDArray[np.float32] = np.minimum(mean, np.nextafter(self.scores[:, -1], np.float32(0)))
        return out

    def dense(self, rows: Any, columns: slice = slice(None)) -> NDArray[np.float32]:
        """Return scores (n, l) of some rows and columns: those kept, and `tail` for every other tag.

        Parameters
        ----------
        rows : slice or ndarray of int
        columns : slice of step 1
        """
        first, last, _ = columns.indices(len(self.tags))
        at, scores = self.columns[rows] - first, self.scores[rows]
        out = np.repeat(self.tail()[rows][:, None], max(0, last - first), axis=1)
        row, place = np.nonzero((at >= 0) & (at < last - first))
        out[row, at[row, place]] = scores[row, place]
        return out

    def write(self, path: Path) -> None:
        """Write an ``.npz`` of plain arrays."""
        partial = path.with_name(f".{path.name}.partial")
        with partial.open("wb") as file:
            np.savez(file, **vars(self))
        partial.replace(path)


def _member(members: zipfile.ZipFile, name: str) -> NDArray[Any]:
    with members.open(f"{name}.npy") as file:
        array: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
    return array


def scores_path(predictions: Path) -> Path:
    """Return where the scores of a predictions csv lie: ``submit.csv`` has ``submit.scores.npz``."""
    return predictions.with_suffix(SCORES_SUFFIX)
