"""The pooled logistic regression against scikit-learn's, and its weights against repeated rows."""

import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from toolkit.evaluation.calibration import CLIP, clipped_logits, non_negative_logistic


def case():
    random = np.random.default_rng(0)
    Z = random.normal(-1, 2, size=(3000, 2))
    return Z, random.random(3000) < expit(Z @ [0.6, 0.3] - 0.5)


def test_logistic__is_scikit_learns():
    Z, y = case()
    want = LogisticRegression(C=np.inf, tol=1e-10).fit(Z, y)
    assert non_negative_logistic(Z, y) == pytest.approx((*want.coef_[0], want.intercept_[0]), abs=1e-4)


def test_logistic__a_weight_is_a_row_that_often():
    Z, y = case()
    times = np.random.default_rng(1).integers(0, 4, len(y))
    want = non_negative_logistic(np.repeat(Z, times, axis=0), np.repeat(y, times))
    assert non_negative_logistic(Z, y, times.astype(float)) == pytest.approx(want, abs=1e-5)


def test_clipped_logits():
    scores = np.array([0, 0.5, 1], np.float32)
    most = np.log((1 - CLIP) / CLIP)
    np.testing.assert_allclose(clipped_logits(scores), [-most, 0, most], rtol=1e-4)
    np.testing.assert_allclose(clipped_logits(scores, 0.1), [-np.log(9), 0, np.log(9)], rtol=1e-5)
    assert clipped_logits(scores).dtype == np.float32 and scores[0] == 0
