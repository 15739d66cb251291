"""What is done with a head that is there: export, fit --add-tags, predict from scores."""

import json
import shutil

import numpy as np
import pytest

from tests.made_up import made_up, names, write_labels, write_store
from toolkit.files.csv import write_csv


@pytest.fixture(scope="module")
def compared(toolkit, tmp_path_factory):
    """A folder with two heads, the best of them, and a prediction."""
    folder = tmp_path_factory.mktemp("compared")
    X, Y = made_up()
    write_store(folder, "train", X, names())
    write_labels(folder / "labels.csv", names(), Y)
    more = ((name, ("sea,boat", "sea")[number % 3 > 0]) for number, name in enumerate(names()))
    write_csv(folder / "more.csv", ("img_path", "tags"), more)
    given = ("--heads", "logreg,knn", "-o", "logreg.C=0.1", "-o", "knn.k=7", "--labels", "labels.csv")
    done = toolkit("compare", *given, "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert toolkit("predict", "train", "--out", "submit.csv", cwd=folder).returncode == 0
    return folder, json.loads(done.stdout)["best"]


@pytest.fixture
def home(compared, tmp_path):
    """A copy of that folder, to change."""
    shutil.copytree(compared[0], tmp_path, dirs_exist_ok=True)
    return tmp_path


def heads(home):
    """Return what each head's metrics.json says."""
    return {
        path.parent.name: json.loads(path.read_text(encoding="utf-8"))
        for path in (home / "artifacts/heads").glob("*/metrics.json")
    }


def test_export__json_is_one_document_about_the_file(toolkit, home, compared):
    _, best = compared
    done = toolkit("export", "--json", cwd=home)
    assert done.returncode == 0, done.stderr
    size = (home / f"{best}.npz").stat().st_size
    assert json.loads(done.stdout) == {"path": f"{best}.npz", "format": "npz", "bytes": size}
    with np.load(home / f"{best}.npz") as arrays:
        assert len(arrays["tags"]) == 4
    done = toolkit("export", "knn", "--format", "joblib", "--out", "k.job", "--json", cwd=home)
    size = (home / "k.job").stat().st_size
    assert json.loads(done.stdout) == {"path": "k.job", "format": "joblib", "bytes": size}
    done = toolkit("export", "--json", cwd=home)
    assert done.returncode == 2 and f"--out {best}.npz exists" in done.stderr and done.stdout == ""


def test_add_tags__to_the_best_head_unless_one_is_named(toolkit, home, compared):
    _, best = compared
    (other,) = {"logreg", "knn"} - {best}
    before = heads(home)
    done = toolkit("fit", "--add-tags", "--labels", "more.csv", "--json", cwd=home)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert (document["head"], document["added"], document["n_tags"]) == (best, ["boat"], 5)
    after = heads(home)
    assert after[best]["added"][0]["tags"] == ["boat"] and after[other] == before[other]
    done = toolkit("fit", "--add-tags", "--head", other, "--labels", "more.csv", cwd=home)
    assert done.returncode == 0 and f"1 tag added to {other}, which knows 5 now" in done.stdout
    # mlp is what fit trains by default: named, it is meant
    done = toolkit("fit", "--add-tags", "--head", "mlp", "--labels", "more.csv", cwd=home)
    assert done.returncode == 2 and "there is no fitted head 'mlp'" in done.stderr


@pytest.mark.parametrize(
    "given", [("--rule", "global"), ("--folds", "0"), ("--refit",), ("-o", "C=1")], ids=lambda given: given[0]
)
def test_add_tags__options_of_fitting_are_refused_even_at_their_default(toolkit, compared, given):
    folder, _ = compared
    done = toolkit("fit", "--add-tags", "--labels", "more.csv", *given, cwd=folder)
    assert done.returncode == 2 and f"so {given[0]} cannot be given with it" in done.stderr
    assert not any("added" in metrics for metrics in heads(folder).values())


@pytest.mark.parametrize(
    "given", [("--paths", "name"), ("--num-workers", "0"), ("--device", "auto")], ids=lambda given: given[0]
)
def test_predict__from_scores_refuses_what_was_settled_even_at_its_default(toolkit, compared, given):
    folder, _ = compared
    again = ("predict", "submit.scores.npz", "--rule", "top-k:1", "--out", "again.csv")
    done = toolkit(*again, *given, cwd=folder)
    assert done.returncode == 2 and f"{given[0]} cannot be used with submit.scores.npz" in done.stderr
    assert not (folder / "again.csv").exists() and done.stdout == ""


def test_predict__from_scores_takes_what_is_said_of_the_csv(toolkit, home):
    given = ("--rule", "top-k:2", "--separator", "|", "--bom", "--force")
    done = toolkit("predict", "submit.scores.npz", *given, cwd=home)
    assert done.returncode == 0 and "submit.csv: 160 images" in done.stdout
    lines = (home / "submit.csv").read_text(encoding="utf-8-sig").splitlines()
    assert len(lines) == 161 and all(line.count("|") == 1 for line in lines[1:])
