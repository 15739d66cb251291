"""fit and compare: what they measure is recomputed here by other means."""

import json

import numpy as np
import pytest
from sklearn.metrics import f1_score, precision_score, recall_score

from tests.made_up import made_up, names, write_labels
from toolkit.errors import HeadError, OptionError
from toolkit.evaluation.bootstrap import METRICS
from toolkit.evaluation.decisions.registry import parse_rule
from toolkit.evaluation.splits import read_split
from toolkit.experiment import measuring
from toolkit.experiment.dataset import load_dataset
from toolkit.experiment.options import DataOptions
from toolkit.experiment.saved import SavedHead
from toolkit.files.csv import read_csv
from toolkit.heads.registry import get_head, load_head
from toolkit.verbs.compare import compare
from toolkit.verbs.fit import fit

FAST = {"mlp": {"epochs": 5, "hidden": (8,)}}


def by_hand(data, name, rule="global", **options):
    """Fit, tune and predict in this process; return (predictions, truth) of the test rows."""
    X, Y, split = made_up()[0][data.store_set.rows[0]], data.Y, data.split
    head = get_head(name)(**options).fit(X[split.train], Y[split.train], val=(X[split.val], Y[split.val]))
    tuned = parse_rule(rule).fit(head.scores(X[split.val]), Y[split.val])
    return tuned.apply(head.scores(X[split.test])).toarray(), Y[split.test].toarray(), head


@pytest.mark.parametrize("name", ["logreg", "knn"])
@pytest.mark.parametrize("rule", ["global", "fixed:0.5", "per-tag", "top-k:2"])
def test_fit__measures_the_test_rows(given, name, rule):
    report = fit(name, rule=rule, **given)
    predicted, truth, head = by_hand(load_dataset(DataOptions(**given)), name, rule)
    row = report.row()
    assert row["micro_f1"] == pytest.approx(f1_score(truth, predicted, average="micro"))
    assert row["samples_f1"] == pytest.approx(f1_score(truth, predicted, average="samples", zero_division=0))
    assert row["micro_precision"] == pytest.approx(precision_score(truth, predicted, average="micro"))
    assert row["micro_recall"] == pytest.approx(recall_score(truth, predicted, average="micro"))
    assert report.chosen == head.chosen() and report.measured_on.endswith("test rows")


def test_fit__the_saved_head_knows_all_labelled_rows(given):
    X, _ = made_up()
    data = load_dataset(DataOptions(**given))
    report = fit("logreg", **given)
    saved = load_head(report.folder)
    want = get_head("logreg")(**report.chosen).fit(X, data.Y)
    np.testing.assert_array_equal(saved.scores(X), want.scores(X))
    measured = load_head(fit("logreg", refit=False, **given).folder)
    want = get_head("logreg")(**report.chosen).fit(X[data.split.train], data.Y[data.split.train])
    # from another start: both are within .001 of the optimum's
    np.testing.assert_allclose(measured.scores(X), want.scores(X), atol=2e-3)


def test_fit__test_labels_influence_nothing(home, given):
    data = load_dataset(DataOptions(**given))
    (home / "split.csv").write_text(
        "img_path,split\n" + "".join(f"{data.ids[row]},{part}\n" for row, part in data.split.parts().items()),
        encoding="utf-8",
    )
    given = given | {"split": home / "split.csv"}
    heads = ("logreg", "knn", "ensemble")
    compare(heads, refit=False, **given)
    folder = home / "artifacts" / "heads"
    before = {head: (folder / head / "decision.json").read_text() for head in heads}
    scores = {head: load_head(folder / head).scores(made_up()[0]) for head in heads}
    Y = made_up()[1].copy()
    Y[data.split.test] = ~Y[data.split.test]
    write_labels(home / "labels.csv", names(), Y)
    changed = compare(heads, refit=False, **given)
    for head in heads:
        assert (folder / head / "decision.json").read_text() == before[head]
        np.testing.assert_array_equal(load_head(folder / head).scores(made_up()[0]), scores[head])
    assert max(report.metrics.micro_f1 for report in changed.reports) < 0.5


def test_fit__without_test_rows_is_cross_fitted(given):
    given = given | {"test_fraction": 0.0, "val_fraction": 0.3}
    report = fit("logreg", **given)
    data = load_dataset(DataOptions(**given))
    X, split = made_up()[0], data.split
    truth = data.Y[split.val]
    head = get_head("logreg")().fit(X[split.train], data.Y[split.train], val=(X[split.val], truth))
    scores, half = (
        head.scores(X[split.val]),
        np.random.default_rng(0).permutation(np.arange(len(split.val)) % 2),
    )
    predicted = np.zeros(truth.shape, bool)
    for here in (0, 1):
        rule = parse_rule("global").fit(scores[half != here], truth[half != here])
        predicted[half == here] = rule.apply(scores[half == here]).toarray()
    assert report.metrics.micro_f1 == pytest.approx(f1_score(truth.toarray(), predicted, average="micro"))
    assert "cross-fitted" in report.measured_on


def test_saved__folder_has_all_that_predicting_needs(given):
    folder = fit("mlp", options=["epochs=4", "hidden=8"], **given).folder
    present = {path.name for path in folder.iterdir()}
    assert {"head.json", "tags.txt", "decision.json", "metrics.json", "history.csv", "spec.json"} <= present
    rows = [cells for _, cells in read_csv(folder / "history.csv", error=HeadError)]
    assert rows[0][:3] == ["epoch", "train_loss", "lr"] and len(rows) >= 5
    saved = SavedHead.open(given["artifacts"], "best")  # the only one
    assert saved.name == "mlp" and saved.space.tags == ("car", "sea", "tree", "天空")
    assert saved.rule().to_dict() == saved.decision["rule"]
    assert len(saved.rule("per-tag").to_dict()["thresholds"]) == 4
    assert saved.rule("top-k:3").describe() == "top-k 3"
    assert saved.rule(min_tags=2).describe().endswith("at least 2")
    with pytest.raises(OptionError, match="--min-tags got -1"):
        saved.rule(min_tags=-1)
    assert not list(given["artifacts"].glob(".work-*"))


def test_compare__same_rows_for_all_and_the_best_first(home, given):
    comparison = compare(options=FAST, **given)
    document = comparison.to_dict()
    assert {row["head"] for row in document["heads"]} == {"mlp", "logreg", "knn", "ensemble"}
    f1 = [row["micro_f1"] for row in document["heads"]]
    assert f1 == sorted(f1, reverse=True) and document["best"] == document["heads"][0]["head"]
    assert document["n_train"] + document["n_val"] + document["n_test"] == 160
    logreg = next(row for row in document["heads"] if row["head"] == "logreg")
    predicted, truth, _ = by_hand(comparison.dataset, "logreg")
    assert logreg["micro_f1"] == pytest.approx(f1_score(truth, predicted, average="micro"))
    low, high = document["intervals"][document["best"]]
    assert low < f1[0] < high and set(document["leads"]) == {row["head"] for row in document["heads"][1:]}
    assert all(lead[0] <= lead[1] for lead in document["leads"].values())
    for row in document["heads"]:
        for metric, intervals in document["intervals_by_metric"].items():
            inside = {**row, "macro_f1_all": document["macro_f1_all"][row["head"]]}[metric]
            assert intervals[row["head"]][0] <= inside <= intervals[row["head"]][1], metric
    assert set(document["intervals_by_metric"]) == {*METRICS, "map"}
    assert all(len(pairs) == 6 for pairs in document["leads_by_metric"].values())
    assert document["seconds"]["mlp: fit"] > 0 and set(document["optimism"]) == {
        row["head"] for row in document["heads"]
    }
    assert sum(band["n_tags"] for band in document["bands"]) == document["n_tags_with_support"]
    folder = comparison.folder
    assert json.loads((folder / "compare.json").read_text()) == json.loads(json.dumps(document))
    rows = [cells for _, cells in read_csv(folder / "table.csv", error=HeadError)]
    assert rows[0][:2] == ["head", "micro_f1"] and [row[0] for row in rows[1:]] == [
        row["head"] for row in document["heads"]
    ]
    ids, parts = read_split(folder / "split.csv")
    assert dict(zip(ids, parts, strict=True)) == {
        comparison.dataset.ids[row]: part for row, part in comparison.dataset.split.parts().items()
    }
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "天空" in page and f"{f1[0]:.4f}" in page and "://" not in page
    assert SavedHead.open(given["artifacts"], "best").name == document["best"]


def test_compare__the_ensemble_mixes_the_heads_compared(given):
    from toolkit.heads.ensemble import Ensemble

    comparison = compare(["logreg", "knn", "ensemble"], refit=False, **given)
    data, X = comparison.dataset, made_up()[0]
    head = load_head(given["artifacts"] / "heads" / "ensemble")
    assert head.members == ("logreg", "knn")
    val = {
        name: load_head(given["artifacts"] / "heads" / name).scores(X[data.split.val])
        for name in head.members
    }
    again = Ensemble(members=head.members).combine(val, data.Y[data.split.val])
    np.testing.assert_allclose(again.coefficients_, head.coefficients_, atol=1e-4)


def test_fit__the_ensemble_alone_fits_members_nobody_asked_to_see(given):
    report = fit("ensemble", options={"members": ("logreg", "knn")}, **given)
    assert report.head == "ensemble"
    assert {path.name for path in (given["artifacts"] / "heads").iterdir()} == {"ensemble"}


def test_compare__a_failure_while_measuring_leaves_every_head_as_it_was(given, monkeypatch):
    compare(["logreg", "knn"], **given)
    heads = given["artifacts"] / "heads"
    before = {path: path.read_bytes() for path in heads.rglob("*.json")}
    calls = []

    def broken(*args, **options):
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return measuring.measure(*args, **options)

    monkeypatch.setattr("toolkit.experiment.training.measure", broken)
    with pytest.raises(KeyboardInterrupt):
        compare(["logreg", "knn"], options={"logreg": {"C": 1e-3}, "knn": {"k": 3}}, **given)
    assert len(calls) == 2 and {path: path.read_bytes() for path in heads.rglob("*.json")} == before


def test_fit__unsolved_tags_are_listed_by_name(given):
    report = fit("logreg", options={"C": 100.0, "max_iter": 2}, **given)
    saved = SavedHead.open(given["artifacts"], "logreg")
    head = load_head(report.folder)
    assert saved.metrics["convergence"]["iterations_most"] == 2
    assert saved.metrics["unconverged"] and set(saved.metrics["unconverged"]) <= set(saved.space.tags)
    assert len(head.unconverged_)


def test_compare__another_metric_decides(given):
    comparison = compare(["logreg", "knn"], metric="macro", **given)
    macro = [report.metrics.macro_f1 for report in comparison.reports]
    assert macro == sorted(macro, reverse=True)


def test_compare__is_repeatable(given):
    first, second = (compare(options=FAST, **given) for _ in range(2))
    assert first.folder != second.folder
    for one, other in zip(first.reports, second.reports, strict=True):
        assert (one.head, one.metrics.to_dict()) == (other.head, other.metrics.to_dict())


PLUG_INS = """
import os
import time
from toolkit.errors import HeadError
from toolkit.heads.knn import Knn

class Broken(Knn):
    name = "broken"

    def fit(self, X, Y, *, val=None, progress=None):
        print("hello from the worker", flush=True)
        if self.k == 2:
            raise HeadError("the user should know this")
        if self.k == 4:
            os.kill(os.getpid(), 9)
        os._exit(7)

class Plugged(Knn):
    name = "plugged"

class Heavy(Knn):
    name = "heavy"

    def fit(self, X, Y, **more):
        time.sleep(0.2)
        b"x" * (400 * 2**20)
        return super().fit(X, Y, **more)
"""


@pytest.fixture
def plug_ins(tmp_path, monkeypatch):
    """Heads of another package, importable here and in the worker."""
    (tmp_path / "plug_ins.py").write_text(PLUG_INS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


@pytest.mark.usefixtures("plug_ins")
def test_worker__errors_reach_the_user_and_nothing_changes(given, capfd):
    with pytest.raises(HeadError, match="the user should know this"):
        fit("plug_ins:Broken", options={"k": 2}, **given)
    with pytest.raises(HeadError, match="was killed by signal 9, as happens when memory runs out"):
        fit("plug_ins:Broken", options={"k": 4}, **given)
    with pytest.raises(HeadError, match="ended with exit status 7; nothing was changed"):
        fit("plug_ins:Broken", **given)
    assert "hello from the worker" in capfd.readouterr().err
    assert not (given["artifacts"] / "heads").exists() and not list(given["artifacts"].glob(".work-*"))


@pytest.mark.usefixtures("plug_ins")
def test_cost__is_that_of_the_head_alone(given):
    plain, heavy = (
        fit(f"plug_ins:{name}", options={"k": 3, "temperature": 0.1}, refit=False, **given).row()
        for name in ("Plugged", "Heavy")
    )
    assert 350 < heavy["peak_mb"] - plain["peak_mb"] < 450
    assert heavy["fit_seconds"] > 0.2


@pytest.mark.usefixtures("plug_ins")
def test_import_string__is_found_again_by_it(given):
    report = fit("plug_ins:Plugged", options={"k": 3, "temperature": 0.1}, **given)
    assert report.folder.name == "plugged"
    assert SavedHead.open(given["artifacts"], "plug_ins:Plugged").folder == report.folder
    for heads, options in (
        (["logreg", "plug_ins:Plugged", "ensemble"], {}),
        (["ensemble"], {"ensemble": {"members": ("logreg", "plug_ins:Plugged")}}),
    ):
        with pytest.raises(
            OptionError, match="the ensemble cannot keep 'plug_ins:Plugged', which no registry"
        ):
            compare(heads, options=options, **given)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda given: compare([], **given), "no head is named"),
        (lambda given: compare(["knn", "knn"], **given), "a head is named twice among knn, knn"),
        (
            lambda given: compare(["knn"], options={"mlp": {}}, **given),
            "options are given for head 'mlp', which is not among knn",
        ),
        (lambda given: compare(["knn"], metric="hamming", **given), "--metric got 'hamming'"),
        (lambda given: compare(["knn"], rule="best", **given), "--rule got 'best'"),
        (lambda given: fit("knn", options=["q=1"], **given), "has no option 'q'"),
        (lambda given: fit("knn", options={"k": 0}, **given), "option 'k' of head 'knn' got 0"),
        (lambda given: fit("knn", shop="x", **given), "unknown option .*shop"),
        (
            lambda given: fit("ensemble", options={"members": ("ensemble", "knn")}, **given),
            "names of other heads",
        ),
    ],
)
def test_errors(given, call, message):
    with pytest.raises((OptionError, HeadError), match=message):
        call(given)


def test_best__must_have_been_chosen(given):
    with pytest.raises(HeadError, match="there is no fitted head in"):
        SavedHead.open(given["artifacts"], "best")
    fit("knn", options={"k": 3, "temperature": 0.1}, **given)
    fit("logreg", options={"C": 0.1}, **given)
    with pytest.raises(HeadError, match="no comparison has chosen the best of knn, logreg"):
        SavedHead.open(given["artifacts"], "best")
    with pytest.raises(HeadError, match="there is no fitted head 'mlp' in .*; there are: knn, logreg"):
        SavedHead.open(given["artifacts"], "mlp")
    (given["artifacts"] / "heads" / "knn" / "decision.json").unlink()
    with pytest.raises(HeadError, match="is not a complete head"):
        SavedHead.open(given["artifacts"], "knn")
