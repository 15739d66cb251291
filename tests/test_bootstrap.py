"""The paired bootstrap against resampling by hand with scikit-learn, and against theory."""

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.metrics import f1_score

from toolkit.bootstrap import Interval, resampled_f1


def case(N=80, L=6, seed=0):
    random = np.random.default_rng(seed)
    Y = random.random((N, L)) < [0.5, 0.4, 0.3, 0.2, 0.1, 0.02]
    P = np.where(random.random(Y.shape) < 0.2, ~Y, Y)
    return Y, P


@pytest.mark.parametrize("metric", ["micro", "macro", "samples"])
def test_resamples__equal_scikit_learn_on_the_rows_drawn(metric):
    Y, P = case()
    draws = resampled_f1(sp.csr_array(Y), {"a": sp.csr_array(P)}, metric, samples=20, seed=3)["a"]
    times = np.random.default_rng(3).multinomial(80, np.full(80, 1 / 80), size=20)
    for draw, count in zip(draws, times, strict=True):
        rows = np.repeat(np.arange(80), count)
        seen = Y[rows].any(axis=0) if metric == "macro" else np.ones(6, bool)
        want = f1_score(Y[rows][:, seen], P[rows][:, seen], average=metric, zero_division=0)
        assert draw == pytest.approx(want)


def test_heads__share_the_resamples():
    Y, P = case()
    draws = resampled_f1(sp.csr_array(Y), {"a": sp.csr_array(P), "b": sp.csr_array(P)}, "micro", samples=50)
    np.testing.assert_array_equal(draws["a"], draws["b"])


def test_interval__covers_as_often_as_it_says():
    """Of a mean of normals the 95 % interval covers the truth in about 95 of 100 repeats."""
    Y, _ = case(400, seed=9)
    random, covered = np.random.default_rng(0), 0
    big = np.where(np.random.default_rng(1).random((20_000, 6)) < 0.2, 1, 0)
    truth = np.random.default_rng(2).random((20_000, 6)) < 0.3
    guess = np.where(big, ~truth, truth)
    exact = f1_score(truth, guess, average="micro")
    for _ in range(100):
        rows = random.choice(20_000, len(Y))
        draws = resampled_f1(
            sp.csr_array(truth[rows]),
            {"a": sp.csr_array(guess[rows])},
            "micro",
            samples=300,
            seed=int(rows[0]),
        )["a"]
        interval = Interval.of(draws)
        covered += interval.low <= exact <= interval.high
    assert 88 <= covered <= 99


def test_difference__of_a_better_head_excludes_zero():
    Y, P = case(600)
    worse = np.where(np.random.default_rng(5).random(Y.shape) < 0.1, ~P, P)
    draws = resampled_f1(sp.csr_array(Y), {"a": sp.csr_array(P), "b": sp.csr_array(worse)}, "samples")
    assert Interval.of(draws["a"] - draws["b"]).excludes_zero()
    assert not Interval.of(draws["a"] - draws["a"]).excludes_zero()
