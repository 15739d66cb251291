"""The ensemble: coefficients against scikit-learn, a useless member, saving."""

import copy
import json

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from toolkit.arrays import features
from toolkit.arrays.features import Features
from toolkit.errors import HeadError, OptionError
from toolkit.evaluation.decisions.cuts import best_threshold
from toolkit.evaluation.metrics import average_precision
from toolkit.heads.adding import new_tag_scorer
from toolkit.heads.ensemble import Ensemble
from toolkit.heads.knn.head import Knn
from toolkit.heads.logreg.head import Logreg


def two_views(n=400, L=6, seed=0):
    """Scores of two heads that each see the truth through noise of their own."""
    random = np.random.default_rng(seed)
    z = random.normal(-1, 2, size=(n, L))
    Y = random.random((n, L)) < expit(z)
    a, b = (expit(z + random.normal(scale=1.5, size=z.shape)).astype(np.float32) for _ in range(2))
    return {"logreg": a, "knn": b}, sp.csr_array(Y)


def test_combine__is_the_logistic_regression_of_the_pooled_logits():
    scores, Y = two_views()
    head = Ensemble(members=("logreg", "knn")).combine(scores, Y)
    Z = np.stack([logit(np.clip(scores[m].astype(float), 1e-3, 1 - 1e-3)).ravel() for m in head.members], 1)
    exact = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-10).fit(Z, Y.toarray().ravel())
    np.testing.assert_allclose(head.coefficients_, [*exact.coef_[0], exact.intercept_[0]], atol=2e-3)
    np.testing.assert_allclose(head.mix(scores).ravel(), exact.predict_proba(Z)[:, 1], atol=1e-3)
    assert sum(head.weights().values()) == pytest.approx(1)


def test_combine__a_member_that_misleads_gets_nothing():
    scores, Y = two_views()
    head = Ensemble(members=("logreg", "knn")).combine(scores | {"knn": 1 - scores["knn"]}, Y)
    assert head.coefficients_[1] == 0 and head.weights() == {"logreg": 1.0, "knn": 0.0}


def test_combine__beats_both_members_on_new_rows():
    scores, Y = two_views()
    head = Ensemble(members=("logreg", "knn")).combine(scores, Y)
    new, truth = two_views(seed=1)
    y = truth.toarray()

    def log_loss(s):
        s = np.clip(s, 1e-3, 1 - 1e-3)
        return -np.where(y, np.log(s), np.log(1 - s)).mean()

    assert log_loss(head.mix(new)) < min(log_loss(new["logreg"]), log_loss(new["knn"])) - 0.01


def test_combine__a_useless_member_costs_nothing():
    scores, Y = two_views()
    random = np.random.default_rng(5)
    noise = random.random(Y.shape, dtype=np.float32)
    head = Ensemble(members=("logreg", "knn")).combine(scores | {"knn": noise}, Y)
    assert head.weights()["knn"] < 0.03
    new, truth = two_views(seed=1)
    mixed = head.mix(new | {"knn": random.random(truth.shape, dtype=np.float32)})
    assert best_threshold(mixed, truth)[1] > best_threshold(new["logreg"], truth)[1] - 0.005
    assert average_precision(truth, mixed).mean() > average_precision(truth, new["logreg"]).mean() - 0.005


def test_combine__samples_rows_of_large_arrays(monkeypatch):
    scores, Y = two_views(2000)
    whole = Ensemble(members=("logreg", "knn")).combine(scores, Y).coefficients_
    monkeypatch.setattr("toolkit.evaluation.calibration.ENTRIES", 6000)
    part = Ensemble(members=("logreg", "knn")).combine(scores, Y).coefficients_
    assert part != whole
    np.testing.assert_allclose(part, whole, atol=0.15)


def test_combine__no_positives_gives_even_weights():
    scores, Y = two_views(20)
    head = Ensemble(members=("logreg", "knn")).combine(scores, sp.csr_array(Y.shape, dtype=bool))
    assert head.coefficients_ == (0.5, 0.5, 0.0)


def test_attach__checks_members():
    X = np.random.default_rng(0).normal(size=(60, 5)).astype(np.float32)
    Y = X[:, :3] > 0
    heads = {"logreg": Logreg(C=1.0).fit(X, Y), "knn": Knn(k=3).fit(X, Y)}
    head = Ensemble(members=("logreg", "knn"), coefficients=(1.0, 0.0, 0.0))
    head.combine({}, sp.csr_array(Y)).attach(heads)
    np.testing.assert_allclose(head.scores(X), np.clip(heads["logreg"].scores(X), 1e-3, 0.999), atol=1e-6)
    with pytest.raises(HeadError, match="member 'knn' is not among logreg"):
        head.attach({"logreg": heads["logreg"]})
    with pytest.raises(HeadError, match="fitted on different features or tags"):
        head.attach(heads | {"knn": Knn(k=3).fit(X[:, :4], Y)})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"members": ()}, "option 'members' of head 'ensemble' got ''"),
        ({"members": ("knn", "knn")}, "each once"),
        ({"members": ("knn", "ensemble")}, "names of other heads"),
        ({"coefficients": (1.0,)}, "has 1 number; it takes 4"),
        ({"members": ("knnn", "logreg")}, "did you mean 'knn'"),
    ],
)
def test_options__errors(options, message):
    X = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
    with pytest.raises(OptionError, match=message):
        Ensemble(**options).fit(X, X > 0)


class Tagger(Knn):
    """A second head that reads rows from disk and learns further tags."""

    name = "tagger"


@pytest.fixture
def two_heads(monkeypatch):
    kinds = {"knn": Knn, "tagger": Tagger}
    monkeypatch.setattr("toolkit.heads.registry.get_head", kinds.__getitem__)
    return Ensemble(members=("knn", "tagger"))


def rows(n=120):
    X = np.random.default_rng(0).normal(size=(n, 5)).astype(np.float16)
    return X, sp.csr_array(X[:, :4] > 0.5)


@pytest.mark.parametrize("with_val", [True, False])
def test_fit__rows_on_disk_are_handed_to_members_unread(two_heads, with_val, tmp_path, monkeypatch):
    X, Y = rows()
    np.save(tmp_path / "X.npy", X)
    val = (X, Y) if with_val else None
    want = two_heads.fit(X, Y, val=val).scores(X)
    monkeypatch.setattr(features, "IN_MEMORY", 0)
    lazy = Features([tmp_path / "X.npy"])
    head = Ensemble(**two_heads.get_params()).fit(lazy, Y, val=val and (lazy, Y))
    np.testing.assert_allclose(head.coefficients_, two_heads.coefficients_, atol=0.05)
    assert np.abs(head.scores(X) - want).mean() < 0.01


def test_fit__coefficients_are_those_of_combine(two_heads):
    X, Y = rows()
    two_heads.fit(X, Y, val=(X, Y))
    scores = {name: head.scores(X) for name, head in two_heads.members_.items()}
    assert two_heads.coefficients_ == Ensemble(members=("knn", "tagger")).combine(scores, Y).coefficients_


def test_add_tags__every_member_learns_them_and_coefficients_stay(two_heads):
    X, Y = rows()
    two_heads.fit(X, Y[:, :2], val=(X, Y[:, :2]))
    before, coefficients = two_heads.scores(X), two_heads.coefficients_
    assert two_heads.add_tags(X, Y[:, 2:]) is two_heads
    assert two_heads.n_tags_ == 4 and two_heads.coefficients_ == coefficients
    np.testing.assert_array_equal(two_heads.scores(X)[:, :2], before)
    assert {head.n_tags_ for head in two_heads.members_.values()} == {4}


def test_add_tags__a_member_that_fails_leaves_all_as_they_were(two_heads, monkeypatch):
    X, Y = rows()
    two_heads.fit(X, Y, val=(X, Y))

    def refuse(*given, **more):
        raise HeadError("no")

    monkeypatch.setattr(Tagger, "add_tags", refuse)
    before = two_heads.scores(X)
    with pytest.raises(HeadError, match="no"):
        two_heads.add_tags(X, Y)
    np.testing.assert_array_equal(two_heads.scores(X), before)
    with pytest.raises(HeadError, match="not fitted yet"):
        Ensemble().add_tags(X, Y)


def test_load__an_ensemble_of_the_version_before(tmp_path):
    """It has an option `widths`, empty unless heads of several stores were averaged."""
    X, Y = rows()
    head = Ensemble(members=("logreg", "knn"), coefficients=(1.0, 1.0, 0.0)).fit(X, Y)
    head.save(tmp_path)
    path = tmp_path / "head.json"
    saved = json.loads(path.read_text(encoding="utf-8"))
    saved["options"]["widths"] = []
    path.write_text(json.dumps(saved), encoding="utf-8")
    np.testing.assert_array_equal(Ensemble.load(tmp_path).scores(X), head.scores(X))
    saved["options"] |= {"members": ["knn@0", "knn@1"], "widths": [3, 2]}
    path.write_text(json.dumps(saved), encoding="utf-8")
    with pytest.raises(
        HeadError, match=r"\(--join average\), which is no longer possible; fit it again with"
    ):
        Ensemble.load(tmp_path)


def test_new_tag_scorer__is_the_mix_of_its_members_scorers():
    X, Y = rows()
    head = Ensemble(members=("logreg", "knn")).fit(X, Y[:, :2], val=(X, Y[:, :2]))
    before = head.scores(X)
    scores = new_tag_scorer(head, X, Y[:, 2:])(X)
    want = {
        "logreg": copy.copy(head.members_["logreg"]).add_tags(X, Y[:, 2:]).scores(X)[:, 2:],
        "knn": Knn(**head.members_["knn"].chosen()).fit(X, Y[:, 2:]).scores(X),
    }
    np.testing.assert_array_equal(scores, head.mix(want))
    np.testing.assert_array_equal(head.scores(X), before)
