"""Every metric against scikit-learn's on thousands of random cases, most of them at some edge."""

import math

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.metrics import average_precision_score, f1_score, precision_recall_fscore_support

from toolkit.evaluation.metrics import BANDS, evaluate, support_bands

CASES = 400  # of each shape
SHAPES = [(1, 1), (1, 4), (5, 1), (2, 2), (7, 3), (12, 5), (30, 4)]
SHARES = [0.0, 0.05, 0.3, 0.6, 1.0]


def a_case(shape, seed):
    """Return truth, predictions and scores (N, L), drawn in one of many ways."""
    random = np.random.default_rng(seed)
    N, L = shape
    truth = random.random((N, L)) < random.choice(SHARES, size=L)
    if seed % 12 < 2:
        truth[:] = seed % 12
    drawn = random.random((N, L)) < random.choice(SHARES, size=L)
    nothing = np.zeros_like(truth)
    predictions = [drawn, truth, ~truth, truth & drawn, truth | drawn, nothing, ~nothing]
    scores = random.random((N, L)).astype(np.float32)
    drawings = [scores, scores.round(1), scores.round(), np.full_like(scores, 0.5), truth * scores]
    return truth, predictions[seed % 7], drawings[seed // 7 % 5].astype(np.float32)


def by_scikit_learn(truth, predicted):
    """Return precision, recall, F1 and support of each column of all pairs together."""
    return precision_recall_fscore_support(
        np.hstack(truth),
        np.hstack(predicted),
        average=None,
        zero_division=0,
        labels=range(np.hstack(truth).shape[1]),
    )


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_precision_recall_and_f1__of_random_cases(shape):
    cases = [a_case(shape, seed) for seed in range(CASES)]
    truth, predicted = [case[0] for case in cases], [case[1] for case in cases]
    got = [vars(evaluate(sp.csr_array(Y), sp.csr_array(P))) for Y, P in zip(truth, predicted, strict=True)]
    # many cases at a time, as one with many tags; pooled pairs are a tag, and so is each image
    N, L = shape
    tags = by_scikit_learn(truth, predicted)[2].reshape(CASES, L)
    pooled = by_scikit_learn([Y.reshape(-1, 1) for Y in truth], [P.reshape(-1, 1) for P in predicted])
    images = by_scikit_learn([Y.T for Y in truth], [P.T for P in predicted])[2].reshape(CASES, N)
    for number, (Y, P) in enumerate(zip(truth, predicted, strict=True)):
        seen, F = Y.any(axis=0), tags[number]
        want = {
            "micro_precision": pooled[0][number],
            "micro_recall": pooled[1][number],
            "micro_f1": pooled[2][number],
            "samples_f1": images[number].mean(),
            "macro_f1": F[seen].mean() if seen.any() else math.nan,
            "macro_f1_all": F.mean(),
            "f1": np.where(seen | P.any(axis=0), F, math.nan),
            "support": Y.sum(axis=0),
            "predicted": P.sum(axis=0),
            "true_positive": (Y & P).sum(axis=0),
            "n_tags": L,
            "n_tags_with_support": seen.sum(),
            "n_never_predicted": (seen & ~P.any(axis=0)).sum(),
            "map": math.nan,
            "ap": np.full(L, math.nan),
        }
        assert set(got[number]) == set(want)
        for name, value in want.items():
            np.testing.assert_allclose(got[number][name], value, rtol=1e-12, err_msg=f"{name}, seed {number}")
    # the edges were met
    assert (
        {Y.any() for Y in truth} == {P.any() for P in predicted} == {Y.all() for Y in truth} == {True, False}
    )


def test_averages__are_those_that_scikit_learn_has_by_name():
    for seed in range(70):
        truth, predicted, _ = a_case((9, 3), seed)
        got = evaluate(sp.csr_array(truth), sp.csr_array(predicted))
        for average, value in (
            ("micro", got.micro_f1),
            ("samples", got.samples_f1),
            ("macro", got.macro_f1_all),
        ):
            want = f1_score(truth, predicted, average=average, zero_division=0)
            assert value == pytest.approx(want, rel=1e-12), (seed, average)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_average_precision__of_random_cases(shape):
    undefined = 0
    for seed in range(0, CASES, 4):
        truth, _, scores = a_case(shape, seed)
        got = evaluate(sp.csr_array(truth), sp.csr_array(truth), scores)
        seen = np.flatnonzero(truth.any(axis=0))
        want = np.full(truth.shape[1], math.nan)
        want[seen] = [average_precision_score(truth[:, tag], scores[:, tag]) for tag in seen]
        np.testing.assert_allclose(got.ap, want, rtol=1e-12, err_msg=f"seed {seed}")
        np.testing.assert_allclose(got.map, want[seen].mean() if len(seen) else math.nan, rtol=1e-12)
        undefined += not len(seen)
    assert 0 < undefined < CASES / 4


def test_bands__by_counting():
    random = np.random.default_rng(0)
    for _ in range(200):
        support = (10 ** random.uniform(-0.5, 4, size=random.integers(1, 40))).astype(np.int64)
        bands = support_bands(support)
        assert sorted(np.concatenate([columns for _, columns in bands]).tolist()) == list(range(len(support)))
        for name, columns in bands:
            low, high = (name.rstrip("+").split("-") * 2)[:2]
            above = math.inf if name.endswith("+") else int(high)
            assert all(int(low) <= support[column] <= above for column in columns)
            assert int(low) in {0, *BANDS}
