"""Decision rules against brute force and scikit-learn's F1."""

import itertools
import json

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.metrics import f1_score

from toolkit.decisions import RULES, best_threshold, parse_rule, rule_from_dict
from toolkit.errors import OptionError
from toolkit.metrics import evaluate


def case(seed, rows=50, tags=8, decimals=6):
    rng = np.random.default_rng(seed)
    Y = rng.random((rows, tags)) < rng.random(tags) * 0.5
    scores = np.clip(Y * 0.3 + rng.random((rows, tags)) * 0.7, 0, 1).round(decimals).astype(np.float32)
    return scores, Y, sp.csr_array(Y)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("decimals", [1, 6])
def test_best_threshold__is_the_best_of_all_cuts(seed, decimals):
    scores, Y, sparse = case(seed, decimals=decimals)
    brute = max(f1_score(Y, scores >= cut, average="micro") for cut in np.unique(scores))
    threshold, f1 = best_threshold(scores, sparse)
    assert f1 == pytest.approx(brute)
    assert f1_score(Y, scores >= np.float32(threshold), average="micro") == pytest.approx(brute)


def test_best_threshold__is_the_middle_of_the_gap():
    scores = np.array([[0.2, 0.8], [0.4, 0.9]], np.float32)
    assert best_threshold(scores, sp.csr_array(scores > 0.5)) == (pytest.approx(0.6), 1.0)


def test_best_threshold__separates_neighbouring_floats():
    low = np.float32(0.5)
    high = np.nextafter(low, np.float32(1))
    threshold, f1 = best_threshold(np.array([[low, high]]), sp.csr_array([[False, True]]))
    assert f1 == 1 and np.float32(threshold) == high


def test_best_threshold__without_positives(caplog):
    assert best_threshold(np.ones((2, 2), np.float32), sp.csr_array((2, 2), dtype=bool)) == (0.5, 0.0)
    assert "no positives to tune a threshold on" in caplog.text


def test_fixed__at_least_the_threshold():
    scores = np.array([[0.5, 0.49], [0.1, 0.2]], np.float32)
    assert parse_rule("fixed:0.5").apply(scores).toarray().tolist() == [[True, False], [False, False]]


def test_min_tags__adds_the_best_ones_only_where_short():
    scores = np.array([[0.9, 0.8, 0.7], [0.1, 0.2, 0.2]], np.float32)
    picked = parse_rule("fixed:0.5", min_tags=2).apply(scores).toarray()
    assert picked.tolist() == [[True, True, True], [False, True, True]]


def test_global__applies_its_threshold():
    scores, _, sparse = case(0)
    rule = parse_rule("global").fit(scores, sparse)
    want = scores >= np.float32(best_threshold(scores, sparse)[0])
    np.testing.assert_array_equal(rule.apply(scores).toarray(), want)
    assert rule.describe() == f"global {best_threshold(scores, sparse)[0]:.3f}"


def test_per_tag__is_the_shrunk_logit_and_rare_tags_keep_the_global_one():
    scores, Y, _ = case(1, rows=200)
    Y[:, 3] = False
    Y[:4, 3] = True
    sparse = sp.csr_array(Y)
    rule = parse_rule("per-tag").fit(scores, sparse)
    common = best_threshold(scores, sparse)[0]
    assert rule.thresholds[3] == pytest.approx(common)
    own = best_threshold(scores[:, [0]], sp.csr_array(Y[:, [0]]))[0]
    n = Y[:, 0].sum()
    logits = [np.log(value / (1 - value)) for value in (own, common)]
    want = 1 / (1 + np.exp(-(n * logits[0] + 20 * logits[1]) / (n + 20)))
    assert rule.thresholds[0] == pytest.approx(want)


def test_top_k__of_equal_scores_the_first_column_wins():
    scores = np.array([[0.5, 0.5, 0.5], [0.1, 0.3, 0.2]], np.float32)
    assert parse_rule("top-k:2").apply(scores).toarray().tolist() == [
        [True, True, False],
        [False, True, True],
    ]
    assert parse_rule("top-k:9").apply(scores).toarray().all()


def test_apply__more_rows_than_a_block_and_none():
    scores = np.random.default_rng(0).random((2500, 3)).astype(np.float32)
    rule = parse_rule("fixed:0.4")
    np.testing.assert_array_equal(rule.apply(scores).toarray(), scores >= np.float32(0.4))
    assert rule.apply(scores[:0]).shape == (0, 3)


@pytest.mark.parametrize("text", ["fixed:0.3", "global", "per-tag", "top-k:2"])
def test_rule__survives_json(text):
    scores, _, sparse = case(2)
    rule = parse_rule(text, min_tags=1).fit(scores, sparse)
    again = rule_from_dict(json.loads(json.dumps(rule.to_dict())))
    np.testing.assert_array_equal(again.apply(scores).toarray(), rule.apply(scores).toarray())
    assert again.describe() == rule.describe()
    assert rule.to_dict()["rule"] in RULES


@pytest.mark.parametrize(
    "text", ["fixed", "fixed:2", "fixed:x", "global:0.5", "top-k", "top-k:0", "best", ""]
)
def test_parse_rule__refused(text):
    with pytest.raises(OptionError, match=f"--rule got '{text}'; allowed are fixed:T"):
        parse_rule(text)


def test_errors():
    scores, _, sparse = case(3)
    with pytest.raises(OptionError, match="--min-tags got -1; give 0 or more"):
        parse_rule("global", min_tags=-1)
    with pytest.raises(OptionError, match="'global' is not tuned"):
        parse_rule("global").apply(scores)
    with pytest.raises(OptionError, match="tuned for 8 tags, these scores have 2"):
        parse_rule("per-tag").fit(scores, sparse).apply(scores[:, :2])
    with pytest.raises(OptionError, match="hold NaN"):
        parse_rule("global").fit(np.full_like(scores, np.nan), sparse)
    with pytest.raises(OptionError, match="no decision rule 'magic'"):
        rule_from_dict({"rule": "magic"})


def test_expected_f1__is_the_best_of_all_sets_by_brute_force():
    random = np.random.default_rng(0)
    scores = random.uniform(0.01, 0.9, size=(40, 6)).astype(np.float32)
    got = rule_from_dict({"rule": "expected-f1", "min_tags": 0, "slope": 1.0, "intercept": 0.0}).apply(scores)
    sets = np.array(list(itertools.product([0, 1], repeat=6)))[1:]
    for row, p in enumerate(scores.astype(float)):
        ratio = 2 * (sets @ p) / (sets.sum(axis=1) + p.sum())
        np.testing.assert_array_equal(got.toarray()[row], sets[np.argmax(ratio)])


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


def test_expected_f1__untuned_and_nothing_to_learn(caplog):
    scores = np.full((2, 3), 0.4, np.float32)
    with pytest.raises(OptionError, match="'expected-f1' is not tuned"):
        parse_rule("expected-f1").apply(scores)
    rule = parse_rule("expected-f1").fit(scores, np.zeros((2, 3), bool))
    assert (rule.slope, rule.intercept) == (1.0, 0.0) and "no tags to tell apart" in caplog.text


@pytest.mark.parametrize("seed", range(30))
def test_best_threshold__prunes_nothing_that_could_win(seed):
    """Against every cut of a skewed case in which nearly all scores lie in the lowest bins."""
    random = np.random.default_rng(seed)
    Y = random.random((60, 40)) < random.choice([0.002, 0.02, 0.3])
    Y[0, 0] = True
    scores = (random.random(Y.shape) ** random.choice([1, 6, 20]) * random.choice([1, 0.01])).astype(
        np.float32
    )
    scores = np.maximum(scores, np.where(Y, random.random(Y.shape) * scores.max(), 0)).astype(np.float32)
    if seed % 3 == 0:
        scores = scores.round(2)
    threshold, f1 = best_threshold(scores, sp.csr_array(Y))
    cuts = np.unique(scores)
    every = [2 * (Y & (scores >= cut)).sum() / (Y.sum() + (scores >= cut).sum()) for cut in cuts]
    assert f1 == pytest.approx(max(every))
    picked = scores >= np.float32(threshold)
    assert 2 * (Y & picked).sum() / (Y.sum() + picked.sum()) == pytest.approx(max(every))
