"""The scores a head was tuned and measured on, kept compactly with their truth: rules can be tuned again.

They lie in ``heads/<head>/scores/``: ``tuning.npz`` and ``test.npz`` (see `toolkit.submission.TopScores`),
and beside each the tags the images really have, ``tuning-tags.npz`` and ``test-tags.npz``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from toolkit.errors import HeadError, LabelError
from toolkit.experiment.jobs import load_labels, save_labels
from toolkit.submission import TopScores

Part = Literal["tuning", "test"]


@dataclass(frozen=True, eq=False)
class KeptScores:
    """Scores and truth of the images one head was tuned, or measured, on.

    Attributes
    ----------
    top : TopScores
        Of n images.
    Y : csr_array (n, L) bool
    """

    top: TopScores
    Y: sp.csr_array

    @classmethod
    def of(
        cls, scores: NDArray[np.float32], ids: Sequence[str], tags: Sequence[str], Y: sp.csr_array
    ) -> Self:
        """Keep the best of scores (n, L) of the images `ids`, and their truth Y (n, L)."""
        return cls(TopScores.of(scores, np.arange(len(ids)), ids, tags), Y)

    def write(self, head: Path, part: Part) -> None:
        """Write into the folder of a head."""
        folder = head / "scores"
        folder.mkdir(exist_ok=True)
        self.top.write(folder / f"{part}.npz")
        save_labels(folder / f"{part}-tags.npz", self.Y)

    @classmethod
    def read(cls, head: Path, part: Part) -> Self:
        """Read what `write` wrote; `HeadError` if it is not there or damaged."""
        folder = head / "scores"
        if not folder.is_dir():
            raise HeadError(f"no scores are kept with head {head.name!r}; fit it again to have them")
        try:
            return cls(TopScores.read(folder / f"{part}.npz"), load_labels(folder / f"{part}-tags.npz"))
        except (LabelError, OSError, ValueError, KeyError) as error:
            raise HeadError(
                f"the scores of head {head.name!r} are damaged ({error}); fit it again"
            ) from error
