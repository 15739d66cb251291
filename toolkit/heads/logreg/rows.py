"""Rows for the one-vs-rest solver: centred, in the eigenbasis of their covariance, held or streamed."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
import scipy.linalg

from toolkit.arrays.features import Features, Matrix, blocks
from toolkit.arrays.types import Float32Array, Float64Array
from toolkit.heads.logreg.arrays import Arrays, DeviceArray
from toolkit.heads.transforms import FeatureTransform

RANK_EPS = 1e-10  # eigenvalues below this share of the largest are rounding


def transformed(X: Matrix, transform: FeatureTransform) -> Iterator[tuple[slice, Float32Array]]:
    """Yield slices of rows and those rows transformed, (n, D) float32; they are not to be written to."""
    return ((part, transform(rows)) for part, rows in blocks(X))


@dataclass(frozen=True)
class Basis:
    """The eigenbasis of the rows' covariance; its rank R is at most min(N - 1, D)."""

    mean: Float32Array  # (D,)
    axes: Float32Array  # (D, R): orthonormal columns, that of the largest spread first
    spread: Float32Array  # (R,): sum of squares of the centred rows along each axis

    @classmethod
    def of(cls, X: Matrix, transform: FeatureTransform) -> Self:
        """Decompose the smaller of X'X and XX' of transformed, centred rows, in float64 and by blocks."""
        N, D = X.shape
        total = np.zeros(D)
        for _, rows in transformed(X, transform):
            total += rows.sum(axis=0, dtype=np.float64)
        mean = (total / N).astype(np.float32)
        centred = ((rows - mean).astype(np.float64) for _, rows in transformed(X, transform))
        spread, axes = _tall(centred, D) if N > D else _wide(centred)
        kept = np.flatnonzero(spread > RANK_EPS * max(spread.max(initial=0), np.finfo(float).tiny))[::-1]
        return cls(mean, np.asarray(axes[:, kept], np.float32, order="C"), spread[kept].astype(np.float32))


def _tall(centred: Iterator[Float64Array], D: int) -> tuple[Float64Array, Float64Array]:
    gram = np.zeros((D, D))
    for rows in centred:
        gram += rows.T @ rows
    return _eigh(gram)


def _wide(centred: Iterator[Float64Array]) -> tuple[Float64Array, Float64Array]:
    rows = np.vstack(list(centred))
    spread, left = _eigh(rows @ rows.T)
    axes: Float64Array = rows.T @ (left / np.sqrt(np.maximum(spread, np.finfo(float).tiny)))
    return spread, axes


def _eigh(gram: Float64Array) -> tuple[Float64Array, Float64Array]:
    # divide and conquer: at 2,048 columns a third faster than scipy's default
    spread, axes = scipy.linalg.eigh(gram, driver="evd", overwrite_a=True, check_finite=False)
    return spread, axes


class HeldRows:
    """N centred rows in a basis of R axes, rotated once and kept: the two products the solver needs."""

    def __init__(self, X: Matrix, transform: FeatureTransform, basis: Basis, arrays: Arrays) -> None:
        self.N, self.basis, self.arrays = len(X), basis, arrays
        rotated = np.empty((self.N, basis.axes.shape[1]), np.float32)
        for part, rows in transformed(X, transform):
            np.matmul(rows - basis.mean, basis.axes, out=rotated[part])
        self._rows = arrays.put(rotated)

    def logits(self, coefficients: DeviceArray) -> DeviceArray:
        """Return coefficients (tags, R) times every row: (tags, N) float32, a new array."""
        return coefficients @ self._rows.T

    def gradient(self, residual: DeviceArray) -> DeviceArray:
        """Return the sums of rows weighted by residual (tags, N): (tags, R) float32."""
        # the transposed product: in OpenBLAS a fifth faster than ``residual @ rows``
        return (self._rows.T @ residual.T).T


class StreamedRows:
    """Rows read again for each product and never rotated: coefficients and gradients are rotated instead."""

    def __init__(self, X: Matrix, transform: FeatureTransform, basis: Basis, arrays: Arrays) -> None:
        self.N, self.basis, self.arrays = len(X), basis, arrays
        self._X, self._transform, self._axes = X, transform, arrays.put(basis.axes)

    def _blocks(self) -> Iterator[tuple[slice, DeviceArray]]:
        for part, rows in transformed(self._X, self._transform):
            yield part, self.arrays.put(rows - self.basis.mean)

    def logits(self, coefficients: DeviceArray) -> DeviceArray:
        """See `HeldRows`."""
        rotated = coefficients @ self._axes.T
        out = self.arrays.empty(len(rotated), self.N)
        for part, rows in self._blocks():
            out[:, part] = rotated @ rows.T
        return out

    def gradient(self, residual: DeviceArray) -> DeviceArray:
        """See `HeldRows`."""
        total = self.arrays.empty(len(residual), self.basis.mean.shape[0])
        total[...] = 0
        for part, rows in self._blocks():
            total += residual[:, part] @ rows
        return total @ self._axes


CentredRows = HeldRows | StreamedRows


def centred_rows(X: Matrix, transform: FeatureTransform, arrays: Arrays) -> CentredRows:
    """Return the rows of X in their own basis: held in memory, or streamed if X is too large to load."""
    kind = StreamedRows if isinstance(X, Features) else HeldRows
    return kind(X, transform, Basis.of(X, transform), arrays)
