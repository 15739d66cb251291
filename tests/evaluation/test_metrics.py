"""Metrics against scikit-learn's."""

import json
import math

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.metrics import average_precision_score, f1_score, precision_score, recall_score

from toolkit.evaluation.metrics import average_precision, evaluate, per_image_counts, support_bands


def random_case(seed, rows=60, tags=300, ties=True):
    rng = np.random.default_rng(seed)
    truth = rng.random((rows, tags)) < rng.random(tags) * 0.3
    truth[:, 0] = truth[:, 1] = False
    truth[0] = False
    scores = rng.random((rows, tags)).astype(np.float32)
    if ties:
        scores = np.round(scores, 1)
    predicted = scores > 0.7
    predicted[:, 1] = predicted[:, 2] = False
    predicted[:2] = False
    return truth, predicted, scores


def measure(truth, predicted, scores=None):
    return evaluate(sp.csr_array(truth), sp.csr_array(predicted), scores)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("ties", [True, False])
def test_evaluate__equals_scikit_learn(seed, ties):
    truth, predicted, scores = random_case(seed, ties=ties)
    metrics = measure(truth, predicted, scores)
    kwargs = {"zero_division": 0}
    assert metrics.micro_f1 == pytest.approx(f1_score(truth, predicted, average="micro", **kwargs))
    assert metrics.micro_precision == pytest.approx(
        precision_score(truth, predicted, average="micro", **kwargs)
    )
    assert metrics.micro_recall == pytest.approx(recall_score(truth, predicted, average="micro", **kwargs))
    assert metrics.macro_f1_all == pytest.approx(f1_score(truth, predicted, average="macro", **kwargs))
    assert metrics.samples_f1 == pytest.approx(f1_score(truth, predicted, average="samples", **kwargs))
    seen = truth.any(axis=0)
    assert metrics.macro_f1 == pytest.approx(
        f1_score(truth[:, seen], predicted[:, seen], average="macro", **kwargs)
    )
    assert metrics.map == pytest.approx(
        average_precision_score(truth[:, seen], scores[:, seen], average="macro")
    )
    for tag in np.flatnonzero(seen)[:40]:
        assert metrics.ap[tag] == pytest.approx(average_precision_score(truth[:, tag], scores[:, tag]))


def test_evaluate__counts():
    truth, predicted, _ = random_case(5)
    metrics = measure(truth, predicted)
    np.testing.assert_array_equal(metrics.support, truth.sum(axis=0))
    np.testing.assert_array_equal(metrics.predicted, predicted.sum(axis=0))
    np.testing.assert_array_equal(metrics.true_positive, (truth & predicted).sum(axis=0))
    assert metrics.n_tags == 300
    assert metrics.n_tags_with_support == truth.any(axis=0).sum()
    assert metrics.n_never_predicted == (truth.any(axis=0) & ~predicted.any(axis=0)).sum()
    assert math.isnan(metrics.f1[1]) and math.isnan(metrics.ap[2]) and math.isnan(metrics.map)


def test_evaluate__nothing_true_nothing_predicted():
    nothing = np.zeros((2, 3), bool)
    metrics = measure(nothing, nothing, np.zeros((2, 3), np.float32))
    assert (metrics.micro_f1, metrics.samples_f1, metrics.macro_f1_all) == (0, 0, 0)
    assert math.isnan(metrics.macro_f1) and math.isnan(metrics.map)
    assert json.loads(json.dumps(metrics.to_dict(), allow_nan=False))["macro_f1"] is None


def test_evaluate__one_image_one_tag():
    metrics = measure([[True]], [[True]], np.array([[0.3]], np.float32))
    assert (metrics.micro_f1, metrics.macro_f1, metrics.samples_f1, metrics.map) == (1, 1, 1, 1)


def test_evaluate__stored_zeros_do_not_count():
    truth = sp.csr_array((np.array([True, False]), np.array([0, 1]), np.array([0, 2])), shape=(1, 2))
    assert evaluate(truth, truth).support.tolist() == [1, 0]


def test_evaluate__shapes_differ():
    with pytest.raises(ValueError, match=r"must have one shape, they have \[\(1, 2\), \(1, 3\)\]"):
        measure(np.zeros((1, 2), bool), np.zeros((1, 3), bool))


def test_per_image_counts():
    truth, predicted, _ = random_case(7)
    want = np.stack(
        [(truth & predicted).sum(1), (~truth & predicted).sum(1), (truth & ~predicted).sum(1)], axis=1
    )
    np.testing.assert_array_equal(per_image_counts(sp.csr_array(truth), sp.csr_array(predicted)), want)


def test_average_precision__all_scores_equal_is_the_prevalence():
    truth = np.array([[1], [0], [0], [1], [0]], bool)
    assert average_precision(sp.csr_array(truth), np.full((5, 1), 0.5, np.float32))[0] == pytest.approx(0.4)


def test_support_bands__cover_every_tag_once():
    support = np.array([0, 1, 4, 5, 19, 20, 49, 50, 199, 200, 999, 1000, 40_000, 0])
    bands = dict(support_bands(support))
    assert list(bands) == ["0", "1-4", "5-19", "20-49", "50-199", "200-999", "1000+"]
    assert bands["0"].tolist() == [0, 13] and bands["1000+"].tolist() == [11, 12]
    assert sorted(np.concatenate(list(bands.values()))) == list(range(14))
    assert list(dict(support_bands(np.array([3, 7])))) == ["1-4", "5-19"]
