"""Decision rules against brute force and scikit-learn's F1."""

import itertools
import json

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.special import expit, logit
from sklearn.metrics import f1_score

from toolkit.errors import OptionError
from toolkit.evaluation.decisions.base import ChosenRows
from toolkit.evaluation.decisions.cuts import best_threshold
from toolkit.evaluation.decisions.registry import (
    RULES,
    default_rule,
    parse_rule,
    rule_class,
    rule_from_dict,
    rule_usages,
    tuned_rules,
)
from toolkit.evaluation.decisions.tagcuts import OFFSETS, TAUS
from toolkit.evaluation.decisions.thresholds import FOLDS, SHRINK
from toolkit.evaluation.metrics import evaluate

EVERY_RULE = ("fixed:0.4", "global", "per-tag", "logit-adjusted", "top-k:2", "expected-f1")


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


def brute_cut(scores, truth):
    """The midpoint below the positive's score at which F1 is highest; of equal ones the highest."""
    best = (-1.0, 0.0)
    for cut in np.unique(scores[truth])[::-1]:
        f1 = 2 * (truth & (scores >= cut)).sum() / (truth.sum() + (scores >= cut).sum())
        if f1 > best[0]:
            best = (f1, (cut + scores[scores < cut].max(initial=0)) / 2)
    return best[1]


def brute_grid(scores, Y):
    """Macro and micro F1 at every tau and offset, by comparing all scores."""
    common = logit(best_threshold(scores, sp.csr_array(Y))[0])
    prior = logit((Y.sum(axis=0) + 0.5) / (len(Y) + 1))
    moved = prior - np.average(prior, weights=Y.sum(axis=0))
    out = {}
    for tau, offset in itertools.product(TAUS, OFFSETS):
        cut = expit((common + offset + tau * moved).astype(np.float32))
        metrics = evaluate(sp.csr_array(Y), sp.csr_array(scores >= cut))
        out[round(tau, 1), round(offset, 1)] = (round(metrics.macro_f1, 12), metrics.micro_f1), cut
    return out


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("decimals", [1, 6])
def test_logit_adjusted__is_the_best_of_the_grid(seed, decimals):
    scores, Y, sparse = case(seed, decimals=decimals)
    Y[:, 0] = False
    rule = parse_rule("logit-adjusted").fit(scores, sp.csr_array(Y))
    grid = brute_grid(scores, Y)
    best = max(value for value, _ in grid.values())
    got = evaluate(sp.csr_array(Y), rule.apply(scores))
    assert (round(got.macro_f1, 12), got.micro_f1) == pytest.approx(best)
    assert any(
        tau == round(rule.tau, 1) and np.allclose(cut, rule.thresholds, rtol=1e-5)
        for (tau, _), (_, cut) in grid.items()
    )
    assert rule.describe() == f"logit-adjusted tau {rule.tau:.1f}"
    assert rule.to_dict()["tau"] == rule.tau and sparse.shape[1] == len(rule.thresholds)


def test_logit_adjusted__rare_tags_get_lower_thresholds_where_that_pays():
    """Scores that hold the tags' priors: one threshold would never predict the rare ones."""
    random = np.random.default_rng(0)
    prior = logit(np.array([0.5, 0.2, 0.05, 0.02, 0.01]))
    z = prior + random.normal(0, 2, size=(4000, 5))
    Y = random.random(z.shape) < expit(z)
    tuned, held_out = z[:2000], z[2000:]
    rules = [parse_rule(text).fit(expit(tuned).astype(np.float32), Y[:2000]) for text in RULES_TO_COMPARE]
    macro = [
        evaluate(sp.csr_array(Y[2000:]), rule.apply(expit(held_out).astype(np.float32))).macro_f1
        for rule in rules
    ]
    assert rules[1].tau > 0.2 and rules[1].thresholds[4] < rules[1].thresholds[0]
    assert macro[1] > macro[0] + 0.02 and macro[2] > macro[0] + 0.02


RULES_TO_COMPARE = ("global", "logit-adjusted", "per-tag")


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("decimals", [1, 6])
def test_per_tag__is_each_tags_best_cut_in_folds_shrunk_to_the_adjusted_one(seed, decimals):
    scores, Y, _ = case(seed, rows=90, decimals=decimals)
    Y[:, 3] = np.arange(90) == 7
    Y[:, 4] = False
    adjusted = parse_rule("logit-adjusted").fit(scores, Y).thresholds
    dealt = np.random.default_rng(0).permutation(np.arange(90) % FOLDS)
    rule = parse_rule("per-tag").fit(scores, Y)
    for tag in range(8):
        left = [dealt != fold for fold in range(FOLDS)]
        cuts = [brute_cut(scores[rows, tag], Y[rows, tag]) for rows in left if Y[rows, tag].any()]
        n = Y[:, tag].sum()
        own = n * logit(np.clip(cuts, 1e-7, 1 - 1e-7)).mean() if cuts else 0.0
        want = expit((own + SHRINK * logit(adjusted[tag])) / (n + SHRINK))
        assert rule.thresholds[tag] == pytest.approx(want, rel=1e-5)


def test_per_tag__of_few_rows_leaves_none_out():
    scores = np.array([[0.2, 0.8], [0.4, 0.9]], np.float32)
    Y = scores > 0.3
    adjusted = parse_rule("logit-adjusted").fit(scores, Y).thresholds
    rule = parse_rule("per-tag").fit(scores, Y)
    own = [brute_cut(scores[:, tag], Y[:, tag]) for tag in (0, 1)]
    n = Y.sum(axis=0)
    np.testing.assert_allclose(
        rule.thresholds, expit((n * logit(own) + SHRINK * logit(adjusted)) / (n + SHRINK)), rtol=1e-5
    )


@pytest.mark.parametrize("text", ["per-tag", "logit-adjusted", "global"])
def test_fit__without_positives_is_untuned(text, caplog):
    rule = parse_rule(text).fit(np.full((9, 3), 0.4, np.float32), np.zeros((9, 3), bool))
    assert set(rule.thresholds) == {0.5} and "no positives to tune a threshold on" in caplog.text


class OnlyBlocks:
    """Scores that give blocks and nothing else, and remember how large the largest was."""

    def __init__(self, scores):
        self.scores, self.shape, self.largest = scores, scores.shape, 0

    def __getitem__(self, where):
        block = self.scores[where]
        self.largest = max(self.largest, block.size)
        return block


@pytest.mark.parametrize(
    "text", ["fixed:0.4", "global", "per-tag", "logit-adjusted", "top-k:3", "expected-f1"]
)
def test_rules__go_by_blocks_of_mapped_scores(text, tmp_path, monkeypatch):
    scores, _, sparse = case(4, rows=400, tags=30)
    whole = parse_rule(text, min_tags=1).fit(scores, sparse)
    np.save(tmp_path / "scores.npy", scores)
    mapped = OnlyBlocks(np.load(tmp_path / "scores.npy", mmap_mode="r"))
    monkeypatch.setattr("toolkit.evaluation.decisions.base.BLOCK_BYTES", 4 * 30 * 50)
    rule = parse_rule(text, min_tags=1).fit(mapped, sparse)
    np.testing.assert_array_equal(rule.apply(mapped).toarray(), whole.apply(scores).toarray())
    if text == "expected-f1":  # learns from a bounded draw of rows, taken at once
        assert (rule.slope, rule.intercept) == (whole.slope, whole.intercept)
        return
    assert mapped.largest <= 30 * 50
    np.testing.assert_allclose(getattr(rule, "thresholds", 0), getattr(whole, "thresholds", 0), rtol=1e-12)


def test_chosen_rows__are_those_rows():
    scores = np.arange(24, dtype=np.float32).reshape(6, 4)
    rows = ChosenRows(scores, np.array([4, 1, 5]))
    assert rows.shape == (3, 4)
    np.testing.assert_array_equal(rows[1:3], scores[[1, 5]])
    np.testing.assert_array_equal(rows[np.array([2, 0])], scores[[5, 4]])
    np.testing.assert_array_equal(rows[0:3, 1:3], scores[[4, 1, 5], 1:3])


METRICS = ("micro", "macro", "samples")


def test_default_rule():
    assert [default_rule(metric) for metric in METRICS] == ["global", "per-tag", "expected-f1"]
    assert all(default_rule(metric) in RULES for metric in METRICS)
    with pytest.raises(OptionError, match="--metric got 'best'; allowed are micro, macro, samples"):
        default_rule("best")


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


@pytest.mark.parametrize(
    "text", ["fixed:0.3", "global", "per-tag", "logit-adjusted", "top-k:2", "expected-f1"]
)
def test_rule__survives_json(text):
    scores, _, sparse = case(2)
    rule = parse_rule(text, min_tags=1).fit(scores, sparse)
    again = rule_from_dict(json.loads(json.dumps(rule.to_dict())))
    np.testing.assert_array_equal(again.apply(scores).toarray(), rule.apply(scores).toarray())
    assert again.describe() == rule.describe()
    assert rule.to_dict()["rule"] in RULES


@pytest.mark.parametrize(
    "text",
    ["fixed", "fixed:2", "fixed:nan", "fixed:x", "global:0.5", "top-k", "top-k:0", "top-k:1.5", "best", ""],
)
def test_parse_rule__refused(text):
    with pytest.raises(OptionError) as raised:
        parse_rule(text)
    assert str(raised.value) == (
        f"--rule got {text!r}; allowed are fixed:T (T in 0..1), global, per-tag, logit-adjusted, top-k:K (K "
        "of 1 or more), expected-f1"
    )


def test_rules__state_their_facts():
    assert tuned_rules() == ("global", "per-tag", "logit-adjusted", "expected-f1")
    assert [name for name in RULES if rule_class(name).per_tag] == ["per-tag", "logit-adjusted"]
    assert all(rule_class(name).name == name for name in RULES)
    assert rule_usages() == "fixed:T, global, per-tag, logit-adjusted, top-k:K or expected-f1"


def test_n_needed__all_scores_but_for_top_k():
    needed = {
        text: parse_rule(text, min_tags=5).n_needed(30) for text in (*EVERY_RULE, "top-k:9", "top-k:99")
    }
    assert needed == dict.fromkeys(EVERY_RULE, 30) | {"top-k:2": 5, "top-k:9": 9, "top-k:99": 30}


@pytest.mark.parametrize("text", EVERY_RULE)
def test_extended__thresholds_of_new_tags_follow(text):
    scores, Y, _ = case(4)
    old = parse_rule(text, min_tags=1).fit(scores[:, :5], Y[:, :5])
    new = rule_from_dict(old.to_dict()).fit(scores[:, 5:], Y[:, 5:])
    before, longer = old.to_dict(), old.extended(new)
    if not old.per_tag:
        assert longer is old
        return
    assert longer.to_dict() == before | {"thresholds": before["thresholds"] + new.thresholds}
    assert old.to_dict() == before
    assert longer.apply(scores).shape == (50, 8)


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
