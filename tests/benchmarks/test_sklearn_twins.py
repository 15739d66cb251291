"""The shortcuts of the benchmarks' scikit-learn heads must not change what scikit-learn answers."""

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from benchmarks import sklearn_twins as shortcuts
from benchmarks.contest_like import contest_like


@pytest.fixture(scope="module")
def parts():
    data = contest_like(1800, 220, 12, tags_per_image=2)
    cuts = np.split(np.arange(1800), [1000, 1400])
    return [(data.X[rows], data.Y[rows]) for rows in cuts]


@pytest.fixture(autouse=True)
def one_process(monkeypatch):
    monkeypatch.setattr(shortcuts, "JOBS", 1)


def test_neighbour_shares__are_k_neighbors_classifiers(parts):
    (X, Y), (queries, _), _ = parts
    found = shortcuts.neighbour_shares((X, Y), queries, [1, 5, 30])
    for k, shares in found.items():
        theirs = (
            KNeighborsClassifier(k, metric="cosine").fit(X, Y.toarray().astype(int)).predict_proba(queries)
        )
        np.testing.assert_allclose(shares, np.stack([each[:, 1] for each in theirs], axis=1), atol=1e-6)


def test_rotated_rows__have_the_same_optimum(parts):
    (X, Y), (queries, _), _ = parts
    X, Y = X[:150], Y[:150]  # fewer than the 220 features
    mean, std = X.mean(axis=0), X.std(axis=0)
    rows, asked = (X - mean) / std, (queries - mean) / std
    axes = shortcuts.row_space(rows)
    assert axes.shape == (220, 149)  # centred
    found = shortcuts.one_vs_rest(rows @ axes, Y, 0.01).predict_proba(asked @ axes)
    exact = LogisticRegression(C=0.01, solver="newton-cholesky", tol=1e-10)
    for tag in (0, 5, 11):
        theirs = exact.fit(rows.astype(float), Y[:, [tag]].toarray().ravel()).predict_proba(
            asked.astype(float)
        )
        np.testing.assert_allclose(found[:, tag], theirs[:, 1], atol=1e-3)


def test_row_space__of_more_rows_than_features_is_all():
    np.testing.assert_array_equal(shortcuts.row_space(np.ones((5, 3), np.float32)), np.eye(3))


def test_constant_tags__are_scored_constantly(parts):
    (X, Y), (queries, _), _ = parts
    columns = sp.csr_array(
        sp.hstack([Y[:, :2], sp.csr_array((len(X), 1), dtype=bool), np.ones((len(X), 1), bool)])
    )
    found = shortcuts.one_vs_rest(X, columns, 0.01).predict_proba(queries)
    assert (found[:, 2] == 0).all() and (found[:, 3] == 1).all()


@pytest.mark.parametrize("best", [1e-6, 1e-4, 0.03, 30])
def test_logistic_regression__finds_the_best_C_wherever_it_is(parts, monkeypatch, best):
    tried = []
    monkeypatch.setattr(shortcuts, "one_vs_rest", lambda X, Y, C: tried.append(C) or C)
    monkeypatch.setattr(
        shortcuts, "_probabilities", lambda fitted, rows: fitted
    )  # the C stands for its scores
    monkeypatch.setattr(shortcuts, "_f1", lambda C, Y: 1 - 0.1 * abs(np.log10(C / best)))
    found = shortcuts.tuned_logistic_regression(parts[0], parts[1])(parts[2][0])
    assert abs(np.log10(found / best)) <= 0.25  # of the half decades tried, the nearest
    assert len(tried) == len(set(tried)) < 20


@pytest.mark.parametrize("name", ["logistic_regression", "neighbours", "network"])
def test_tuned__beats_giving_everyone_the_frequent_tags(parts, name, monkeypatch):
    monkeypatch.setattr(shortcuts, "EPOCHS", 40)
    train, val, (X, Y) = parts
    scores = getattr(shortcuts, f"tuned_{name}")(train, val)(X)
    assert scores.dtype == np.float32 and scores.shape == Y.shape
    prior = np.tile(np.asarray(train[1].mean(axis=0), np.float32), (len(X), 1))
    assert shortcuts._f1(scores, Y) > shortcuts._f1(prior, Y) + 0.02
