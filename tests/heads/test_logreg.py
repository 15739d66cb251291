"""Logistic regression against scikit-learn's newton-cholesky at tolerance 1e-10."""

import logging

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.linear_model import LogisticRegression

from toolkit.decisions import best_threshold
from toolkit.heads.logreg import STRENGTHS, Logreg
from toolkit.heads.ovr_solver import Basis, solve


def tagged(N, D, supports, seed=0):
    """Rows of correlated non-negative features and tags of exactly these supports that depend on them."""
    random = np.random.default_rng(seed)
    X = np.abs(random.normal(size=(N, 20)) @ random.normal(size=(20, D)) + random.normal(size=(N, D)))
    latent = (X - X.mean(0)) @ random.normal(size=(D, len(supports)))
    latent = latent / latent.std(0) + random.normal(size=latent.shape)
    Y = np.argsort(np.argsort(-latent, axis=0), axis=0) < np.array(supports)
    return X.astype(np.float32), Y


def objective(X, y, w, b, C):
    z = X @ w + b
    return np.logaddexp(0, z).sum() - z[y].sum() + w @ w / (2 * C)


def assert_optimal(X, Y, C, coef, intercept):
    X = X.astype(np.float64)
    for tag in range(Y.shape[1]):
        exact = LogisticRegression(C=C, solver="newton-cholesky", tol=1e-10, max_iter=500).fit(X, Y[:, tag])
        want = objective(X, Y[:, tag], exact.coef_[0], exact.intercept_[0], C)
        w, b = coef[tag].astype(np.float64), float(intercept[tag])
        assert objective(X, Y[:, tag], w, b, C) <= want * (1 + 1e-4)
        probability = 1 / (1 + np.exp(-(X @ w + b)))
        np.testing.assert_allclose(probability, exact.predict_proba(X)[:, 1], atol=1e-3)


@pytest.mark.parametrize("C", [1e-3, 0.1, 10.0])
@pytest.mark.parametrize("transform", ["standardize", "raw"])
def test_solver__reaches_scikit_learns_optimum(C, transform):
    X, Y = tagged(1500, 60, [1, 3, 10, 40, 150, 700, 1400])
    head = Logreg(C=C, transform=transform).fit(X, Y)
    assert not len(head.unconverged_) and head.gap_.max() <= head.tol
    assert_optimal(head.transform_(X), Y, C, head.coef_, head.intercept_)


def test_solver__more_features_than_rows():
    X, Y = tagged(120, 300, [1, 5, 30, 60])
    head = Logreg(C=0.01).fit(X, Y)
    assert_optimal(head.transform_(X), Y, 0.01, head.coef_, head.intercept_)


def test_solver__a_collinear_and_a_constant_column():
    X, Y = tagged(400, 20, [10, 100])
    X[:, 3], X[:, 4] = X[:, 5], 2.0
    head = Logreg(C=1.0, transform="raw").fit(X, Y)
    assert_optimal(X, Y, 1.0, head.coef_, head.intercept_)


def test_solver__blocks_and_starts_do_not_matter(monkeypatch):
    X, Y = tagged(500, 30, np.linspace(5, 250, 23).astype(int))
    basis, labels = Basis.of(X), sp.csr_array(Y)
    whole = solve(basis, labels, 0.5, tol=1e-9)
    monkeypatch.setattr("toolkit.heads.ovr_solver.BLOCK", 4)
    blocks = solve(basis, labels, 0.5, tol=1e-9, start=solve(basis, labels, 0.05).params)
    np.testing.assert_allclose(blocks.params, whole.params, atol=2e-3)
    assert whole.converged.all() and (whole.iterations > 0).all()


@pytest.mark.slow
def test_solver__rare_to_common_tags_at_ten_thousand_rows():
    X, Y = tagged(20_000, 128, [3, 30, 300, 3000, 10_000], seed=3)
    head = Logreg(C=0.3).fit(X, Y)
    assert_optimal(head.transform_(X), Y, 0.3, head.coef_, head.intercept_)


def test_constant_tags__score_zero_and_one_and_are_flagged():
    X, Y = tagged(100, 8, [20])
    Y = np.hstack([np.zeros((100, 1), bool), Y, np.ones((100, 1), bool)])
    head = Logreg(C=1.0).fit(X, Y)
    scores = head.scores(X)
    assert scores[:, 0].max() < 1e-12 and scores[:, 2].min() == 1.0
    assert head.constant_.tolist() == [0, 2] and not head.coef_[[0, 2]].any()
    assert_optimal(head.transform_(X), Y[:, 1:2], 1.0, head.coef_[1:2], head.intercept_[1:2])
    assert (Logreg().fit(X, Y[:, [0, 2]]).scores(X) > 0.5).tolist() == [[False, True]] * 100


def test_C__is_the_best_of_those_tried_on_validation_rows():
    X, Y = tagged(600, 40, [30, 60, 200])
    val = X[400:], sp.csr_array(Y[400:])
    head = Logreg().fit(X[:400], Y[:400], val=val)
    tried = {row["C"]: row["micro_f1"] for row in head.tuning_}
    assert len(tried) >= 4 and max(tried, key=tried.get) == head.C_
    for C in list(tried)[:4]:
        alone = Logreg(C=C).fit(X[:400], Y[:400])
        assert best_threshold(alone.scores(val[0]), val[1])[1] == pytest.approx(tried[C], abs=2e-3)
    np.testing.assert_allclose(
        head.scores(X), Logreg(**head.chosen()).fit(X[:400], Y[:400]).scores(X), atol=2e-3
    )


def test_C__grid_follows_the_length_of_rows():
    X, Y = tagged(200, 10, [40])
    val = X, sp.csr_array(Y)
    long, short = (Logreg(transform="raw").fit(X * s, Y, val=val).tuning_ for s in (10, 1))
    np.testing.assert_allclose(long[0]["C"] * 100, short[0]["C"], rtol=0.05)
    assert len(STRENGTHS) > 8


def test_unconverged__tags_are_listed_with_a_warning(caplog):
    X, Y = tagged(300, 30, [5, 100])
    with caplog.at_level(logging.WARNING):
        head = Logreg(C=10.0, max_iter=2).fit(X, Y)
    assert head.unconverged_.tolist() == [0, 1] and (head.gap_ > head.tol).all()
    assert "2 of 2 tags are not solved to tol=1e-07 after 2 iterations" in caplog.text
    assert "-o max_iter=20" in caplog.text
