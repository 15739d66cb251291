"""What every head of the registry must do; a new one is held to it by its line there."""

import json

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from toolkit.errors import HeadError, OptionError
from toolkit.evaluation.decisions.cuts import best_threshold
from toolkit.heads.base import Head
from toolkit.heads.options import describe_options, option_types
from toolkit.heads.registry import get_head, head_names, load_head

FAST = {
    "mlp": {"epochs": 30, "hidden": (16,), "lr": 0.01, "patience": 8},
    "ensemble": {"members": ("logreg", "knn")},
}


def make(name, **options):
    return get_head(name)(**FAST.get(name, {}) | options)


def toy(N=240, D=12, L=5, seed=0):
    """Tags that the features really predict, plus one no row and one every row has."""
    random = np.random.default_rng(seed)
    X = random.normal(size=(N, D)).astype(np.float32)
    logits = X @ np.random.default_rng(99).normal(size=(D, L)) * 2 - 1
    Y = random.random((N, L)) < 1 / (1 + np.exp(-logits))
    Y = np.hstack([Y, np.zeros((N, 1), bool), np.ones((N, 1), bool)])
    return np.abs(X) + X, sp.csr_array(Y)


@pytest.fixture(scope="module", params=head_names())
def name(request):
    return request.param


@pytest.fixture(scope="module")
def fitted(name):
    (X, Y), val = toy(), toy(80, seed=1)
    return make(name).fit(X, Y, val=val)


def test_is_a_head_that_stores_its_options(name):
    head = make(name)
    assert isinstance(head, Head) and head.name == name
    params = head.get_params()
    assert set(params) == set(option_types(type(head))) == set(describe_options(type(head)))
    assert type(head)(**params).get_params() == params
    with pytest.raises(HeadError, match=f"head '{name}' has no option 'nope'"):
        head.set_params(nope=1)


def test_scores__shape_range_and_more_right_than_chance(fitted):
    X, Y = toy(120, seed=2)
    scores = fitted.scores(X)
    assert scores.shape == Y.shape and scores.dtype == np.float32
    assert scores.min() >= 0 and scores.max() <= 1
    share = Y.nnz / Y.shape[0] / Y.shape[1]
    everything = 2 * share / (share + 1)
    assert best_threshold(scores, Y)[1] > everything + 0.1
    assert scores[:, -2].max() < 0.2 and scores[:, -1].min() > 0.8


def test_scores__no_rows_and_one_row(fitted):
    X, _ = toy(5)
    assert fitted.scores(X[:0]).shape == (0, 7)
    many = fitted.scores(X)
    alone = np.vstack([fitted.scores(X[row : row + 1]) for row in range(5)])
    np.testing.assert_allclose(alone, many, atol=1e-5)


def test_scores__float16_rows_are_read(fitted):
    X, _ = toy(20)
    half = X.astype(np.float16)
    np.testing.assert_array_equal(fitted.scores(half), fitted.scores(half.astype(np.float32)))


def test_save_load__bit_equal_and_without_pickle(fitted, tmp_path):
    fitted.save(tmp_path)
    X, _ = toy(30, seed=3)
    loaded = load_head(tmp_path)
    np.testing.assert_array_equal(loaded.scores(X), fitted.scores(X))
    assert loaded.get_params() == fitted.get_params() and loaded.chosen() == fitted.chosen()
    for path in tmp_path.rglob("*"):
        if path.suffix == ".npy":
            np.load(path, allow_pickle=False)
        elif path.is_file():
            json.loads(path.read_text(encoding="utf-8"))


def test_fit__a_second_fit_starts_afresh_and_seeds_repeat(name):
    X, Y = toy(90)
    other, Y2 = toy(60, D=7, L=2, seed=5)
    head = make(name).fit(other, Y2)
    head.fit(X, Y)
    np.testing.assert_array_equal(head.scores(X), make(name).fit(X, Y).scores(X))


def test_chosen__refits_without_choosing_again(fitted):
    X, Y = toy()
    again = type(fitted)(**fitted.chosen())
    again.fit(X, Y)
    assert again.chosen() == fitted.chosen()


def test_fit__without_validation_rows_and_with_few(name):
    X, Y = toy(60)
    assert make(name).fit(X, Y).scores(X).shape == (60, 7)
    for N in (1, 2, 3):
        scores = make(name).fit(X[:N], Y[:N]).scores(X)
        assert scores.shape == (60, 7) and np.isfinite(scores).all()


def test_fit__takes_dense_and_integer_labels(name):
    X, Y = toy(60)
    want = make(name).fit(X, Y).scores(X)
    np.testing.assert_array_equal(make(name).fit(X, Y.toarray().astype(np.uint8)).scores(X), want)


def test_errors__say_what_is_wrong(name, fitted):
    X, Y = toy(30)
    bad = X.copy()
    bad[3, 3] = np.nan
    cases = [
        ((X, Y[:20]), {}, "X has 30 rows and Y 20"),
        ((X[:0], Y[:0]), {}, "no rows to fit on"),
        ((X, Y[:, :0]), {}, "no tags to fit"),
        ((bad, Y), {}, "NaN or infinity"),
        ((X[0], Y), {}, "two axes"),
        ((X, Y.toarray() * 3), {}, "only 0 and 1"),
        ((X, Y), {"val": (X[:, :5], Y)}, "the validation rows have 5 features"),
        ((X, Y), {"val": (X, Y[:, :3])}, "the validation rows have 3 tags"),
    ]
    for given, more, message in cases:
        with pytest.raises(HeadError, match=message):
            make(name).fit(*given, **more)
    with pytest.raises(HeadError, match="not fitted yet"):
        make(name).scores(X)
    with pytest.raises(HeadError, match="was fitted on 12 features a row, these have 9"):
        fitted.scores(X[:, :9])
    with pytest.raises(OptionError, match=f"option 'seed' of head '{name}' got"):
        make(name, seed="x").fit(X, Y)


def test_load__another_heads_or_no_files(name, fitted, tmp_path):
    with pytest.raises(HeadError, match="does not hold a readable head"):
        load_head(tmp_path)
    fitted.save(tmp_path)
    other = "knn" if name != "knn" else "logreg"
    with pytest.raises(HeadError, match=f"holds a head '{name}', not '{other}'"):
        get_head(other).load(tmp_path)


def test_load__as_another_version_saved_it(name, fitted, tmp_path):
    fitted.save(tmp_path)
    path = tmp_path / "head.json"
    good = json.loads(path.read_text(encoding="utf-8"))
    for change in (
        {"facts": {}},
        {"options": {"gone": 1}},
        {"facts": None},
        {"options": []},
        {"arrays": None},
    ):
        if change == {"facts": {}} and not good["facts"]:
            continue
        path.write_text(json.dumps(good | change), encoding="utf-8")
        with pytest.raises(HeadError, match=r"does not hold a readable head of this version \(\w+: .*fit it"):
            get_head(name).load(tmp_path)
    del good["n_tags"]
    path.write_text(json.dumps(good), encoding="utf-8")
    with pytest.raises(HeadError, match="does not hold a readable head of this version .KeyError: 'n_tags'"):
        get_head(name).load(tmp_path)


def test_classes__are_there_once_it_is_fitted(name, fitted):
    assert not hasattr(make(name), "classes_")
    np.testing.assert_array_equal(fitted.classes_, np.arange(7))


def test_progress__ends_complete(name):
    X, Y = toy(60)
    seen = {}
    make(name).fit(X, Y, progress=lambda stage, done, total, note="": seen.update({stage: (done, total)}))
    assert seen and all(done <= total for done, total in seen.values())


def test_scikit_learn__clones_pipes_and_cross_validates(name):
    X, Y = toy(90)
    Y = Y.toarray()[:, :5]  # scikit-learn encodes a constant column as all 0
    head = make(name)
    copy = clone(head)
    assert copy is not head and copy.get_params() == head.get_params()
    pipe = make_pipeline(StandardScaler(), clone(head)).fit(X, Y)
    want = clone(head).fit(StandardScaler().fit(X).transform(X), Y)
    np.testing.assert_array_equal(pipe.predict_proba(X), want.scores(StandardScaler().fit(X).transform(X)))
    np.testing.assert_array_equal(pipe.predict(X), pipe.predict_proba(X) >= 0.5)
    folds = KFold(3, shuffle=True, random_state=0)
    out = cross_val_predict(head, X, Y, cv=folds, method="predict_proba")
    train, test = next(folds.split(X))
    np.testing.assert_array_equal(out[test], clone(head).fit(X[train], Y[train]).scores(X[test]))
