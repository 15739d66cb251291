"""Cross-fitted predictions and optimism against tuning by hand."""

import numpy as np
import pytest
import scipy.sparse as sp

from toolkit.errors import OptionError
from toolkit.evaluation.decisions.crossfit import cross_fitted, optimism
from toolkit.evaluation.decisions.ranked import TopK
from toolkit.evaluation.decisions.registry import parse_rule
from toolkit.evaluation.metrics import evaluate


def case(seed, rows=50, tags=8, decimals=6):
    rng = np.random.default_rng(seed)
    Y = rng.random((rows, tags)) < rng.random(tags) * 0.5
    scores = np.clip(Y * 0.3 + rng.random((rows, tags)) * 0.7, 0, 1).round(decimals).astype(np.float32)
    return scores, Y, sp.csr_array(Y)


METRICS = ("micro", "macro", "samples")


def test_cross_fitted__is_the_rule_of_the_other_half():
    scores, Y, sparse = case(5, rows=41)
    got = cross_fitted(parse_rule("global"), scores, Y, seed=3).toarray()
    dealt = np.random.default_rng(3).permutation(np.arange(41) % 2)
    for fold in (0, 1):
        rule = parse_rule("global").fit(scores[dealt != fold], Y[dealt != fold])
        np.testing.assert_array_equal(got[dealt == fold], rule.apply(scores[dealt == fold]).toarray())
    assert got.shape == sparse.shape


def test_cross_fitted__keeps_groups_together_and_the_rule_as_it_is():
    random = np.random.default_rng(0)
    groups = np.repeat(["a", "b", "c", "d", "e", "f"], 5)[random.permutation(30)]
    seen = []

    class Spy(TopK):
        def fit(self, scores, Y):
            seen.append(set(scores[0 : scores.shape[0], 0:1].ravel().tolist()))
            return self

    number = np.unique(groups, return_inverse=True)[1]
    scores = np.stack([number, number], axis=1).astype(np.float32) / 10
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("toolkit.evaluation.decisions.ranked.TopK", Spy)
        cross_fitted(parse_rule("top-k:1"), scores, scores > 0.2, folds=3, groups=groups)
    assert [len(each) for each in seen] == [4, 4, 4]  # two of the six groups are left out whole, each time
    rule = parse_rule("global").fit(scores, scores > 0.2)
    before = rule.to_dict()
    cross_fitted(rule, scores, scores > 0.4, folds=3, groups=groups)
    assert rule.to_dict() == before


@pytest.mark.parametrize("folds", [1, 0, 5])
def test_cross_fitted__refuses(folds):
    groups = np.array([0, 0, 1, 2, 3])
    with pytest.raises(OptionError, match=f"on {folds} folds of rows, .* as many groups, there are 4"):
        cross_fitted(parse_rule("global"), np.ones((5, 2), np.float32), np.ones((5, 2)), folds, groups)


def test_optimism__is_tuned_less_cross_fitted_and_large_where_there_is_only_noise():
    random = np.random.default_rng(2)
    scores = random.random((120, 40)).astype(np.float32)
    Y = random.random(scores.shape) < 0.05
    got = optimism(parse_rule("per-tag"), scores, Y, folds=4, seed=1)
    truth = sp.csr_array(Y)
    inside = evaluate(truth, parse_rule("per-tag").fit(scores, Y).apply(scores))
    outside = evaluate(truth, cross_fitted(parse_rule("per-tag"), scores, Y, 4, seed=1))
    want = {f"{name}_f1": getattr(inside, f"{name}_f1") - getattr(outside, f"{name}_f1") for name in METRICS}
    assert got == pytest.approx(want)
    assert got["macro_f1"] > 0.01
    fixed = optimism(parse_rule("fixed:0.5"), scores, Y)
    assert fixed == {"micro_f1": 0, "macro_f1": 0, "samples_f1": 0}
