"""A trained network as numpy arrays, to score without torch."""

import re
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from toolkit.arrays.features import Matrix, blocks, finite, take
from toolkit.arrays.types import Float32Array
from toolkit.evaluation.calibration import non_negative_logistic, tuning_rows
from toolkit.files.npy import Expected, shape_text
from toolkit.heads.transforms import FeatureTransform
from toolkit.runtime.messages import counted

Layers = list[tuple[Float32Array, Float32Array]]  # weight (out, in) and bias (out,) of each
Calibration = tuple[float, ...]  # slope and intercept of the logits of all tags
IDENTITY: tuple[float, float] = (1.0, 0.0)
_LAYER = re.compile(r"(?:added_)?(weight|bias)(?:0|[1-9]\d?)")
ROWS = 4096  # computed at once, to bound the memory of hidden layers


def linear(x: Float32Array, layer: tuple[Float32Array, Float32Array]) -> Float32Array:
    """Return the output (n, out) of a layer, before its ReLU, for x (n, in)."""
    weight, bias = layer
    out: Float32Array = x @ weight.T + bias
    return out


def last_hidden(layers: Layers, x: Float32Array) -> Float32Array:
    """Return the input of the last layer for transformed rows x (n, D)."""
    for layer in layers[:-1]:
        x = np.maximum(linear(x, layer), 0)
    return x


class HiddenRows:
    """Inputs of the last layer for the rows of X (N, D), computed when indexed: a source of `Features`."""

    def __init__(self, layers: Layers, transform: FeatureTransform, X: Matrix) -> None:
        self._layers, self._transform, self._X = layers, transform, X
        self.shape = (X.shape[0], layers[-1][0].shape[1])

    def __getitem__(self, rows: Any) -> Float32Array:
        at = np.arange(self.shape[0])[rows]
        out = np.empty((len(at), self.shape[1]), np.float32)
        for start in range(0, len(at), ROWS):
            part = slice(start, start + ROWS)
            out[part] = last_hidden(self._layers, self._transform(finite(self._X[at[part]])))
        return out


def learned_calibration(
    layers: Layers, transform: FeatureTransform, X: Matrix, Y: sp.csr_array, *, seed: int
) -> Calibration:
    """Return slope and intercept (Platt 1999) learned on rows X (n, D), Y (n, L) not trained on."""
    rows = tuning_rows(*Y.shape, seed)
    truth = Y[rows].toarray().ravel()
    if truth.all() or not truth.any():  # one class only: nothing can be learned
        return IDENTITY
    parts = [linear(last_hidden(layers, transform(x)), layers[-1]) for _, x in blocks(take(X, rows), ROWS)]
    logits = np.concatenate(parts)
    return non_negative_logistic(logits.reshape(-1, 1).astype(np.float64), truth)


def calibrated(layers: Layers, calibration: Calibration) -> Layers:
    """Return the layers with slope and intercept included in the last."""
    slope, intercept = map(np.float32, calibration)
    weight, bias = layers[-1]
    return [*layers[:-1], (weight * slope, bias * slope + intercept)]


def layer_expected(name: str) -> Expected:
    """Return what the saved array `name` of a layer must be; `ValueError` if no layer has it."""
    kind = _LAYER.fullmatch(name)
    if kind is None:
        raise ValueError(f"no layer has an array {name!r}")
    return Expected(dtype="float32", shape=(None, None) if kind[1] == "weight" else (None,))


def check_chain(layers: Layers, added: Layers, n_features: int, n_tags: int) -> None:
    """Raise `ValueError` unless the layers lead from the features to the tags.

    Those `added` start from the last hidden layer. Arrays are what `layer_expected` says.
    """
    if not layers:
        raise ValueError("the network has no layer")
    wide = n_features
    for number, (weight, bias) in enumerate(layers):
        _check_layer(f"layer {number}", weight, bias, wide)
        wide = len(bias) if number < len(layers) - 1 else wide
    for number, (weight, bias) in enumerate(added):
        _check_layer(f"added layer {number}", weight, bias, wide)
    outputs = sum(len(bias) for _, bias in (layers[-1], *added))
    if outputs != n_tags:
        raise ValueError(f"the network has {outputs} outputs for {counted(n_tags, 'tag')}")


def _check_layer(name: str, weight: Float32Array, bias: Float32Array, wide: int) -> None:
    if weight.shape != (len(bias), wide):
        raise ValueError(
            f"{name} has weights of {shape_text(weight.shape)}, not of {shape_text((len(bias), wide))}"
        )


def numbered(arrays: dict[str, NDArray[Any]], prefix: str) -> Layers:
    """Return the layers saved as ``<prefix>weight0``, ``<prefix>bias0``, ..."""
    count = sum(key.startswith(f"{prefix}weight") for key in arrays)
    return [(arrays[f"{prefix}weight{n}"], arrays[f"{prefix}bias{n}"]) for n in range(count)]
