"""Feature transforms, the first step of a head.

Pooled features of a ResNet50 are non-negative and skewed; a square root reduces the skew. It is applied as
``sign(x) * sqrt(|x|)``, since imported features may be negative.
"""

from dataclasses import dataclass
from typing import Literal, Self

import numpy as np

from toolkit.arrays.features import Matrix, blocks, unit_rows
from toolkit.arrays.types import Float32Array
from toolkit.files.npy import Expected

TransformName = Literal["raw", "standardize", "sqrt-standardize", "l2", "centered-sqrt-l2"]


def signed_sqrt(X: Float32Array) -> Float32Array:
    """Return ``sign(x) * sqrt(|x|)`` elementwise, (N, D) -> (N, D)."""
    out: Float32Array = np.copysign(np.sqrt(np.abs(X)), X)
    return out


@dataclass
class FeatureTransform:
    """A transform with the mean and scale of the training rows.

    Attributes
    ----------
    name : str
        ``raw`` (as cached), ``standardize`` (per column zero mean, unit variance), ``sqrt-standardize``
        (square root first), ``l2`` (unit rows), ``centered-sqrt-l2`` (square root, minus the column mean,
        then unit rows).
    mean, scale : ndarray (D,) float32
        Zeros and ones if the transform does not use them. A constant column has scale 1.

    Examples
    --------
    >>> X = np.array([[1.0], [3.0]], np.float32)
    >>> FeatureTransform.fit("standardize", X)(X).ravel().tolist()
    [-1.0, 1.0]
    """

    name: TransformName
    mean: Float32Array
    scale: Float32Array

    @staticmethod
    def expected(name: str, n_features: int) -> Expected:
        """Return what the saved array ``mean`` or ``scale`` must be."""
        least = float(np.finfo(np.float32).tiny) if name == "scale" else None
        return Expected(dtype="float32", shape=(n_features,), low=least)

    @classmethod
    def fit(cls, name: TransformName, X: Matrix) -> Self:
        """Learn the column statistics of X (N, D), read in blocks, by float64 sums."""
        N, D = X.shape
        mean, scale = np.zeros(D, np.float32), np.ones(D, np.float32)
        if name in ("standardize", "sqrt-standardize", "centered-sqrt-l2") and N:
            prepare = (lambda rows: rows) if name == "standardize" else signed_sqrt
            exact = sum(prepare(rows).sum(axis=0, dtype=np.float64) for _, rows in blocks(X)) / N
            mean = exact.astype(np.float32)
            if name != "centered-sqrt-l2":
                squares = sum(((prepare(rows) - exact) ** 2).sum(axis=0) for _, rows in blocks(X))
                std = np.sqrt(squares / N)
                # dividing a column that varies only by rounding would amplify noise
                flat = std <= 1e-6 * np.maximum(np.abs(mean), 1e-12)
                scale = np.where(flat, 1.0, std).astype(np.float32)
        return cls(name, mean, scale)

    def __call__(self, X: Float32Array) -> Float32Array:
        """Transform X (N, D) float32 into a new (N, D) float32 array."""
        if self.name == "raw":
            return np.ascontiguousarray(X, dtype=np.float32)
        if self.name == "l2":
            return unit_rows(X)
        base = X if self.name == "standardize" else signed_sqrt(X)
        out = (base - self.mean) / self.scale
        return unit_rows(out) if self.name == "centered-sqrt-l2" else out
