"""Feature transforms against scikit-learn and numpy."""

from typing import get_args

import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler, normalize

from toolkit.heads.transforms import FeatureTransform, TransformName


def features():
    return np.abs(np.random.default_rng(0).normal(size=(50, 6))).astype(np.float32)


ORACLES = {
    "raw": lambda train, X: X,
    "standardize": lambda train, X: StandardScaler().fit(train).transform(X),
    "sqrt-standardize": lambda train, X: StandardScaler().fit(np.sqrt(train)).transform(np.sqrt(X)),
    "l2": lambda train, X: normalize(X),
    "centered-sqrt-l2": lambda train, X: normalize(np.sqrt(X) - np.sqrt(train).mean(axis=0)),
}


@pytest.mark.parametrize("name", get_args(TransformName))
def test_transform__equals_its_oracle(name):
    X = features()
    got = FeatureTransform.fit(name, X[:30])(X[30:])
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, ORACLES[name](X[:30].astype(float), X[30:].astype(float)), atol=1e-5)


def test_square_root__keeps_the_sign():
    X = np.array([[-4.0, 9.0], [1.0, -1.0]], np.float32)
    transform = FeatureTransform.fit("centered-sqrt-l2", X)
    np.testing.assert_allclose(transform.mean, [-0.5, 1.0])


@pytest.mark.parametrize("name", get_args(TransformName))
def test_constant_columns_and_zero_rows__stay_finite(name):
    X = features()
    X[:, 2] = 3.3
    X[4] = 0
    transform = FeatureTransform.fit(name, X[:4])
    assert np.isfinite(transform(X)).all()
    assert transform.scale[2] == 1
