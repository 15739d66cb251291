"""tune, and predict from kept scores: what is decided without the head equals what the head's scores say."""

import shutil

import numpy as np
import pytest
from sklearn.metrics import f1_score

from tests.made_up import made_up, names, write_labels, write_store
from tests.verbs.test_predict import cells
from toolkit.errors import HeadError, OptionError
from toolkit.evaluation.decisions.crossfit import cross_fitted
from toolkit.evaluation.decisions.registry import parse_rule
from toolkit.evaluation.metrics import evaluate
from toolkit.experiment.dataset import load_dataset
from toolkit.experiment.options import DataOptions
from toolkit.experiment.saved import SavedHead
from toolkit.experiment.saved_scores import SavedScores
from toolkit.files.csv import write_csv
from toolkit.heads.registry import get_head
from toolkit.verbs.add_tags import add_tags
from toolkit.verbs.fit import fit
from toolkit.verbs.predict import predict
from toolkit.verbs.tune import tune


@pytest.fixture
def fitted(given):
    fit("logreg", options={"C": 0.5}, **given)
    return given["artifacts"]


def by_hand(given, rule):
    """Return the rule tuned on val scores of a head fitted on train, and predictions and truth of each part.

    Those of val are cross-fitted.
    """
    data, X = load_dataset(DataOptions(**given)), made_up()[0]
    Y, split = data.Y, data.split
    head = get_head("logreg")(C=0.5).fit(X[split.train], Y[split.train])
    scores = head.scores(X[split.val])
    tuned = parse_rule(rule).fit(scores, Y[split.val])
    val = cross_fitted(tuned, scores, Y[split.val], groups=data.groups[split.val])
    test = tuned.apply(head.scores(X[split.test]))
    return tuned, (val, Y[split.val]), (test, Y[split.test])


def test_tune__compares_all_rules_and_changes_nothing(given, fitted):
    before = (fitted / "heads/logreg/decision.json").read_text()
    report = tune(artifacts=fitted)
    assert len(report.tuned) == 5 and report.set_to is None and report.head == "logreg"
    assert report.measured_on == "24 tuning rows, cross-fitted"  # the test rows are not there to choose by
    compared = ("global", "per-tag", "logit-adjusted", "expected-f1", "fixed:0.5")
    for name, found in zip(compared, report.tuned, strict=True):
        rule, (predicted, truth), _ = by_hand(given, name)
        assert found.rule.describe() == rule.describe() and found.exact
        want = f1_score(truth.toarray(), predicted.toarray(), average="micro")
        assert found.metrics.micro_f1 == pytest.approx(want)
    assert (fitted / "heads/logreg/decision.json").read_text() == before


def test_tune__sets_the_rule_predict_uses(given, fitted):
    before = SavedHead.open(fitted, "logreg")
    report = tune("logreg", rule="per-tag", min_tags=1, artifacts=fitted)
    saved = SavedHead.open(fitted, "logreg")
    assert report.measured_on == saved.metrics["measured_on"] == "24 test rows"
    rule, _, (_, truth) = by_hand(given, "per-tag")
    rule.min_tags = 1
    X, test = made_up()[0], load_dataset(DataOptions(**given)).split.test
    data = load_dataset(DataOptions(**given))
    head = get_head("logreg")(C=0.5).fit(X[data.split.train], data.Y[data.split.train])
    want = evaluate(truth, rule.apply(head.scores(X[test]))).to_dict() | {"map": before.metrics["map"]}
    assert {name: saved.metrics[name] for name in want} == want and saved.id == before.id
    assert saved.decision["rule"] == report.set_to.to_dict() and saved.decision["rule"]["min_tags"] == 1
    assert saved.metrics["rule"] == report.set_to.describe()
    assert saved.metrics["micro_f1"] == pytest.approx(report.tuned[0].metrics.micro_f1)
    assert predict("train", artifacts=fitted).rule == report.set_to.describe()
    tune(metric="samples", artifacts=fitted)
    assert SavedHead.open(fitted, "logreg").rule().describe() == "expected-f1"


def test_predict__decides_again_from_scores_without_the_head(home, fitted):
    X, _ = made_up(1, n=40)
    write_store(home, "new", X, names(40))
    first = predict("new", artifacts=fitted, out=home / "submit.csv", paths="relative")
    for rule in ("fixed:0.7", "per-tag", "expected-f1", "top-k:2"):
        want = predict("new", artifacts=fitted, out=home / "want.csv", rule=rule, paths="relative")
        head = fitted / "heads/logreg/coef.npy"
        kept = head.read_bytes()
        head.unlink()
        again = predict(home / "submit.scores.npz", artifacts=fitted, rule=rule, out=home / "again.csv")
        head.write_bytes(kept)
        assert cells(again.path) == cells(want.path) and again.n_without_tags == want.n_without_tags
        assert (home / "again.scores.npz").is_file()
    again = predict(home / "submit.scores.npz", artifacts=fitted, rule="top-k:1")
    assert again.path == first.path and all(len(tags) == 1 for _, tags in cells(first.path))


def test_errors(home, given, fitted):
    predict("train", artifacts=fitted, out=home / "submit.csv")
    fit("knn", options={"k": 3, "temperature": 0.1}, **given)
    with pytest.raises(OptionError, match="holds scores of head 'logreg', but the rule is that of head"):
        predict(home / "submit.scores.npz", head="knn", artifacts=fitted)
    with pytest.raises(OptionError, match="--rule got 'best'"):
        tune("knn", rule="best", artifacts=fitted)
    scores = fitted / "heads/knn/scores"
    (scores / "test.npz").write_bytes(b"PK")
    with pytest.raises(HeadError, match="the scores of head 'knn' are damaged"):
        tune("knn", artifacts=fitted)
    for path in scores.iterdir():
        path.unlink()
    scores.rmdir()
    with pytest.raises(HeadError, match="no scores are kept with head 'knn'; fit it again"):
        tune("knn", artifacts=fitted)


def test_tune__without_test_rows_is_cross_fitted(given):
    fit("logreg", options={"C": 0.5}, test_fraction=0.0, val_fraction=0.4, **given)
    report = tune(rule="global", artifacts=given["artifacts"])
    assert report.measured_on == "64 tuning rows, cross-fitted"
    assert report.tuned[0].metrics.micro_f1 + report.tuned[0].optimism["micro_f1"] == pytest.approx(
        max(
            f1_score(truth, scores >= cut, average="micro")
            for truth, scores in [_kept(given)]
            for cut in np.unique(scores)
        )
    )


def test_tune__near_duplicates_are_in_one_fold_as_when_it_was_fitted(home, given):
    """Each image is there four times: dealt apart, a rule would decide images it was tuned on."""
    X, Y = made_up()
    Y[::3] ^= np.random.default_rng(0).random(Y[::3].shape) < 0.4
    rows = np.arange(160) // 4
    shutil.rmtree(given["artifacts"] / "embeddings/train")
    write_store(home, "train", X[rows], names())
    write_labels(home / "labels.csv", names(), Y[rows])
    for rule in ("per-tag", "global"):
        report = fit("logreg", options={"C": 0.5}, rule=rule, test_fraction=0.0, val_fraction=0.4, **given)
        kept = SavedScores.read(report.folder, "tuning")
        assert len(np.unique(kept.groups)) == len(kept.groups) / 4
        again = tune(rule=rule, artifacts=given["artifacts"])
        assert again.tuned[0].metrics.micro_f1 == report.metrics.micro_f1
        assert again.tuned[0].optimism == report.optimism
    apart = evaluate(kept.Y, cross_fitted(again.tuned[0].rule, kept.top, kept.Y))
    assert apart.micro_f1 != report.metrics.micro_f1


def test_tune__after_tags_were_added_says_so(home, given, fitted):
    text = (home / "labels.csv").read_text(encoding="utf-8")
    rows = [line.partition(",") for line in text.splitlines()[1:]]
    write_csv(
        home / "more.csv",
        ("img_path", "tags"),
        ((name, tags.strip('"').replace("sea", "sea,boat")) for name, _, tags in rows),
    )
    scores = predict("train", artifacts=fitted, out=home / "submit.csv").scores
    add_tags("logreg", artifacts=fitted, labels=home / "more.csv")
    with pytest.raises(HeadError) as raised:
        tune(artifacts=fitted)
    assert str(raised.value) == (
        "head 'logreg' keeps no scores of the 1 tag added since it was fitted ('boat'), and tune needs those "
        "of all tags; fit it again with: toolkit fit --head logreg --labels FILE"
    )
    with pytest.raises(OptionError) as raised:
        predict(scores, artifacts=fitted)
    assert str(raised.value) == (
        f"{scores} holds scores of head 'logreg' for 4 tags, from before 1 tag was added; its rule goes with "
        "scores of the head as it is now (5 tags), so predict again from the images or the store"
    )
    again = predict("train", artifacts=fitted, out=home / "submit.csv").scores
    assert predict(again, artifacts=fitted).n_images == 160


@pytest.mark.parametrize("name", ["tuning.npz", "tuning-tags.npz", "test-groups.npy"])
@pytest.mark.parametrize("harm", ["cut", "empty", "gone", "flipped", "another's"])
def test_tune__damaged_scores(fitted, name, harm):
    path = fitted / "heads/logreg/scores" / name
    content = bytearray(path.read_bytes())
    if harm == "gone":
        path.unlink()
    elif harm == "another's":
        np.save(path.with_suffix(".npy"), np.arange(3))
        path.with_suffix(".npy").replace(path)
    else:
        content[len(content) // 2] ^= 255
        path.write_bytes({"cut": content[:-40], "empty": b"", "flipped": content}[harm])
    if (name, harm) == ("test-groups.npy", "flipped"):
        pytest.skip("a group of another number is still a group")
    with pytest.raises(HeadError, match="the scores of head 'logreg' are damaged"):
        tune("logreg", artifacts=fitted)


def test_predict__scores_of_an_earlier_fit_or_options_they_cannot_give(home, given, fitted):
    scores = predict("train", artifacts=fitted, out=home / "submit.csv").scores
    for asked in (
        {"paths": "name"},
        {"name": "x"},
        {"weights": "random:0"},
        {"root": home},
        {"batch_size": 8},
    ):
        with pytest.raises(
            OptionError, match=rf"--{next(iter(asked)).replace('_', '-')} cannot be used with"
        ):
            predict(scores, artifacts=fitted, **asked)
    tune("logreg", rule="per-tag", artifacts=fitted)
    assert predict(scores, artifacts=fitted).n_images == 160
    fit("logreg", options={"C": 0.01}, **given)
    with pytest.raises(OptionError, match=r"for 4 tags, from before it was fitted again; .* now \(4 tags\)"):
        predict(scores, artifacts=fitted)


def _kept(given):
    kept = SavedScores.read(given["artifacts"] / "heads/logreg", "tuning")
    return kept.Y.toarray(), kept.top[:]
