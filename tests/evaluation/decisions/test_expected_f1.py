"""The set of each image whose expected F1 is highest, against brute force; its calibration."""

import itertools

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from toolkit.errors import OptionError
from toolkit.evaluation.decisions.ranked import CLIPS
from toolkit.evaluation.decisions.registry import parse_rule, rule_from_dict
from toolkit.evaluation.metrics import evaluate


def test_expected_f1__is_the_best_of_all_sets_by_brute_force():
    random = np.random.default_rng(0)
    scores = random.uniform(0.01, 0.9, size=(40, 6)).astype(np.float32)
    got = rule_from_dict({"rule": "expected-f1", "min_tags": 0, "slope": 1.0, "intercept": 0.0}).apply(scores)
    sets = np.array(list(itertools.product([0, 1], repeat=6)))[1:]
    for row, p in enumerate(scores.astype(float)):
        ratio = 2 * (sets @ p) / (sets.sum(axis=1) + p.sum())
        np.testing.assert_array_equal(got.toarray()[row], sets[np.argmax(ratio)])


@pytest.mark.parametrize("min_tags", [0, 7])
def test_expected_f1__ranks_more_tags_where_the_set_is_larger(monkeypatch, min_tags):
    random = np.random.default_rng(3)
    scores = (random.random((60, 40)) ** random.uniform(0.2, 8, size=(60, 1))).astype(np.float32)
    rule = rule_from_dict({"rule": "expected-f1", "min_tags": min_tags, "slope": 1.3, "intercept": -0.2})
    whole = rule.apply(scores).toarray()
    assert whole.sum(axis=1).max() > 16
    monkeypatch.setattr("toolkit.evaluation.decisions.ranked.RANKED", 2)
    np.testing.assert_array_equal(rule.apply(scores).toarray(), whole)


def test_expected_f1__calibrates_first():
    random = np.random.default_rng(1)
    z = random.normal(-1, 1.5, size=(3000, 5))
    Y = random.random(z.shape) < 1 / (1 + np.exp(-z))
    skewed = (1 / (1 + np.exp(-(z - 2) / 3))).astype(np.float32)  # slope 1/3, shifted
    rule = parse_rule("expected-f1").fit(skewed, Y)
    assert rule.slope == pytest.approx(3, rel=0.1) and rule.intercept == pytest.approx(2, abs=0.2)
    assert rule.apply(skewed).toarray().any(axis=1).all()
    fixed = parse_rule("fixed:0.5").apply(skewed)
    assert (
        evaluate(sp.csr_array(Y), rule.apply(skewed)).samples_f1 > evaluate(sp.csr_array(Y), fixed).samples_f1
    )
    again = rule_from_dict(rule.to_dict())
    np.testing.assert_array_equal(again.apply(skewed).toarray(), rule.apply(skewed).toarray())
    assert parse_rule("expected-f1", min_tags=3).fit(skewed, Y).apply(skewed).sum(axis=1).min() == 3


def test_expected_f1__calibration_is_the_logistic_regression_of_clipped_logits():
    random = np.random.default_rng(4)
    z = random.normal(-2, 2, size=(2000, 6))
    Y = random.random(z.shape) < expit(0.7 * z - 0.4)
    rule = parse_rule("expected-f1").fit(expit(z).astype(np.float32), Y)
    clipped = np.clip(z, logit(rule.clip), -logit(rule.clip)).reshape(-1, 1)
    want = LogisticRegression(C=np.inf, tol=1e-10).fit(clipped, Y.ravel())
    assert rule.slope == pytest.approx(want.coef_[0, 0], abs=2e-4)
    assert rule.intercept == pytest.approx(want.intercept_[0], abs=2e-4)


def test_expected_f1__the_level_scores_are_clipped_at_is_that_of_the_best_log_loss():
    """Votes of exactly 0 say little, smooth scores speak down to the smallest; the sum is right anyway."""
    random = np.random.default_rng(5)
    z = random.normal(-7, 2.5, size=(2000, 60))
    Y = random.random(z.shape) < expit(z)
    smooth, votes = expit(z).astype(np.float32), (random.binomial(50, expit(z)) / 50).astype(np.float32)
    for scores, levels in ((smooth, (1e-6, 1e-5, 1e-4)), (votes, (1e-2, 1e-3))):
        rule = parse_rule("expected-f1").fit(scores, Y)
        assert rule.clip in levels
        assert rule.calibrated(scores).sum() == pytest.approx(Y.sum(), rel=1e-3)
        losses = []
        for clip in CLIPS:
            at = np.clip(logit(np.clip(scores, clip, 1 - clip)), logit(clip), -logit(clip)).reshape(-1, 1)
            p = LogisticRegression(C=np.inf, tol=1e-9).fit(at, Y.ravel()).predict_proba(at)
            losses.append(log_loss(Y.ravel(), p))
        assert losses[CLIPS.index(rule.clip)] == pytest.approx(min(losses), abs=1e-6)


def test_expected_f1__untuned_and_nothing_to_learn(caplog):
    scores = np.full((2, 3), 0.4, np.float32)
    with pytest.raises(OptionError, match="'expected-f1' is not tuned"):
        parse_rule("expected-f1").apply(scores)
    rule = parse_rule("expected-f1").fit(scores, np.zeros((2, 3), bool))
    assert (rule.slope, rule.intercept) == (1.0, 0.0) and "all tags or none are positive" in caplog.text
