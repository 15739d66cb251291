"""A trained network as numpy arrays: what scoring needs, without torch."""

from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from toolkit.arrays.features import Matrix, blocks, finite, take
from toolkit.arrays.types import Float32Array as Array
from toolkit.evaluation.calibration import non_negative_logistic, tuning_rows
from toolkit.heads.transforms import FeatureTransform

Layers = list[tuple[Array, Array]]
"""Weight (out, in) and bias (out,) of each layer."""
Calibration = tuple[float, ...]
"""Slope and intercept of all logits."""
IDENTITY = (1.0, 0.0)
ROWS = 4096  # gone through the layers at once: bounds the memory of the hidden ones


def linear(x: Array, layer: tuple[Array, Array]) -> Array:
    """Return what a layer without its ReLU makes of x (n, in): (n, out)."""
    weight, bias = layer
    out: Array = x @ weight.T + bias
    return out


def last_hidden(layers: Layers, x: Array) -> Array:
    """Return what reaches the last layer for transformed rows x (n, D)."""
    for layer in layers[:-1]:
        x = np.maximum(linear(x, layer), 0)
    return x


class HiddenRows:
    """What reaches the last layer for the rows of X (N, D), computed when asked for.

    A source of `Features`.
    """

    def __init__(self, layers: Layers, transform: FeatureTransform, X: Matrix) -> None:
        self._layers, self._transform, self._X = layers, transform, X
        self.shape = (X.shape[0], layers[-1][0].shape[1])

    def __getitem__(self, rows: Any) -> Array:
        at = np.arange(self.shape[0])[rows]
        out = np.empty((len(at), self.shape[1]), np.float32)
        for start in range(0, len(at), ROWS):
            part = slice(start, start + ROWS)
            out[part] = last_hidden(self._layers, self._transform(finite(self._X[at[part]])))
        return out


def learned_calibration(
    layers: Layers, transform: FeatureTransform, X: Matrix, Y: sp.csr_array, *, seed: int
) -> Calibration:
    """Return slope and intercept (Platt 1999) for all tags, from rows X (n, D), Y (n, L) not trained on."""
    rows = tuning_rows(*Y.shape, seed)
    truth = Y[rows].toarray().ravel()
    if truth.all() or not truth.any():  # nothing to tell apart
        return IDENTITY
    parts = [linear(last_hidden(layers, transform(x)), layers[-1]) for _, x in blocks(take(X, rows), ROWS)]
    logits = np.concatenate(parts)
    return non_negative_logistic(logits.reshape(-1, 1).astype(np.float64), truth)


def calibrated(layers: Layers, calibration: Calibration) -> Layers:
    """Return the layers with slope and intercept put into the last."""
    slope, intercept = (np.float32(each) for each in calibration)
    weight, bias = layers[-1]
    return [*layers[:-1], (weight * slope, bias * slope + intercept)]


def numbered(arrays: dict[str, NDArray[Any]], prefix: str) -> Layers:
    """Return the layers saved as ``<prefix>weight0``, ``<prefix>bias0``, ..."""
    count = sum(key.startswith(f"{prefix}weight") for key in arrays)
    return [(arrays[f"{prefix}weight{n}"], arrays[f"{prefix}bias{n}"]) for n in range(count)]
