"""Training rows of the network: transformed once and kept on its device, or read in every epoch."""

from collections.abc import Iterator, Sequence

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from toolkit.arrays import features
from toolkit.arrays.features import Matrix, blocks, finite
from toolkit.arrays.types import Float32Array, Int64Array, RowNumbers
from toolkit.heads.transforms import FeatureTransform


class TrainingRows:
    """The plain rows and any augmented views of them, transformed, in batches of any order.

    Up to `IN_MEMORY` bytes they are transformed once and stay on the device. Beyond, `BLOCK_BYTES` of rows
    are read at a time, in the order of the batches: the training is the same.
    """

    def __init__(self, matrices: Sequence[Matrix], transform: FeatureTransform, device: str) -> None:
        self.matrices, self.transform, self.device = matrices, transform, torch.device(device)
        self.shape: tuple[int, ...] = matrices[0].shape
        size = 4 * len(matrices) * self.shape[0] * self.shape[1]
        self._resident = self._transformed() if size <= features.IN_MEMORY else None

    def batches(self, rows: RowNumbers, which: RowNumbers, size: int) -> Iterator[Tensor]:
        """Yield row ``rows[i]`` of matrix ``which[i]`` for every i, transformed: float32 (size, D) or less.

        `HeadError` if one holds NaN or infinity.
        """
        ahead: int = max(1, features.BLOCK_BYTES // (4 * self.shape[1] * size))  # batches read at once
        step = size if self._resident is not None else size * ahead
        for start in range(0, len(rows), step):
            part = slice(start, start + step)
            yield from torch.split(self._read(rows[part], which[part]), size)

    def _read(self, rows: RowNumbers, which: RowNumbers) -> Tensor:
        if self._resident is not None:
            at = torch.from_numpy(which * self.shape[0] + rows).to(self.device)
            return self._resident.index_select(0, at)
        out = np.empty((len(rows), self.shape[1]), np.float32)
        for number, matrix in enumerate(self.matrices):
            places = np.flatnonzero(which == number)
            if len(places):
                out[places] = matrix[rows[places]]
        return torch.from_numpy(self.transform(finite(out))).to(self.device)

    def _transformed(self) -> Tensor:
        """Return all rows of all matrices, one matrix after the other, transformed."""
        N, D = self.shape
        out = torch.empty((len(self.matrices) * N, D), device=self.device)
        for number, matrix in enumerate(self.matrices):
            for part, rows in blocks(matrix):
                first = number * N + part.start
                out[first : first + len(rows)] = torch.from_numpy(self.transform(rows))
        return out


def sparse_targets(Y: sp.csr_array) -> tuple[Int64Array, Float32Array]:
    """Return the positions (P,) of non-zeros in the flattened Y (B, L), and their values (P,)."""
    row = np.repeat(np.arange(Y.shape[0], dtype=np.int64), np.diff(Y.indptr))
    return row * Y.shape[1] + Y.indices, Y.data.astype(np.float32)


def mixed(
    x: Tensor, Y: sp.csr_array, alpha: float, random: np.random.Generator
) -> tuple[Tensor, sp.csr_array]:
    """Return rows x (B, D) and targets Y (B, L), each mixed with those of a random row.

    One share for the batch is drawn from Beta(alpha, alpha), as in the code of mixup's authors (Zhang et al.
    2018, arXiv 1710.09412).
    """
    share = random.beta(alpha, alpha)
    partner = random.permutation(len(x))
    y = Y.astype(np.float32)
    other = x[torch.from_numpy(partner).to(x.device)]
    targets = y * np.float32(share) + y[partner] * np.float32(1 - share)
    return x.lerp(other, 1 - share), sp.csr_array(targets)
