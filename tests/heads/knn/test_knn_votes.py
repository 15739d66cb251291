"""Calibration of votes, against scikit-learn and the dense computation."""

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from toolkit.evaluation.decisions.cuts import best_threshold
from toolkit.heads.knn.head import Knn
from toolkit.heads.knn.votes import RAW, SMOOTHING, KnownVotes, calibrated, shares, votes


def example_votes(n=300, N=500, L=40, K=30, seed=0):
    """Votes of made-up neighbours that share a rare or common tag with the row more often than chance."""
    random = np.random.default_rng(seed)
    share = 0.4 / np.arange(1, L + 1)
    Y = random.random((N, L)) < share
    ids = np.stack([random.choice(N, K, replace=False) for _ in range(n)])
    truth = random.random((n, L)) < 0.5 * share + 0.5 * Y[ids].mean(axis=1) ** 1.5
    sims = -np.sort(-random.uniform(0.3, 0.9, size=(n, K)).astype(np.float32), axis=1)
    tags = sp.csr_array(Y.astype(np.float32))
    return votes(sims, ids, tags, 10, 0.3), sp.csr_array(truth), shares(tags)


def balanced(voted, share, balance):
    smoothed = (voted.toarray().astype(float) + SMOOTHING * share) / (1 + SMOOTHING)
    return logit(smoothed) - balance * logit(share)


@pytest.mark.parametrize("balance", [0.0, 0.3, -1.0])
def test_fit__is_the_logistic_regression_on_balanced_logits(balance):
    voted, truth, share = example_votes()
    coefficients = KnownVotes(voted, truth, share).fit(balance)
    z = balanced(voted, share, balance).reshape(-1, 1)
    exact = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-10).fit(z, truth.toarray().ravel())
    np.testing.assert_allclose(coefficients, [*exact.coef_[0], exact.intercept_[0]], atol=2e-3)
    got = calibrated(voted.toarray(), share, balance, coefficients)
    np.testing.assert_allclose(got.ravel(), exact.predict_proba(z)[:, 1], atol=1e-3)


def test_fit__never_reverses_votes():
    voted, _, share = example_votes()
    slope, _ = KnownVotes(voted, sp.csr_array(voted.toarray() < 0.1), share).fit(0.0)
    assert slope == 0


def test_truths_all_alike__leave_votes_as_they_are():
    voted, truth, share = example_votes(20)
    for same in (np.zeros(truth.shape, bool), np.ones(truth.shape, bool)):
        assert KnownVotes(voted, sp.csr_array(same), share).fit(0.1) == RAW
    assert KnownVotes(voted, sp.csr_array(truth.shape, dtype=bool), share).best_f1(0.1) == 0


@pytest.mark.parametrize("balance", [0.0, 0.1, -0.25, 2.0])
def test_best_f1__is_that_of_the_dense_scores(balance):
    voted, truth, share = example_votes()
    scores = expit(balanced(voted, share, balance))
    want = best_threshold(scores.astype(np.float32), truth)[1]
    assert KnownVotes(voted, truth, share).best_f1(balance) == pytest.approx(want, abs=1e-6)


def neighbourly(n, seed):
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(7).normal(size=(12, 8))
    kind = random.integers(0, 12, n)
    X = (centres[kind] + random.normal(scale=1.2, size=(n, 8))).astype(np.float32)
    chance = np.random.default_rng(8).beta(0.15, 2.0, size=(12, 30))[kind]
    return X, random.random((n, 30)) < chance


def test_scores__are_better_probabilities_than_votes_on_rows_never_seen():
    X, Y = neighbourly(800, 0)
    new, truth = neighbourly(600, 1)
    head = Knn(k=7, temperature=0.1, balance=0.0).fit(X, Y)
    raw = Knn(k=head.k_, temperature=head.temperature_, balance=0.0, calibration=RAW).fit(X, Y)

    def log_loss(scores):
        return -np.where(truth, np.log(scores), np.log(1 - scores)).mean()

    got = head.scores(new)
    assert log_loss(got) < log_loss(raw.scores(new)) - 0.002
    assert got.sum() == pytest.approx(truth.sum(), rel=0.1)
