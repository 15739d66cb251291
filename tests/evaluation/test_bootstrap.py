"""The paired bootstrap against resampling by hand with scikit-learn, and against theory."""

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.metrics import average_precision_score, f1_score, precision_score, recall_score

from toolkit.evaluation.bootstrap import METRICS, Interval, resample, resampled_map
from toolkit.evaluation.metrics import evaluate


def case(N=80, L=6, seed=0):
    random = np.random.default_rng(seed)
    Y = random.random((N, L)) < [0.5, 0.4, 0.3, 0.2, 0.1, 0.02]
    P = np.where(random.random(Y.shape) < 0.2, ~Y, Y)
    return Y, P


def by_hand(Y, P, rows):
    """Every metric of the rows drawn, by scikit-learn."""
    seen = Y[rows].any(axis=0)
    kwargs = {"zero_division": 0}
    return {
        "micro_f1": f1_score(Y[rows], P[rows], average="micro", **kwargs),
        "macro_f1": f1_score(Y[rows][:, seen], P[rows][:, seen], average="macro", **kwargs),
        "macro_f1_all": f1_score(Y[rows], P[rows], average="macro", **kwargs),
        "samples_f1": f1_score(Y[rows], P[rows], average="samples", **kwargs),
        "micro_precision": precision_score(Y[rows], P[rows], average="micro", **kwargs),
        "micro_recall": recall_score(Y[rows], P[rows], average="micro", **kwargs),
    }


@pytest.mark.parametrize("grouped", [False, True])
def test_resamples__equal_scikit_learn_on_the_rows_drawn(grouped):
    Y, P = case()
    worse = np.where(np.random.default_rng(1).random(Y.shape) < 0.2, ~P, P)
    groups = np.random.default_rng(2).integers(0, 30, 80) if grouped else np.arange(80)
    names, number = np.unique(groups, return_inverse=True)
    resampled = resample(
        sp.csr_array(Y),
        {"a": sp.csr_array(P), "b": sp.csr_array(worse)},
        groups=np.array([f"group {group:02}" for group in groups]) if grouped else None,
        samples=130,
        seed=3,
    )
    times = np.random.default_rng(3).multinomial(len(names), np.full(len(names), 1 / len(names)), size=130)
    for draw, count in enumerate(times):
        rows = np.repeat(np.arange(80), count[number])
        for head, predicted in (("a", P), ("b", worse)):
            got = {metric: draws[draw] for metric, draws in resampled.draws[head].items()}
            assert got == pytest.approx(by_hand(Y, predicted, rows))
    assert set(resampled.draws["a"]) == set(METRICS)


@pytest.mark.parametrize("grouped", [False, True])
def test_map__equals_scikit_learn_on_the_rows_drawn(grouped):
    Y, _ = case()
    scores = np.round(np.random.default_rng(5).random(Y.shape) * 0.6 + 0.4 * Y, 1).astype(np.float32)  # ties
    groups = np.random.default_rng(2).integers(0, 30, 80) if grouped else None
    resampled = resampled_map(sp.csr_array(Y), scores, groups=groups, samples=70, seed=3)
    number = np.arange(80) if groups is None else np.unique(groups, return_inverse=True)[1]
    many = number.max() + 1
    times = np.random.default_rng(3).multinomial(many, np.full(many, 1 / many), size=70)
    for draw, count in enumerate(times):
        rows = np.repeat(np.arange(80), count[number])
        seen = [tag for tag in range(Y.shape[1]) if Y[rows, tag].any()]
        want = np.mean([average_precision_score(Y[rows, tag], scores[rows, tag]) for tag in seen])
        assert resampled[draw] == pytest.approx(want, rel=1e-5)
    both = resample(sp.csr_array(Y), {"a": sp.csr_array(Y)}, map_draws={"a": resampled})
    assert both.interval("a", "map") == Interval.of(resampled)


def test_metrics__are_names_of_an_evaluation():
    Y, P = case()
    measured = evaluate(sp.csr_array(Y), sp.csr_array(P))
    assert all(0 < getattr(measured, metric) < 1 for metric in METRICS)


def test_resample__nothing_predicted_and_tags_without_positives():
    Y = np.zeros((5, 3), bool)
    Y[0, 0] = True
    resampled = resample(sp.csr_array(Y), {"a": sp.csr_array((5, 3), dtype=bool)}, samples=9).draws["a"]
    assert not any(draws.any() for draws in resampled.values())


def test_groups__of_copies_count_as_one_of_each():
    """Every image four times: drawn apart, the interval is half as wide as what is known."""
    Y, P = case(150)
    four = [sp.csr_array(np.repeat(each, 4, axis=0)) for each in (Y, P)]
    widths = []
    for groups in (None, np.repeat(np.arange(150), 4)):
        interval = resample(four[0], {"a": four[1]}, groups=groups).interval("a", "micro_f1")
        widths.append(interval.high - interval.low)
    single = resample(sp.csr_array(Y), {"a": sp.csr_array(P)}).interval("a", "micro_f1")
    assert widths[1] == pytest.approx(single.high - single.low, rel=0.05)
    assert widths[0] == pytest.approx(widths[1] / 2, rel=0.15)


def test_heads__share_the_resamples():
    Y, P = case()
    resampled = resample(sp.csr_array(Y), {"a": sp.csr_array(P), "b": sp.csr_array(P)}, samples=50)
    for metric in METRICS:
        np.testing.assert_array_equal(resampled.draws["a"][metric], resampled.draws["b"][metric])
        assert resampled.lead("a", "b", metric) == Interval(0, 0)


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
        resampled = resample(
            sp.csr_array(truth[rows]), {"a": sp.csr_array(guess[rows])}, samples=300, seed=int(rows[0])
        )
        interval = resampled.interval("a", "micro_f1")
        covered += interval.low <= exact <= interval.high
    assert 88 <= covered <= 99


def test_difference__of_a_better_head_excludes_zero():
    Y, P = case(600)
    worse = np.where(np.random.default_rng(5).random(Y.shape) < 0.1, ~P, P)
    resampled = resample(sp.csr_array(Y), {"a": sp.csr_array(P), "b": sp.csr_array(worse)})
    lead = resampled.lead("a", "b", "samples_f1")
    assert lead.low > 0
    assert lead == Interval.of(resampled.draws["a"]["samples_f1"] - resampled.draws["b"]["samples_f1"])
    assert resampled.lead("a", "a", "samples_f1") == Interval(0, 0)
