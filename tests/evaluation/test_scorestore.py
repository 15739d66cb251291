"""The scores kept of each image, and decisions made again from them, against those from all scores."""

import zipfile

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.special import expit, logit

from toolkit.errors import LabelError, OptionError
from toolkit.evaluation.decisions.crossfit import optimism
from toolkit.evaluation.decisions.registry import parse_rule, rule_from_dict
from toolkit.evaluation.scorestore import TopScores, redecide, warn_if_cut

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
    assert not top[1:2].any() and top.scores[1].sum() == top.rest[1] == 0


def test_blocks__is_what_was_kept_and_the_mean_of_the_rest():
    scores, _ = long_tailed(30)
    top = kept(scores)
    want = np.empty_like(scores)
    for row, (columns, values) in enumerate(zip(top.columns, top.scores, strict=True)):
        want[row] = min(top.rest[row] / 444, values[-1])
        want[row, columns] = values
    np.testing.assert_allclose(top[0:30], want, rtol=1e-6)
    np.testing.assert_allclose(top[5:9, 100:300], want[5:9, 100:300], rtol=1e-6)
    rows = np.array([7, 2])
    np.testing.assert_allclose(top[rows], want[rows], rtol=1e-6)
    np.testing.assert_allclose(top[0:30].sum(axis=1), scores.sum(axis=1), rtol=1e-4)


def test_blocks__a_tag_not_kept_never_passes_one_that_is():
    """Where all scores are equal the mean of the rest is the K-th score, but for rounding."""
    top = kept(np.full((2, 700), 0.1, np.float32))
    dense = top[0:2]
    assert (dense[:, :256] == np.float32(0.1)).all() and (dense[:, 256:] < np.float32(0.1)).all()
    np.testing.assert_allclose(dense, 0.1, rtol=1e-5)


@pytest.mark.parametrize("L", [40, 256])
@pytest.mark.parametrize("text", RULES)
def test_few_tags__all_scores_are_kept(text, L, caplog):
    scores, Y = long_tailed(L=L)
    top = kept(scores)
    np.testing.assert_array_equal(top[0:300], scores)
    want = parse_rule(text, min_tags=1).fit(scores, Y)
    rule = parse_rule(text, min_tags=1).fit(top, Y)
    assert rule.to_dict() == want.to_dict()
    np.testing.assert_array_equal(redecide(rule, top).toarray(), want.apply(scores).toarray())
    warn_if_cut(top, [rule])
    assert top.suffices(rule) and not caplog.text


@pytest.mark.parametrize("text", [*RULES, "top-k:256", "top-k:300"])
def test_many_tags__a_rule_that_suffices_decides_as_from_all_scores(text):
    scores, Y = long_tailed(seed=1)
    scores[:100] *= np.linspace(0.01, 1, 100, dtype=np.float32)[:, None]  # some K-th scores are low
    rule, top = parse_rule(text, min_tags=2).fit(scores, Y), kept(scores)
    alike = (redecide(rule, top).toarray() == rule.apply(scores).toarray()).all(axis=1)
    assert top.suffices(rule) == (text in ("top-k:3", "top-k:256"))
    assert alike.all() or not top.suffices(rule)
    if text in ("fixed:0.3", "global"):  # no score that is not kept reaches them
        assert alike.all()
    if text == "top-k:300":
        assert not alike.any()


def test_suffices__scores_not_kept_are_all_zero():
    scores, Y = long_tailed()
    scores[np.arange(300)[:, None], np.argsort(-scores, axis=1)[:, 200:]] = 0
    top = kept(scores)
    for text in RULES:
        rule = parse_rule(text).fit(top, Y)
        assert top.suffices(rule) and rule.to_dict() == parse_rule(text).fit(scores, Y).to_dict()
        np.testing.assert_array_equal(redecide(rule, top).toarray(), rule.apply(scores).toarray())
    scores[7] = 0.1
    assert not kept(scores).suffices(parse_rule("global")) and kept(scores).suffices(parse_rule("top-k:3"))


def test_warn_if_cut__once_for_all_rules(caplog):
    top = kept(long_tailed(5)[0])
    warn_if_cut(top, [parse_rule("top-k:3")])
    assert not caplog.records
    warn_if_cut(top, map(parse_rule, RULES))
    assert [record.getMessage() for record in caplog.records] == [
        "256 of 700 scores of each image are kept and the others replaced by their mean: with all scores a "
        "rule might be tuned or decide differently"
    ]


@pytest.mark.parametrize("seed", range(4))
def test_fit__global_is_that_of_all_scores(seed):
    scores, Y = long_tailed(600, seed=seed)
    want = parse_rule("global").fit(scores, Y)
    rule = parse_rule("global").fit(kept(scores), sp.csr_array(Y))
    assert rule.thresholds[0] == pytest.approx(want.thresholds[0], abs=1e-6)


def test_redecide__images_without_an_embedding_get_no_tags():
    scores, _ = long_tailed(3)
    top = TopScores.of(scores, np.array([0, -1]), list("ab"), [str(tag) for tag in range(700)])
    predicted = redecide(parse_rule("top-k:3"), top)
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
