"""Feature transforms: what a head does to X before anything else.

A frozen ResNet50's pooled features are non-negative and skewed. A square root evens them out; it is applied
as ``sign(x) * sqrt(|x|)`` so that imported features with negative values are legal too.
"""

from dataclasses import dataclass
from typing import Literal, Self, get_args

import numpy as np

from toolkit.arrays.features import Matrix, blocks, unit_rows
from toolkit.arrays.types import Float32Array

TransformName = Literal["raw", "standardize", "sqrt-standardize", "l2", "centered-sqrt-l2"]
TRANSFORMS: tuple[TransformName, ...] = get_args(TransformName)


def signed_sqrt(X: Float32Array) -> Float32Array:
    """Return ``sign(x) * sqrt(|x|)`` elementwise, (N, D) -> (N, D)."""
    out: Float32Array = np.copysign(np.sqrt(np.abs(X)), X)
    return out


@dataclass
class FeatureTransform:
    """One of `TRANSFORMS`, with the training mean and scale it learned.

    Attributes
    ----------
    name : str
        ``raw`` (as cached), ``standardize`` (per column zero mean, unit variance), ``sqrt-standardize``
        (square root first), ``l2`` (unit rows), ``centered-sqrt-l2`` (square root, minus the column mean,
        then unit rows).
    mean, scale : ndarray (D,) float32
        Learned by `fit`; zeros and ones where the transform does not use them. A constant column has scale 1.

    Examples
    --------
    >>> X = np.array([[1.0], [3.0]], np.float32)
    >>> FeatureTransform.fit("standardize", X)(X).ravel().tolist()
    [-1.0, 1.0]
    """

    name: TransformName
    mean: Float32Array
    scale: Float32Array

    @classmethod
    def fit(cls, name: TransformName, X: Matrix) -> Self:
        """Learn the column statistics of X (N, D), read in blocks, in float64 sums."""
        N, D = X.shape
        mean, scale = np.zeros(D, np.float32), np.ones(D, np.float32)
        if name in ("standardize", "sqrt-standardize", "centered-sqrt-l2") and N:
            prepare = (lambda rows: rows) if name == "standardize" else signed_sqrt
            exact = sum(prepare(rows).sum(axis=0, dtype=np.float64) for _, rows in blocks(X)) / N
            mean = exact.astype(np.float32)
            if name != "centered-sqrt-l2":
                squares = sum(((prepare(rows) - exact) ** 2).sum(axis=0) for _, rows in blocks(X))
                std = np.sqrt(squares / N)
                # a column that varies by rounding alone carries nothing: dividing by it would amplify noise
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
