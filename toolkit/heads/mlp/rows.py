"""The rows a network trains on: transformed once and kept on its device, or read from disk as they come."""

from collections.abc import Iterator, Sequence

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor

from toolkit.arrays import features
from toolkit.arrays.features import Matrix, blocks, finite
from toolkit.arrays.types import Float32Array as Array
from toolkit.arrays.types import RowNumbers as Rows
from toolkit.heads.transforms import FeatureTransform

Targets = tuple[NDArray[np.int64], Array]


class TrainingRows:
    """The plain rows and any augmented views of them, transformed, in batches of any order.

    Up to `IN_MEMORY` bytes they are transformed once and lie on the device. Beyond, they are
    read for `BLOCK_BYTES` at a time: so many rows *of the order asked for*, sorted on disk
    while reading. The order, and with it the training, is the same either way.

    Parameters
    ----------
    matrices : sequence of array or Features (N, D)
        The plain rows first.
    transform : FeatureTransform
    device : torch.device
    """

    def __init__(self, matrices: Sequence[Matrix], transform: FeatureTransform, device: torch.device) -> None:
        self.matrices = matrices
        self.transform = transform
        self.device = device
        self.shape: tuple[int, ...] = matrices[0].shape
        size = 4 * len(matrices) * self.shape[0] * self.shape[1]
        self._resident = self._transformed() if size <= features.IN_MEMORY else None

    def batches(self, rows: Rows, which: Rows, size: int) -> Iterator[Tensor]:
        """Yield row ``rows[i]`` of matrix ``which[i]`` for every i, transformed: float32 (size, D) each.

        The last may be shorter. `HeadError` where one holds NaN or infinity.
        """
        step = size if self._resident is not None else self._ahead(size)
        for start in range(0, len(rows), step):
            part = slice(start, start + step)
            yield from torch.split(self._read(rows[part], which[part]), size)

    def _ahead(self, size: int) -> int:
        """Return how many rows are read at once: whole batches of `size`."""
        batches: int = features.BLOCK_BYTES // (4 * self.shape[1] * size)
        return max(1, batches) * size

    def _read(self, rows: Rows, which: Rows) -> Tensor:
        if self._resident is not None:
            at = torch.from_numpy(which * self.shape[0] + rows).to(self.device)
            return self._resident.index_select(0, at)
        out = np.empty((len(rows), self.shape[1]), np.float32)
        for number, matrix in enumerate(self.matrices):
            mine = np.flatnonzero(which == number)
            if len(mine):
                out[mine] = matrix[rows[mine]]
        return torch.from_numpy(self.transform(finite(out))).to(self.device)

    def _transformed(self) -> Tensor:
        """Return all rows of all matrices, below one another, transformed."""
        N, D = self.shape
        out = torch.empty((len(self.matrices) * N, D), device=self.device)
        for number, matrix in enumerate(self.matrices):
            for part, rows in blocks(matrix):
                first = number * N + part.start
                out[first : first + len(rows)] = torch.from_numpy(self.transform(rows))
        return out


def sparse_targets(Y: sp.csr_array) -> Targets:
    """Return where Y (B, L) is not 0, as positions in the flattened matrix (P,), and its values (P,)."""
    row = np.repeat(np.arange(Y.shape[0], dtype=np.int64), np.diff(Y.indptr))
    return row * Y.shape[1] + Y.indices, Y.data.astype(np.float32)


def mixed(
    x: Tensor, Y: sp.csr_array, alpha: float, random: np.random.Generator
) -> tuple[Tensor, sp.csr_array]:
    """Return rows x (B, D) and targets Y (B, L), each mixed with those of another row drawn at random.

    One share a batch is drawn from Beta(alpha, alpha), as the authors of mixup do (Zhang et al. 2018, arXiv
    1710.09412).
    """
    share = random.beta(alpha, alpha)
    partner = random.permutation(len(x))
    y = Y.astype(np.float32)
    other = x[torch.from_numpy(partner).to(x.device)]
    targets = y * np.float32(share) + y[partner] * np.float32(1 - share)
    return x.lerp(other, 1 - share), sp.csr_array(targets)
