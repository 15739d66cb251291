"""What `HeadBase` does for every head: messages, scikit-learn, saved files of other versions."""

import inspect
import json
from dataclasses import fields

import joblib
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from toolkit.errors import HeadError, OptionError
from toolkit.heads.base import Head, HeadBase
from toolkit.heads.registry import MEMBERS, get_head, head_names, load_head
from toolkit.testing.heads import example_rows

FAST = {
    "mlp": {"epochs": 30, "hidden": (16,), "lr": 0.01, "patience": 8},
    "ensemble": {"members": ("logreg", "knn")},
}


def make(name, **options):
    return get_head(name)(**FAST.get(name, {}) | options)


@pytest.fixture(scope="module", params=head_names())
def name(request):
    return request.param


@pytest.fixture(scope="module")
def fitted(name):
    return make(name).fit(*example_rows(), val=example_rows(80, seed=1))


def test_options__are_the_fields_of_a_dataclass(name):
    kind = get_head(name)
    assert kind.name == name
    options = [each.name for each in fields(kind)]
    assert [*make(name).get_params()] == options == [*inspect.signature(kind).parameters]
    assert repr(make(name, seed=3)).startswith(f"{kind.__name__}(") and "seed=3" in repr(make(name, seed=3))
    with pytest.raises(HeadError, match=f"head '{name}' has no option 'nope'; it has {', '.join(options)}"):
        kind().set_params(nope=1)


def test_registry__asks_for_every_member_of_the_protocol():
    protocol = {member for member in vars(Head) if not member.startswith("_")}
    protocol |= inspect.get_annotations(Head).keys()
    assert set(MEMBERS) == protocol - {"n_features_", "n_tags_"}


def test_errors__say_what_is_wrong(name, fitted):
    X, Y = example_rows(30)
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
    for arrays, more, message in cases:
        with pytest.raises(HeadError, match=message):
            make(name).fit(*arrays, **more)
    with pytest.raises(HeadError, match="not fitted yet"):
        make(name).scores(X)
    with pytest.raises(HeadError, match="was fitted on 12 features a row, these have 9"):
        fitted.scores(X[:, :9])
    with pytest.raises(OptionError, match=f"option 'seed' of head '{name}' got"):
        make(name, seed="x").fit(X, Y)


def test_add_tags__of_a_head_that_cannot():
    class Plain(HeadBase):
        name = "plain"

    with pytest.raises(HeadError, match="head 'plain' cannot learn more tags; fit it again with all of them"):
        Plain().add_tags(*example_rows(5))


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
        path.write_text(json.dumps(good | change), encoding="utf-8")
        with pytest.raises(HeadError, match=r"does not hold a readable head of this version \(.*\); fit it"):
            get_head(name).load(tmp_path)
    del good["n_tags"]
    path.write_text(json.dumps(good), encoding="utf-8")
    with pytest.raises(
        HeadError, match="does not hold a readable head of this version .object missing required field n_tags"
    ):
        get_head(name).load(tmp_path)


def test_joblib__keeps_options_and_state(fitted, tmp_path):
    joblib.dump(fitted, tmp_path / "head.joblib")
    loaded = joblib.load(tmp_path / "head.joblib")
    X, _ = example_rows(30, seed=3)
    assert loaded.get_params() == fitted.get_params()
    np.testing.assert_array_equal(loaded.scores(X), fitted.scores(X))


def test_progress__is_reported(name):
    seen = set()
    make(name).fit(*example_rows(60), progress=lambda stage, *state: seen.add(stage))
    want = {"mlp": {"train mlp"}, "logreg": {"fit logreg"}, "knn": {"choose k and temperature"}}
    assert seen == want.get(name, want["logreg"] | want["knn"])


def test_scikit_learn__pipes_and_cross_validates(name):
    X, Y = example_rows(90)
    Y = Y.toarray()[:, :5]  # scikit-learn encodes a constant column as all 0
    head = make(name)
    pipe = make_pipeline(StandardScaler(), clone(head)).fit(X, Y)
    scaled = StandardScaler().fit_transform(X)
    np.testing.assert_array_equal(pipe.predict_proba(X), clone(head).fit(scaled, Y).scores(scaled))
    np.testing.assert_array_equal(pipe.predict(X), pipe.predict_proba(X) >= 0.5)
    folds = KFold(3, shuffle=True, random_state=0)
    out = cross_val_predict(head, X, Y, cv=folds, method="predict_proba")
    train, test = next(folds.split(X))
    np.testing.assert_array_equal(out[test], clone(head).fit(X[train], Y[train]).scores(X[test]))


def test_classes__exist_once_it_is_fitted(name, fitted):
    assert not hasattr(make(name), "classes_")
    np.testing.assert_array_equal(fitted.classes_, np.arange(7))
