"""The scores a head was tuned and measured on, kept compactly with their truth: rules can be tuned again.

They lie in ``heads/<head>/scores/``: ``tuning.npz`` and ``test.npz`` (see `TopScores`),
and beside each the tags the images really have (``tuning-tags.npz``) and which are near-duplicates of one
another (``tuning-groups.npy``).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import numpy as np
import scipy.sparse as sp

from toolkit.arrays.types import Float32Array, RowNumbers
from toolkit.errors import HeadError, LabelError
from toolkit.evaluation.scorestore import TopScores
from toolkit.experiment.jobs import load_labels, save_labels
from toolkit.files.npy import Expected, read_array

ScorePart = Literal["tuning", "test"]


@dataclass(frozen=True, eq=False)
class SavedScores:
    """Scores and truth of the images one head was tuned, or measured, on.

    Attributes
    ----------
    top : TopScores
        Of n images.
    Y : csr_array (n, L) bool
    groups : ndarray (n,) intp
        Near-duplicates have equal numbers.
    """

    top: TopScores
    Y: sp.csr_array
    groups: RowNumbers

    @classmethod
    def of(
        cls,
        scores: Float32Array,
        ids: Sequence[str],
        tags: Sequence[str],
        Y: sp.csr_array,
        groups: RowNumbers,
    ) -> Self:
        """Keep the best of scores (n, L) of the images `ids`, their truth Y (n, L) and their groups (n,)."""
        return cls(TopScores.of(scores, np.arange(len(ids)), ids, tags), Y, groups)

    def write(self, head: Path, part: ScorePart) -> None:
        """Write into the folder of a head."""
        folder = head / "scores"
        folder.mkdir(exist_ok=True)
        self.top.write(folder / f"{part}.npz")
        save_labels(folder / f"{part}-tags.npz", self.Y)
        np.save(folder / f"{part}-groups.npy", self.groups)

    @classmethod
    def read(cls, head: Path, part: ScorePart) -> Self:
        """Read what `write` wrote; `HeadError` if it is not there or damaged."""
        folder = head / "scores"
        if not folder.is_dir():
            raise HeadError(f"no scores are kept with head {head.name!r}; fit it again to have them")
        try:
            top, Y = TopScores.read(folder / f"{part}.npz"), load_labels(folder / f"{part}-tags.npz")
            groups = read_array(folder / f"{part}-groups.npy", Expected(kinds="i", shape=(None,)))
            if not top.shape == Y.shape == (*groups.shape, len(top.tags)):
                raise ValueError(f"scores {top.shape}, tags {Y.shape} and groups {groups.shape} differ")
            return cls(top, Y, groups)
        except (LabelError, OSError, ValueError) as error:
            raise HeadError(
                f"the scores of head {head.name!r} are damaged ({error}); fit it again"
            ) from error
