"""The scores kept of each image, and decisions made again from them, against those from all scores."""

import zipfile

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.special import expit, logit

from toolkit.errors import LabelError, OptionError
from toolkit.evaluation.decisions.crossfit import optimism
from toolkit.evaluation.decisions.registry import parse_rule, rule_from_dict
from toolkit.evaluation.redeciding import doubtful, redecide, retune
from toolkit.evaluation.topscores import TopScores

RULES = ("fixed:0.3", "global", "per-tag", "logit-adjusted", "top-k:3", "expected-f1")


def long_tailed(N=300, L=700, seed=0, per_image=6):
    """Scores and truth of Zipf tags, seldom sure."""
    random = np.random.default_rng(seed)
    prior = 1 / np.arange(1, L + 1)
    z = logit(np.minimum(prior * per_image / prior.sum(), 0.4)) + random.normal(0, 2, (N, L)) - 1
    Y = random.random((N, L)) < expit(z)
    return expit(z + random.normal(0, 0.5, (N, L))).astype(np.float32), Y


def kept(scores):
    N, L = scores.shape
    return TopScores.of(
        scores, np.arange(N), [f"{row}.jpg" for row in range(N)], [str(tag) for tag in range(L)]
    )


@pytest.fixture(autouse=True)
def quiet_blocks(monkeypatch):
    monkeypatch.setattr("toolkit.evaluation.decisions.base.BLOCK_BYTES", 4 * 70 * 700)


def test_of__best_first_and_the_rest_in_one_number():
    scores, _ = long_tailed(20)
    scores[3] = scores[3].round(2)  # ties
    scores[4, 10:] = 0
    top = kept(scores)
    order = np.argsort(-scores, axis=1, kind="stable")
    np.testing.assert_array_equal(top.columns, order[:, :256])
    np.testing.assert_array_equal(top.scores, np.take_along_axis(scores, order[:, :256], axis=1))
    want = np.take_along_axis(scores, order[:, 256:], axis=1).sum(axis=1, dtype=np.float64)
    np.testing.assert_allclose(top.rest, want, rtol=1e-6)
    assert top.rest[4] == 0 and top.shape == (20, 700)
    assert (top.columns.dtype, top.scores.dtype, top.rest.dtype) == (np.int32, np.float32, np.float32)


def test_of__images_without_an_embedding():
    scores, _ = long_tailed(3)
    top = TopScores.of(scores, np.array([2, -1, 0]), list("abc"), [str(tag) for tag in range(700)])
    np.testing.assert_array_equal(top.columns[0], kept(scores).columns[2])
    assert top.readable.tolist() == [True, False, True]
    assert not top.dense(slice(1, 2)).any() and top.scores[1].sum() == top.rest[1] == 0


def test_dense__is_what_was_kept_and_the_mean_of_the_rest():
    scores, _ = long_tailed(30)
    top = kept(scores)
    want = np.empty_like(scores)
    for row, (columns, values) in enumerate(zip(top.columns, top.scores, strict=True)):
        want[row] = min(top.rest[row] / 444, values[-1])
        want[row, columns] = values
    np.testing.assert_allclose(top.dense(slice(0, 30)), want, rtol=1e-6)
    np.testing.assert_allclose(top[5:9, 100:300], want[5:9, 100:300], rtol=1e-6)
    rows = np.array([7, 2])
    np.testing.assert_allclose(top[rows], want[rows], rtol=1e-6)
    np.testing.assert_allclose(top.dense(slice(0, 30)).sum(axis=1), scores.sum(axis=1), rtol=1e-4)


def test_dense__a_tag_not_kept_never_passes_one_that_is():
    """Where all scores are equal the mean of the rest is the K-th score, but for rounding."""
    top = kept(np.full((2, 700), 0.1, np.float32))
    dense = top.dense(slice(0, 2))
    assert (dense[:, :256] == np.float32(0.1)).all() and (dense[:, 256:] < np.float32(0.1)).all()
    np.testing.assert_allclose(dense, 0.1, rtol=1e-5)


@pytest.mark.parametrize("L", [40, 256])
@pytest.mark.parametrize("text", RULES)
def test_few_tags__all_is_exact(text, L, caplog):
    scores, Y = long_tailed(L=L)
    top = kept(scores)
    np.testing.assert_array_equal(top.dense(slice(0, 300)), scores)
    want = parse_rule(text, min_tags=1).fit(scores, Y)
    got = retune(parse_rule(text, min_tags=1), top, Y)
    assert got.exact and got.rule.to_dict() == want.to_dict()
    again = redecide(got.rule, top)
    np.testing.assert_array_equal(again.predicted.toarray(), want.apply(scores).toarray())
    assert not again.doubtful.any() and not caplog.text


@pytest.mark.parametrize("min_tags", [0, 2])
@pytest.mark.parametrize("text", [*RULES, "fixed:0.001", "fixed:0.004", "top-k:256", "top-k:300"])
def test_many_tags__images_not_doubtful_are_decided_alike(text, min_tags):
    scores, Y = long_tailed(seed=1)
    scores[:100] *= np.linspace(0.01, 1, 100, dtype=np.float32)[:, None]  # some K-th scores are low
    rule = parse_rule(text, min_tags=min_tags).fit(scores, Y)
    top = kept(scores)
    got = redecide(rule, top)
    alike = (got.predicted.toarray() == rule.apply(scores).toarray()).all(axis=1)
    assert alike[~got.doubtful].all()
    if text in ("fixed:0.3", "global", "top-k:3", "top-k:256"):
        assert not got.doubtful.any()
    if text in ("fixed:0.001", "top-k:300"):
        assert got.doubtful.any() and not alike.all()


def test_doubtful__threshold_just_at_the_kth_score(caplog):
    scores, _ = long_tailed(4)
    top = kept(scores)
    last = top.scores[:, -1]
    rule = parse_rule(f"fixed:{last[2]}")
    np.testing.assert_array_equal(doubtful(rule, top), last >= last[2])
    above = rule_from_dict(
        {"rule": "fixed", "min_tags": 0, "thresholds": [float(np.nextafter(last.max(), 1))]}
    )
    assert not doubtful(above, top).any()
    redecide(rule, top)
    assert f"{(last >= last[2]).sum()} of 4 images might be decided otherwise from all scores" in caplog.text


def test_doubtful__only_thresholds_of_tags_not_kept_count():
    scores, _ = long_tailed(2)
    top = kept(scores)
    cuts = np.full(700, 0.9)
    cuts[top.columns[0]] = 1e-6  # all kept of the first image, not all of the second
    rule = rule_from_dict({"rule": "per-tag", "min_tags": 0, "thresholds": cuts.tolist()})
    assert doubtful(rule, top).tolist() == [False, True]


def test_doubtful__min_tags_past_those_kept_and_rules_nobody_knows():
    scores, _ = long_tailed(5)
    scores[0, 200:] = 0  # its rest is known: nothing
    top = kept(scores)
    assert doubtful(parse_rule("fixed:0.9", min_tags=257), top).tolist() == [False, True, True, True, True]

    class Odd:
        pass

    assert doubtful(Odd(), top).tolist() == [False, True, True, True, True]


def test_doubtful__expected_f1_where_the_tail_decides():
    """Bounds hold for whatever the tail may be: all of it even, or as much as fits at the K-th score."""
    random = np.random.default_rng(0)
    scores, Y = long_tailed(400, seed=3)
    rule = parse_rule("expected-f1").fit(scores, Y)
    top = kept(scores)
    unsure = doubtful(rule, top)
    assert 0 < unsure.sum() < 400
    others = np.ones((400, 700), bool)
    np.put_along_axis(others, top.columns.astype(int), False, axis=1)
    decided = redecide(rule, top).predicted.toarray()
    for _ in range(5):
        spread = scores.copy()
        for row in np.flatnonzero(~unsure):
            columns = random.permutation(np.flatnonzero(others[row]))
            last, rest = top.scores[row, -1], top.rest[row]
            full = int(random.integers(0, int(rest / last) + 1))
            spread[row, columns] = (rest - full * last) / max(1, len(columns) - full)
            spread[row, columns[:full]] = last
        alike = (rule.apply(spread).toarray() == decided).all(axis=1)
        assert alike[~unsure].all()


@pytest.mark.parametrize("seed", range(4))
def test_retune__global_is_that_of_all_scores(seed, caplog):
    scores, Y = long_tailed(600, seed=seed)
    want = parse_rule("global").fit(scores, Y)
    got = retune(parse_rule("global"), kept(scores), sp.csr_array(Y))
    assert got.exact and not caplog.text
    assert got.rule.thresholds[0] == pytest.approx(want.thresholds[0], abs=1e-6)


@pytest.mark.parametrize("seed", range(25))
def test_retune__exact_is_never_claimed_wrongly(seed, monkeypatch):
    """Few scores are kept, and many positives are not among them."""
    monkeypatch.setattr("toolkit.evaluation.topscores.TOP", 4)
    random = np.random.default_rng(seed)
    scores, Y = long_tailed(40, L=12, seed=seed)
    scores = (scores ** random.uniform(0.1, 2)).astype(np.float32)
    Y |= random.random(Y.shape) < random.choice([0, 0.3])
    got = retune(parse_rule("global"), kept(scores), Y)
    want = parse_rule("global").fit(scores, Y)
    assert not got.exact or got.rule.thresholds[0] == pytest.approx(want.thresholds[0], abs=1e-6)


def test_retune__says_what_is_uncertain(caplog):
    scores, Y = long_tailed()
    top = kept(scores)
    for text in ("per-tag", "logit-adjusted", "expected-f1"):
        assert not retune(parse_rule(text), top, Y).exact
    assert "tuned on the best 256 scores of each image; all scores might tune it otherwise" in caplog.text
    assert retune(parse_rule("top-k:3"), top, Y).exact
    everything = np.ones_like(Y)  # the best cut lies below all scores
    assert not retune(parse_rule("global"), top, everything).exact


def test_redecide__images_without_an_embedding_get_no_tags():
    scores, _ = long_tailed(3)
    top = TopScores.of(scores, np.array([0, -1]), list("ab"), [str(tag) for tag in range(700)])
    predicted = redecide(parse_rule("top-k:3"), top).predicted
    assert predicted.sum(axis=1).tolist() == [3, 0] and predicted.dtype == bool


def test_redecide__untuned_or_of_other_tags():
    top = kept(long_tailed(3)[0])
    for text in ("global", "expected-f1"):
        with pytest.raises(OptionError, match=f"decision rule '{text}' is not tuned"):
            redecide(parse_rule(text), top)
    with pytest.raises(OptionError, match="tuned for 2 tags, these scores have 700"):
        redecide(rule_from_dict({"rule": "per-tag", "thresholds": [0.5, 0.5]}), top)


def test_optimism__of_the_scores_kept():
    scores, Y = long_tailed(L=100)
    assert optimism(parse_rule("global"), kept(scores), Y) == optimism(parse_rule("global"), scores, Y)


def test_read__what_was_written(tmp_path):
    scores, _ = long_tailed(6)
    top = TopScores.of(
        scores, np.array([0, -1, 5]), ["一.jpg", "b", "c"], [f"标签{tag}" for tag in range(700)]
    )
    top.write(tmp_path / "submit.scores.npz")
    again = TopScores.read(tmp_path / "submit.scores.npz")
    for name, array in vars(top).items():
        np.testing.assert_array_equal(vars(again)[name], array)
        assert vars(again)[name].dtype == array.dtype


def test_read__missing(tmp_path):
    with pytest.raises(LabelError, match=r"there are no scores .*x\.npz; predict again to have them"):
        TopScores.read(tmp_path / "x.npz")


def _cut(path):
    path.write_bytes(path.read_bytes()[:-300])


def _flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)


def _empty(path):
    path.write_bytes(b"")


def _without_rest(path):
    _replace(path, rest=None)


def _short(path):
    _replace(path, rest=np.zeros(2, np.float32))


def _beyond(path):
    _replace(path, columns=np.full((6, 256), 700, np.int32))


def _pickled(path):
    _replace(path, tags=np.array([{}] * 700, dtype=object))


def _replace(path, **changed):
    with zipfile.ZipFile(path) as members:
        names = [name[:-4] for name in members.namelist()]
    with np.load(path) as saved:
        arrays = {name: saved[name] for name in names} | changed
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})


@pytest.mark.parametrize("harm", [_cut, _flip, _empty, _without_rest, _short, _beyond, _pickled])
def test_read__damaged(harm, tmp_path):
    path = tmp_path / "submit.scores.npz"
    kept(long_tailed(6)[0]).write(path)
    harm(path)
    with pytest.raises(
        LabelError,
        match=r"\.scores\.npz is damaged or of .* \(.*\); predict again, or remove it",
    ):
        TopScores.read(path)
