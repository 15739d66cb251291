"""What the README promises of numbers, shown on whole runs of the command line."""

import contextlib
import csv
import io
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from sklearn.metrics import f1_score

from tests.made_up import write_labels, write_store
from toolkit.evaluation.scorestore import redecide
from toolkit.evaluation.splits import PARTS
from toolkit.experiment.saved import SavedHead
from toolkit.experiment.saved_scores import SavedScores
from toolkit.files.csv import write_csv
from toolkit.verbs.compare import compare
from toolkit.verbs.predict import predict

N, D = 420, 24
IDS = [f"{number:03d}.jpg" for number in range(N)]
PART = np.array(PARTS)[np.arange(N) % 7 % 4 % 3]  # train 4 of 7, val 2, test 1: dealt in turn
HEADS = ("mlp", "logreg", "knn", "ensemble")
VOLATILE = {"id", "head_id", "seconds", "fit_seconds", "score_seconds", "peak_mb", "folder", "comparison"}
MEASURED = {
    *("micro_f1", "micro_precision", "micro_recall", "macro_f1", "macro_f1_all", "samples_f1", "map"),
    *("n_tags_with_support", "n_never_predicted"),
}


def truth():
    random = np.random.default_rng(3)
    X = np.abs(random.normal(size=(N, D))).astype(np.float32)
    Z = X @ random.normal(size=(D, 4))
    return X, np.quantile(Z, [0.55, 0.6, 0.7, 0.8], axis=0).diagonal() < Z


def write_inputs(home, Y):
    X, _ = truth()
    write_store(home, "train", X, IDS)
    write_labels(home / "labels.csv", IDS, Y)
    write_csv(home / "split.csv", ("img_path", "split"), zip(IDS, PART, strict=True))


def run(home, Y, heads=HEADS, *, predictions=True, **more):
    """Compare heads on labels Y with a split of the user's, then predict with one of them."""
    write_inputs(home, Y)
    options = {"mlp": {"epochs": 40, "lr": 0.01}} if "mlp" in heads else {}
    given = {"labels": "labels.csv", "split": "split.csv", "options": options, **more}
    with contextlib.chdir(home), pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")  # of the processes that fit
        patch.setenv("OPENBLAS_NUM_THREADS", "1")
        compare(heads, **given)
        if predictions:
            predict("train", head="knn", out="submit.csv")
    return home


def run_with_two_threads(home, Y):
    """Do the same on the command line, with two threads in every process."""
    write_inputs(home, Y)
    given = ("--labels", "labels.csv", "--split", "split.csv", "-o", "mlp.epochs=40", "-o", "mlp.lr=0.01")
    for words in (
        ("compare", "--heads", ",".join(HEADS), *given, "--no-refit"),
        ("predict", "train", "--head", "knn", "--out", "submit.csv"),
    ):
        environment = os.environ | {"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"}
        subprocess.run([sys.executable, "-m", "toolkit", *words], cwd=home, env=environment, check=True)
    return home


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Return a function that makes a run once."""
    _, Y = truth()
    test, shuffled = PART == "test", Y[np.random.default_rng(4).permutation(N)]
    altered = Y.copy()
    altered[test] = ~Y[test]
    makers = {
        "measured": lambda home: run(home, Y, refit=False),
        "two threads": lambda home: run_with_two_threads(home, Y),
        "test labels altered": lambda home: run(home, altered, refit=False),
        "shuffled": lambda home: run(home, shuffled, refit=False, predictions=False),
        "refitted": lambda home: run(home, Y, heads=("logreg", "knn"), predictions=False),
    }
    made = {}

    def get(name):
        if name not in made:
            made[name] = makers[name](tmp_path_factory.mktemp("run"))
        return made[name]

    return get


# ---------------------------------------------------------------------- same bytes


def content(home):
    """Return what a run wrote by path: bytes, or what is left of a document without times, memory and ids."""
    out = {}
    for path in sorted(
        [*home.glob("artifacts/heads/**/*"), *home.glob("artifacts/comparisons/*/*"), *home.glob("submit.*")]
    ):
        parts = path.relative_to(home).parts
        name = "/".join(part for part in parts if not part.startswith("20"))  # a comparison's time
        if path.is_file() and path.suffix != ".html":  # made of compare.json
            out[name] = stable(path)
    return out


def stable(path):
    if path.suffix == ".json":
        return without_volatile(json.loads(path.read_text(encoding="utf-8")))
    if path.name in ("table.csv", "history.csv"):
        rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))
        return without_volatile(rows)
    if path.name == "submit.scores.npz":
        with np.load(path) as arrays:
            return {name: arrays[name].tobytes() for name in arrays.files if name not in VOLATILE}
    return path.read_bytes()


def without_volatile(document):
    """Return a document without `VOLATILE` keys; the heads of a comparison are documents too."""
    if isinstance(document, list):
        return [without_volatile(each) for each in document]
    if not isinstance(document, dict):
        return document
    return {key: without_volatile(value) for key, value in document.items() if key not in VOLATILE}


def dense(arrays):
    """Return the scores (N, L) that are kept best first."""
    out = np.zeros((len(arrays["scores"]), len(arrays["tags"])), np.float32)
    np.put_along_axis(out, arrays["columns"].astype(np.intp), arrays["scores"], axis=1)
    return out


def numbers_of(path):
    """Return all numbers that a file holds."""
    if path.suffix == ".npz":
        return dense(np.load(path)).ravel()
    if path.suffix == ".npy":
        return np.load(path).ravel()
    return list(numbers_in(stable(path)))


def numbers_in(document):
    if isinstance(document, dict | list):
        for value in document.values() if isinstance(document, dict) else document:
            yield from numbers_in(value)
    elif re.fullmatch(r"-?[\d.]+(e-?\d+)?", str(document)):  # those of a csv are texts
        yield float(document)


def test_two_threads__round_differently_and_change_nothing_else(runs):
    one, two = content(runs("measured")), content(runs("two threads"))
    assert len(one) > 40 and one.keys() == two.keys()
    # sums of BLAS depend on the number of threads in their last digits
    for name in [
        name for name in one if one[name] != two[name] and not name.startswith("artifacts/comparisons")
    ]:
        values = [numbers_of(runs(run) / name) for run in ("measured", "two threads")]
        assert len(values[0])
        np.testing.assert_allclose(*values, atol=1e-4, err_msg=name)
    assert one["submit.csv"] == two["submit.csv"]
    tables = [run["artifacts/comparisons/table.csv"] for run in (one, two)]
    assert [row["head"] for row in tables[0]] == [row["head"] for row in tables[1]]


# ---------------------------------------------------------------------- labels of test rows


def test_labels_of_test_rows__change_nothing_but_what_is_measured_on_them(runs):
    """And two runs with one seed write the same bytes."""
    before, after = content(runs("measured")), content(runs("test labels altered"))
    changed = {name.removeprefix("artifacts/") for name in before if before[name] != after[name]}
    assert before.keys() == after.keys()
    # the winner is chosen by the numbers measured, so which head `best` names may change
    assert changed - {"heads/best.json"} == {
        "comparisons/compare.json",
        "comparisons/table.csv",
        *(f"heads/{head}/metrics.json" for head in HEADS),
        *(f"heads/{head}/scores/test-tags.npz" for head in HEADS),
    }
    for head in HEADS:
        one, other = (run[f"artifacts/heads/{head}/metrics.json"] for run in (before, after))
        assert {key for key in one if one[key] != other[key]} <= MEASURED
        assert one["micro_f1"] != other["micro_f1"]


def test_refit__numbers_are_from_before_it(runs):
    measured, refitted = content(runs("measured")), content(runs("refitted"))
    for head in ("logreg", "knn"):
        files = [name for name in refitted if name.startswith(f"artifacts/heads/{head}/")]
        changed = {name.rsplit("/", 1)[1] for name in files if refitted[name] != measured[name]}
        assert "metrics.json" in changed
        assert changed.isdisjoint({"decision.json", "history.csv", "split.csv", "test.npz", "tuning.npz"})
        assert any(name.endswith(".npy") for name in changed)  # the head itself knows more rows now
        one, other = (run[f"artifacts/heads/{head}/metrics.json"] for run in (measured, refitted))
        different = {key for key in one if one[key] != other[key]}
        assert "fitted_on" in different and different.isdisjoint({*MEASURED, "rule", "optimism", "chosen"})


# ---------------------------------------------------------------------- chance


def distance_from_chance(home, head):
    """Return how many standard deviations micro F1 lies above chance, and that F1.

    Chance is a predictor that knows nothing of an image: the very predictions of the head, given to the test
    images in a random order.
    """
    saved = SavedHead.open(home / "artifacts", head)
    kept = SavedScores.read(saved.folder, "test")
    predicted, Y = redecide(saved.rule(), kept.top).toarray(), kept.Y.toarray()
    found = f1_score(Y, predicted, average="micro")
    assert saved.metrics["micro_f1"] == pytest.approx(found)
    random = np.random.default_rng(0)
    orders = [random.permutation(len(Y)) for _ in range(400)]
    pairs, hits = Y.sum() + predicted.sum(), [(Y & predicted[order]).sum() for order in orders]
    chance = 2 * np.array(hits) / pairs
    return (found - chance.mean()) / max(chance.std(), 1e-9), found


@pytest.mark.parametrize("head", HEADS)
def test_shuffled_labels__give_chance(runs, head):
    deviations, f1 = distance_from_chance(runs("shuffled"), head)
    assert abs(deviations) < 4
    with_images, f1_with_images = distance_from_chance(runs("measured"), head)
    assert with_images > 8 and f1_with_images > f1 + 0.15
