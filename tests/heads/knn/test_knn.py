"""kNN against brute-force numpy."""

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.special import expit, logit

from toolkit.errors import HeadError, OptionError
from toolkit.evaluation.decisions.cuts import best_threshold
from toolkit.heads.knn.head import K_GRID, Knn
from toolkit.heads.knn.votes import SMOOTHING


def rows(N=150, D=9, seed=0):
    random = np.random.default_rng(seed)
    X = np.abs(random.normal(size=(N, D))).astype(np.float32)
    return X, random.random((N, 4)) < X[:, :4] / 3


RAW = {"balance": 0.0, "calibration": (1.0, 0.0)}


def brute(train, Y, queries, k, T, *, leave_out=False):
    """Cosine of rows after the centred square root; weights as DINO's evaluation has them."""
    mean = np.sqrt(train.astype(np.float64)).mean(axis=0)

    def unit(X):
        Z = np.sqrt(X.astype(np.float64)) - mean
        return Z / np.linalg.norm(Z, axis=1, keepdims=True)

    S = unit(queries) @ unit(train).T
    if leave_out:
        np.fill_diagonal(S, -np.inf)
    out = np.empty((len(queries), Y.shape[1]))
    for i, s in enumerate(S):
        near = np.argsort(-s, kind="stable")[:k]
        w = np.exp(s[near] / T)
        out[i] = w @ Y[near] / w.sum()
    return out


def shares(Y):
    return (Y.sum(axis=0) + 0.5) / (len(Y) + 1)


def smoothed(votes, Y):
    return (votes + SMOOTHING * shares(Y)) / (1 + SMOOTHING)


@pytest.mark.parametrize(("k", "T"), [(1, 0.07), (7, 0.07), (20, 1.0), (150, 0.3), (900, 0.3)])
def test_scores__equal_brute_force(k, T):
    X, Y = rows()
    queries, _ = rows(40, seed=1)
    votes = brute(X, Y, queries, k, T)
    raw = Knn(k=k, temperature=T, **RAW).fit(X, Y)
    np.testing.assert_allclose(raw.scores(queries), smoothed(votes, Y), atol=1e-4)
    head = Knn(k=k, temperature=T, balance=0.4, calibration=(0.7, -0.3)).fit(X, Y)
    z = 0.7 * (logit(smoothed(votes, Y)) - 0.4 * logit(shares(Y))) - 0.3
    np.testing.assert_allclose(head.scores(queries), expit(z), atol=1e-3)


def test_choice__without_validation_leaves_each_row_out():
    X, Y = rows()
    head = Knn(temperature=0.2, **RAW).fit(X, Y)
    for entry in head.tuning_:
        scores = smoothed(brute(X, Y, X, entry["k"], 0.2, leave_out=True), Y).astype(np.float32)
        assert entry["micro_f1"] == pytest.approx(best_threshold(scores, sp.csr_array(Y))[1], abs=3e-3)
    assert head.k_ == max(head.tuning_, key=lambda row: row["micro_f1"])["k"]


def test_choice__on_validation_rows():
    X, Y = rows()
    val, truth = rows(60, seed=2)
    head = Knn().fit(X, Y, val=(val, sp.csr_array(truth)))
    assert {row["k"] for row in head.tuning_} == {min(k, 150) for k in K_GRID}
    best = max(head.tuning_, key=lambda row: row["micro_f1"])
    assert (head.k_, head.temperature_) == (best["k"], best["temperature"])
    assert best["micro_f1"] == pytest.approx(
        best_threshold(head.scores(val), sp.csr_array(truth))[1], abs=1e-6
    )


def test_duplicates__of_a_row_vote_but_it_does_not_vote_for_itself():
    X, Y = rows(40)
    doubled, tags = np.vstack([X, X]), np.vstack([Y, Y])
    head = Knn(k=1, **RAW).fit(doubled, tags)
    assert max(row["micro_f1"] for row in head.tuning_) == 1.0
    alone = Knn(k=1, **RAW).fit(X, Y)
    assert max(row["micro_f1"] for row in alone.tuning_) < 1.0


def test_neighbours__nearest_first_and_ties_by_row():
    X, Y = rows(30)
    head = Knn(k=3).fit(np.vstack([X, X[:5]]), np.vstack([Y, Y[:5]]))
    ids, similarities = head.neighbours(X[:5], 2)
    assert ids.tolist() == [[row, 30 + row] for row in range(5)]
    np.testing.assert_allclose(similarities, 1, atol=1e-5)
    assert head.neighbours(X[:2], 99)[0].shape == (2, 35)
    with pytest.raises(HeadError, match="k must be 1 or more, it is 0"):
        head.neighbours(X, 0)


def test_an_all_zero_row__gets_every_rows_vote():
    X, Y = rows(50)
    head = Knn(k=3, temperature=0.1, transform="l2").fit(X, Y)
    np.testing.assert_allclose(head.scores(np.zeros((1, 9)))[0], shares(Y), atol=1e-6)


def test_add__is_the_head_of_all_rows_with_nothing_else_learned_anew():
    X, Y = rows()
    more, tags = rows(30, seed=3)
    head = Knn(transform="l2").fit(X, Y)
    learned = head.chosen()
    assert head.add(more, tags) is head and head.chosen() == learned
    whole = Knn(**learned).fit(np.vstack([X, more]), np.vstack([Y, tags]))
    np.testing.assert_array_equal(head.scores(more), whole.scores(more))
    assert head.neighbours(more, 1)[0].ravel().tolist() == list(range(150, 180))
    with pytest.raises(HeadError, match="the validation rows have 3 features, the training rows 9"):
        head.add(more[:, :3], tags)
    with pytest.raises(HeadError, match="not fitted yet"):
        Knn().add(X, Y)


def test_add_tags__leaves_present_scores_alone():
    X, Y = rows()
    queries, _ = rows(40, seed=1)
    head = Knn().fit(X, Y[:, :2])
    before = head.scores(queries)
    assert head.add_tags(X, Y[:, 2:]) is head and head.n_tags_ == 4
    np.testing.assert_array_equal(head.scores(queries)[:, :2], before)
    whole = Knn(**head.chosen()).fit(X, Y)
    np.testing.assert_array_equal(head.scores(queries), whole.scores(queries))


def test_add_tags__only_for_the_rows_it_holds():
    X, Y = rows()
    head = Knn(k=3).fit(X, Y)
    with pytest.raises(HeadError, match="the 150 rows of 9 features that the head holds, X has 149 of 9"):
        head.add_tags(X[1:], Y[1:])
    swapped = X.copy()
    swapped[[7, 9]] = X[[9, 7]]
    with pytest.raises(HeadError, match="but row 7 of X is another; give the same rows in the same order"):
        head.add_tags(swapped, Y)
    with pytest.raises(HeadError, match="X has 150 rows and Y 149"):
        head.add_tags(X, Y[1:])
    assert head.n_tags_ == 4


@pytest.mark.parametrize("given", [(1.0,), (-0.1, 0.0)])
def test_calibration__errors(given):
    X, Y = rows(20)
    with pytest.raises(OptionError, match="option 'calibration' of head 'knn' got .* two numbers"):
        Knn(calibration=given).fit(X, Y)
