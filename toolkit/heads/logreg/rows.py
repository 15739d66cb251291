"""Rows for the one-vs-rest solver: centred, in the eigenbasis of their covariance, held or streamed."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from toolkit.arrays.features import Features, Matrix, blocks
from toolkit.heads.logreg.arrays import Arrays, Tensor
from toolkit.heads.transforms import FeatureTransform

Array = NDArray[np.float32]

RANK_EPS = 1e-10  # eigenvalues below this share of the largest are rounding


@dataclass(frozen=True)
class Inputs:
    """X (N, D) as the head sees it: transformed, a block of rows at a time."""

    X: Matrix
    transform: FeatureTransform

    @property
    def shape(self) -> tuple[int, int]:
        """(N, D)."""
        return self.X.shape[0], self.X.shape[1]

    def blocks(self) -> Iterator[tuple[slice, Array]]:
        """Yield slices of rows and those rows transformed, (n, D) float32; they are not to be written to."""
        for part, rows in blocks(self.X):
            yield part, self.transform(rows)


@dataclass(frozen=True)
class Basis:
    """The eigenbasis of the rows' covariance.

    Attributes
    ----------
    mean : ndarray (D,) float32
    axes : ndarray (D, R) float32
        Orthonormal columns, that of the largest spread first; R is the rank, at most min(N - 1, D).
    spread : ndarray (R,) float32
        Sum of squares of the centred rows along each axis.
    """

    mean: Array
    axes: Array
    spread: Array

    @classmethod
    def of(cls, inputs: Inputs) -> Self:
        """Decompose the smaller of X'X and XX' of centred rows, in float64 and by blocks."""
        N, D = inputs.shape
        total = np.zeros(D)
        for _, rows in inputs.blocks():
            total += rows.sum(axis=0, dtype=np.float64)
        mean = (total / N).astype(np.float32)
        spread, axes = _tall(inputs, mean) if N > D else _wide(inputs, mean)
        kept = np.flatnonzero(spread > RANK_EPS * max(spread.max(initial=0), np.finfo(float).tiny))[::-1]
        return cls(mean, np.asarray(axes[:, kept], np.float32, order="C"), spread[kept].astype(np.float32))


def _tall(inputs: Inputs, mean: Array) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    D = inputs.shape[1]
    gram = np.zeros((D, D))
    for _, rows in inputs.blocks():
        centred = (rows - mean).astype(np.float64)
        gram += centred.T @ centred
    return _eigh(gram)


def _wide(inputs: Inputs, mean: Array) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    centred = np.vstack([rows - mean for _, rows in inputs.blocks()]).astype(np.float64)
    spread, left = _eigh(centred @ centred.T)
    axes: NDArray[np.float64] = centred.T @ (left / np.sqrt(np.maximum(spread, np.finfo(float).tiny)))
    return spread, axes


def _eigh(gram: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    # divide and conquer: at 2,048 columns a third faster than scipy's default
    spread, axes = scipy.linalg.eigh(gram, driver="evd", overwrite_a=True, check_finite=False)
    return spread, axes


class Rows(Protocol):
    """N centred rows in a basis of R axes: the two products the solver needs."""

    N: int
    arrays: Arrays
    basis: Basis

    def logits(self, coefficients: Tensor) -> Tensor:
        """Return coefficients (tags, R) times every row: (tags, N) float32, a new array."""

    def gradient(self, residual: Tensor) -> Tensor:
        """Return the sums of rows weighted by residual (tags, N): (tags, R) float32."""


class HeldRows:
    """Rows rotated once and kept, (N, R)."""

    def __init__(self, inputs: Inputs, basis: Basis, arrays: Arrays) -> None:
        self.N, self.basis, self.arrays = inputs.shape[0], basis, arrays
        rotated = np.empty((self.N, basis.axes.shape[1]), np.float32)
        for part, rows in inputs.blocks():
            np.matmul(rows - basis.mean, basis.axes, out=rotated[part])
        self._rows = arrays.put(rotated)

    def logits(self, coefficients: Tensor) -> Tensor:
        """See `Rows`."""
        return coefficients @ self._rows.T

    def gradient(self, residual: Tensor) -> Tensor:
        """See `Rows`."""
        # the transposed product: OpenBLAS takes a fifth less for it than for ``residual @ rows``
        return (self._rows.T @ residual.T).T


class StreamedRows:
    """Rows read anew for each product and never rotated: the coefficients are, and the gradient back."""

    def __init__(self, inputs: Inputs, basis: Basis, arrays: Arrays) -> None:
        self.N, self.basis, self.arrays = inputs.shape[0], basis, arrays
        self._inputs, self._axes = inputs, arrays.put(basis.axes)

    def _blocks(self) -> Iterator[tuple[slice, Tensor]]:
        for part, rows in self._inputs.blocks():
            yield part, self.arrays.put(rows - self.basis.mean)

    def logits(self, coefficients: Tensor) -> Tensor:
        """See `Rows`."""
        turned = coefficients @ self._axes.T
        out = self.arrays.empty(len(turned), self.N)
        for part, rows in self._blocks():
            out[:, part] = turned @ rows.T
        return out

    def gradient(self, residual: Tensor) -> Tensor:
        """See `Rows`."""
        total = self.arrays.empty(len(residual), self.basis.mean.shape[0])
        total[...] = 0
        for part, rows in self._blocks():
            total += residual[:, part] @ rows
        return total @ self._axes


def rows_of(inputs: Inputs, arrays: Arrays) -> Rows:
    """Return `inputs` in their own basis: held in memory, or streamed where they are too large to load."""
    kind = StreamedRows if isinstance(inputs.X, Features) else HeldRows
    return kind(inputs, Basis.of(inputs), arrays)
