"""tune, and predict from kept scores: what is decided without the head equals what the head's scores say."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from tests.experiment.conftest import made_up, names, write_store
from tests.experiment.test_predicting import cells
from toolkit.decisions import parse_rule
from toolkit.errors import HeadError, OptionError
from toolkit.experiment import DataOptions, SavedHead, fit, load_dataset, predict, tune
from toolkit.experiment.tuning import COMPARED
from toolkit.heads import get_head


@pytest.fixture
def fitted(given):
    fit("logreg", options={"C": 0.5}, **given)
    return given["artifacts"]


def by_hand(given, rule):
    """Return the rule tuned on val scores of a head fitted on train, and predictions and truth of test."""
    data, X = load_dataset(DataOptions(**given)), made_up()[0]
    Y, split = data.Y, data.split
    head = get_head("logreg")(C=0.5).fit(X[split.train], Y[split.train])
    tuned = parse_rule(rule).fit(head.scores(X[split.val]), Y[split.val])
    return tuned, tuned.apply(head.scores(X[split.test])).toarray(), Y[split.test].toarray()


def test_tune__compares_all_rules_and_changes_nothing(given, fitted):
    before = (fitted / "heads/logreg/decision.json").read_text()
    report = tune(artifacts=fitted)
    assert len(report.tuned) == len(COMPARED) and report.set_to is None and report.head == "logreg"
    for name, found in zip(COMPARED, report.tuned, strict=True):
        rule, predicted, truth = by_hand(given, name)
        assert found.rule.describe() == rule.describe() and found.exact
        assert found.metrics.micro_f1 == pytest.approx(f1_score(truth, predicted, average="micro"))
    assert (fitted / "heads/logreg/decision.json").read_text() == before


def test_tune__sets_the_rule_predict_uses(given, fitted):
    report = tune("logreg", rule="per-tag", min_tags=1, artifacts=fitted)
    saved = SavedHead.open(fitted, "logreg")
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
    with pytest.raises(OptionError, match="holds scores of head 'logreg' for 4 tags, but the rule is that"):
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
    assert report.measured_on == "64 rows, cross-fitted"
    assert report.tuned[0].metrics.micro_f1 + report.tuned[0].optimism["micro_f1"] == pytest.approx(
        max(
            f1_score(truth, scores >= cut, average="micro")
            for truth, scores in [_kept(given)]
            for cut in np.unique(scores)
        )
    )


def _kept(given):
    from toolkit.experiment.keptscores import KeptScores

    kept = KeptScores.read(given["artifacts"] / "heads/logreg", "tuning")
    return kept.Y.toarray(), kept.top.dense(slice(None))
