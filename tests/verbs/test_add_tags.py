"""fit --add-tags: known columns stay as they are, new ones are those a head fitted on them has."""

import json
import shutil

import numpy as np
import pytest
from sklearn.metrics import f1_score

from tests.made_up import TAGS, made_up, names, write_store
from toolkit.errors import HeadError, OptionError, SpecMismatchError
from toolkit.evaluation.decisions.crossfit import cross_fitted
from toolkit.evaluation.decisions.registry import rule_from_dict
from toolkit.experiment.dataset import load_dataset
from toolkit.experiment.options import DataOptions
from toolkit.experiment.saved import SavedHead
from toolkit.files.csv import write_csv
from toolkit.heads.adding import new_tag_scorer
from toolkit.heads.base import HeadBase
from toolkit.heads.registry import get_head, load_head
from toolkit.verbs.add_tags import add_tags
from toolkit.verbs.compare import compare
from toolkit.verbs.fit import fit
from toolkit.verbs.predict import predict

FAST = {"mlp": {"epochs": 5, "hidden": (8,)}, "logreg": {"C": 0.5}, "knn": {"k": 5, "temperature": 0.1}}


@pytest.fixture
def more(home):
    """Labels with two more tags, one of them rare."""
    X, Y = made_up()
    random = np.random.default_rng(3)
    Z = X @ random.normal(size=(X.shape[1], 2))
    new = np.stack([np.quantile(Z[:, 0], 0.6) < Z[:, 0], np.quantile(Z[:, 1], 0.9) < Z[:, 1]], axis=1)
    tags = np.array([*TAGS, "山", "boat"])
    rows = ((name, ",".join(tags[row])) for name, row in zip(names(), np.hstack([Y, new]), strict=True))
    write_csv(home / "more.csv", ("img_path", "tags"), rows)
    return {"artifacts": home / "artifacts", "labels": home / "more.csv"}


@pytest.mark.parametrize("name", ["logreg", "knn", "mlp"])
def test_known_columns_stay_and_new_ones_are_learned(given, more, name):
    fit(name, options=FAST[name], rule="per-tag", **given)
    X = made_up()[0]
    folder = given["artifacts"] / "heads" / name
    before, old = load_head(folder).scores(X), SavedHead.open(given["artifacts"], name)
    report = add_tags(name, **more)
    after, saved = load_head(folder).scores(X), SavedHead.open(given["artifacts"], name)
    assert report.added == ("boat", "山") and report.n_tags == 6
    assert saved.space.tags == (*old.space.tags, "boat", "山")
    np.testing.assert_array_equal(after[:, :4], before)
    assert saved.decision["rule"]["thresholds"][:4] == old.decision["rule"]["thresholds"]
    assert len(saved.decision["rule"]["thresholds"]) == 6
    assert saved.decision["tuned"]["global"] == old.decision["tuned"]["global"]
    assert saved.history == old.history and saved.metrics["added"][0]["tags"] == ["boat", "山"]
    if name == "logreg":
        data = load_dataset(DataOptions(**more))
        columns = [data.space.column("boat"), data.space.column("山")]
        want = get_head("logreg")(C=0.5).fit(X, data.Y[:, columns]).scores(X)
        np.testing.assert_allclose(after[:, 4:], want, atol=2e-3)
    assert predict("train", head=name, artifacts=given["artifacts"]).n_images == 160


def test_new_tags_are_measured_on_rows_they_were_not_learned_from(given, more):
    fit("logreg", options=FAST["logreg"], rule="fixed:0.5", **given)
    report = add_tags("logreg", **more)
    data, X = load_dataset(DataOptions(**more)), made_up()[0]
    Y = data.Y[:, [data.space.column(tag) for tag in report.added]]
    split = data.split
    head = get_head("logreg")(C=0.5).fit(X[split.train], Y[split.train])
    predicted = head.scores(X[split.test]) >= 0.5
    truth = Y[split.test].toarray()
    # the head's own mean and scale are those of all rows: a score may fall on the other side
    assert report.metrics.micro_f1 == pytest.approx(f1_score(truth, predicted, average="micro"), abs=0.05)
    assert report.measured_on == f"{len(split.test)} test rows"


def new_columns(head, data):
    return data.Y[:, [data.space.column(tag) for tag in data.space.tags if tag in ("boat", "山")]]


@pytest.mark.parametrize(("rule", "how"), [("per-tag", ", cross-fitted"), ("global", "")])
def test_without_test_rows__thresholds_do_not_decide_rows_they_were_tuned_on(given, more, rule, how):
    """A fraction of 0 is a value like any other: it is not left out."""
    sizes = {"test_fraction": 0.0, "val_fraction": 0.4}
    fit("logreg", options=FAST["logreg"], rule=rule, **given, **sizes)
    head, X = load_head(given["artifacts"] / "heads/logreg"), made_up()[0]
    report = add_tags("logreg", **more, **sizes)
    data = load_dataset(DataOptions(**more, **sizes))
    train, val, Y = data.split.train, data.split.val, new_columns(head, data)
    scores = head.add_tags(X[train], Y[train]).scores(X[val])[:, 4:]
    decided = rule_from_dict(SavedHead.open(given["artifacts"], "logreg").decision["rule"])
    if rule == "per-tag":
        predicted = cross_fitted(decided, scores, Y[val], groups=data.groups[val])
    else:
        predicted = decided.apply(scores)
    assert report.measured_on == f"{len(val)} val rows{how}" and len(val) == 64
    want = f1_score(Y[val].toarray(), predicted.toarray(), average="micro")
    assert report.metrics.micro_f1 == pytest.approx(want, abs=1e-6)


def test_several_stores__keep_the_scales_they_were_fitted_with(home, given, more):
    other, ids = made_up(4)[0] * 30, names()
    write_store(home, "other", other, ids)
    stores = {"store": ("train", "other")}
    fit("logreg", options=FAST["logreg"], **given, **stores)
    saved = SavedHead.open(given["artifacts"], "logreg")
    shutil.rmtree(given["artifacts"] / "embeddings/other")
    write_store(home, "other", np.vstack([other, other[:5] * 1000]), [*ids, *(f"{n}.jpg" for n in range(5))])
    add_tags("logreg", **more)
    data = load_dataset(DataOptions(**more, **stores))
    scales = [part.scale for part in saved.stores]
    assert data.store_set.scales[1] < scales[1] / 100
    X = np.hstack([made_up()[0] * np.float32(scales[0]), other * np.float32(scales[1])])
    head = load_head(saved.folder)
    want = get_head("logreg")(C=0.5).fit(X, new_columns(head, data)).scores(X)
    np.testing.assert_allclose(head.scores(X)[:, 4:], want, atol=2e-3)
    assert SavedHead.open(given["artifacts"], "logreg").stores == saved.stores
    with pytest.raises(OptionError, match=r"fitted on 2 stores \(train\+other\), 'train' names 1; name as"):
        add_tags("logreg", **more | {"store": "train"})


@pytest.mark.parametrize("folds", [0, 2])
def test_no_refit__tags_are_learned_from_the_rows_the_head_has(given, more, folds):
    """The labels of the new tags would deal the rows otherwise: the split is the head's own, each time."""
    fit("knn", options=FAST["knn"], refit=False, folds=folds, **given)
    data, X = load_dataset(DataOptions(**given)), made_up()[0]
    own = np.sort(np.concatenate([data.split.train, data.split.val])) if folds else data.split.train
    report = add_tags("knn", **more)
    assert report.measured_on == f"{len(data.split.test)} test rows"
    head, new = load_head(report.folder), load_dataset(DataOptions(**more))
    want = get_head("knn")(**head.chosen()).fit(X[own], new_columns(head, new)[own]).scores(X)
    np.testing.assert_allclose(head.scores(X)[:, 4:], want, atol=1e-6)
    more["labels"].write_text(
        more["labels"].read_text(encoding="utf-8").replace("山", "hill"), encoding="utf-8"
    )
    assert add_tags("knn", **more).n_tags == 7


def test_new_tag_scorer__a_head_that_cannot_add_tags():
    class Plain(HeadBase):
        name = "plain"

    with pytest.raises(HeadError, match="head 'plain' cannot learn more tags; fit it again with all of them"):
        new_tag_scorer(Plain(), None, None)


def test_ensemble__passes_it_on(given, more):
    compare(["logreg", "knn", "ensemble"], options={name: FAST[name] for name in ("logreg", "knn")}, **given)
    X = made_up()[0]
    before = load_head(given["artifacts"] / "heads" / "ensemble")
    report = add_tags("ensemble", **more)
    after = load_head(report.folder)
    np.testing.assert_array_equal(after.scores(X)[:, :4], before.scores(X))
    assert after.coefficients_ == before.coefficients_ and after.n_tags_ == 6


def test_errors__change_nothing(home, given, more):
    fit("knn", options=FAST["knn"], **given)
    folder = given["artifacts"] / "heads" / "knn"
    before = (folder / "head.json").read_text()
    with pytest.raises(OptionError, match=r"head 'knn' knows every tag of the label file \(4\)"):
        add_tags("knn", **given)
    lines = (home / "more.csv").read_text(encoding="utf-8").splitlines()
    (home / "fewer.csv").write_text("\n".join(lines[:120]) + "\n", encoding="utf-8")
    with pytest.raises(HeadError, match="to the 160 rows of 10 features that the head holds, X has 119"):
        add_tags("knn", **more | {"labels": home / "fewer.csv"})
    with pytest.raises(HeadError, match="there is no fitted head 'mlp'"):
        add_tags("mlp", **more)
    spec = json.loads((folder / "spec.json").read_text())
    spec["stores"][0]["spec"]["pooling"] = "max"
    (folder / "spec.json").write_text(json.dumps(spec))
    with pytest.raises(SpecMismatchError, match="differ in pooling"):
        add_tags("knn", **more)
    assert (folder / "head.json").read_text() == before
