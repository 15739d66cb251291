"""Rows that are measured never influence the thresholds they are decided by."""

import numpy as np
import pytest
import scipy.sparse as sp

from toolkit.evaluation.decisions.crossfit import cross_fitted
from toolkit.evaluation.decisions.registry import parse_rule
from toolkit.evaluation.metrics import evaluate

RULES = ["global", "per-tag", "logit-adjusted", "expected-f1", "fixed:0.4", "top-k:2"]


def drawn(seed, N=60, L=5):
    random = np.random.default_rng(seed)
    Y = random.random((N, L)) < random.random(L) * 0.6
    return np.clip(Y * 0.25 + random.random((N, L)) * 0.75, 0, 1).astype(np.float32), Y


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("folds", [2, 3])
def test_own_labels__change_no_decision(rule, folds):
    untuned = parse_rule(rule)
    for seed in range(4):
        scores, Y = drawn(seed)
        fold_of = np.random.default_rng(seed).permutation(np.arange(len(Y)) % folds)
        before = cross_fitted(untuned, scores, Y, folds, seed=seed).toarray()
        others_changed = 0
        for fold in range(folds):
            altered = Y.copy()
            altered[fold_of == fold] = ~Y[fold_of == fold]
            after = cross_fitted(untuned, scores, altered, folds, seed=seed).toarray()
            np.testing.assert_array_equal(after[fold_of == fold], before[fold_of == fold])
            others_changed += (after != before).sum()
        # labels do matter, to the rows of other folds
        assert (others_changed > 0) == (rule not in ("fixed:0.4", "top-k:2"))


@pytest.mark.parametrize(("rule", "metric"), [("global", "micro_f1"), ("per-tag", "macro_f1")])
def test_noise__has_no_cross_fitted_gain(rule, metric):
    """Scores that know nothing seem to gain where rules are tuned on the rows measured, not cross-fitted."""
    tuned, crossed, chance = [], [], []
    for seed in range(12):
        random = np.random.default_rng(seed)
        scores, Y = random.random((150, 12)).astype(np.float32), random.random((150, 12)) < 0.1
        untuned, truth = parse_rule(rule), sp.csr_array(Y)
        crossed.append(getattr(evaluate(truth, cross_fitted(untuned, scores, Y, seed=seed)), metric))
        tuned.append(getattr(evaluate(truth, untuned.fit(scores, Y).apply(scores)), metric))
        every_tag = parse_rule("fixed:0").apply(scores)
        chance.append(getattr(evaluate(truth, every_tag), metric))
    assert np.mean(crossed) < np.mean(chance)  # of every tag for every image, the best that is known of noise
    assert np.mean(tuned) > np.mean(crossed) + 0.002
