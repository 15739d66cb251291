"""fit, compare, predict, evaluate and demo as their user meets them."""

import json
import signal
import subprocess
import sys
import time

import pytest

from tests.made_up import made_up, names, write_labels, write_store
from toolkit.files.csv import read_csv

CONTRACT = {
    "head", "micro_f1", "macro_f1", "samples_f1", "micro_precision", "micro_recall", "map", "rule",
    "fit_seconds", "score_seconds", "peak_mb",
}  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("home")
    X, Y = made_up()
    write_store(folder, "train", X, names())
    write_labels(folder / "labels.csv", names(), Y)
    X, Y = made_up(1, n=30)
    write_store(folder, "new", X, names(30))
    write_labels(folder / "new_labels.csv", names(30), Y)
    return folder


def test_the_job__compare_predict_evaluate(toolkit, home):
    given = ("--store", "train", "--labels", "labels.csv")
    done = toolkit("compare", *given, "--heads", "logreg,knn,ensemble", "-o", "knn.k=7", "--json", cwd=home)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert {"store", "n_train", "n_val", "n_test", "n_tags", "heads", "best"} <= set(document)
    assert all(set(row) == CONTRACT for row in document["heads"])
    assert all(0 <= row[key] <= 1 for row in document["heads"] for key in row if key.endswith("_f1"))
    assert document["best"] == max(document["heads"], key=lambda row: row["micro_f1"])["head"]

    done = toolkit("predict", "new", "--out", "submit.csv", cwd=home)
    assert done.returncode == 0, done.stderr
    assert f"submit.csv: 30 images by {document['best']}" in done.stdout
    rows = [cells for _, cells in read_csv(home / "submit.csv", error=ValueError)]
    assert rows[0] == ["img_path", "tags"] and [row[0] for row in rows[1:]] == [n[2:] for n in names(30)]

    done = toolkit("evaluate", "submit.csv", "--labels", "new_labels.csv", "--json", cwd=home)
    document = json.loads(done.stdout)
    assert document["images"] == 30 and document["micro_f1"] > 0.6
    table = toolkit("evaluate", "submit.csv", "--labels", "new_labels.csv", cwd=home).stdout
    assert f"{document['micro_f1']:.4f}" in table and "30 labelled images, 0 of them without" in table


def test_fit__table_notes_and_json(toolkit, home):
    given = ("fit", "--head", "logreg", "--store", "train", "--labels", "labels.csv", "-o", "C=0.1")
    done = toolkit(*given, cwd=home)
    assert done.returncode == 0 and "160 of 160 images matched" in done.stderr
    assert "logreg" in done.stdout and "saved in artifacts/heads/logreg" in done.stdout
    document = json.loads(toolkit(*given, "--json", "--no-refit", cwd=home).stdout)
    assert document["chosen"]["C"] == 0.1 and set(document) >= CONTRACT
    assert toolkit(*given, "--quiet", cwd=home).stdout == ""


def test_compare__prints_the_table_and_marks_the_best(toolkit, home):
    done = toolkit("compare", "--store", "train", "--labels", "labels.csv", "--heads", "logreg,knn", cwd=home)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("★") == 2 and "macro F1 and mAP over the 4 tags" in done.stdout
    assert "is what predict uses; table, split and report in artifacts/comparisons/" in done.stdout


def test_compare__options_of_a_head_given_by_its_class(toolkit, home):
    given = ("--store", "train", "--labels", "labels.csv", "--heads", "toolkit.heads.knn.head:Knn,logreg")
    done = toolkit(
        "compare", *given, "-o", "toolkit.heads.knn.head:Knn.k=7", "-o", "logreg.C=0.1", "--json", cwd=home
    )
    assert done.returncode == 0, done.stderr
    assert {row["head"] for row in json.loads(done.stdout)["heads"]} == {"knn", "logreg"}
    saved = json.loads((home / "artifacts" / "heads" / "knn" / "metrics.json").read_text(encoding="utf-8"))
    assert saved["chosen"]["k"] == 7


def test_info__lists_stores_and_heads(toolkit, home):
    toolkit("fit", "--head", "logreg", "--store", "train", "--labels", "labels.csv", "-o", "C=0.1", cwd=home)
    text = toolkit("info", cwd=home).stdout
    assert "store new: 30 rows of 10 float32, 0 failed, 0.0 MB; features imported from new.npy\n" in text
    assert "store train: 160 rows" in text
    assert (
        "head logreg" in text and "4 tags, global" in text and "fitted on all labelled rows of train" in text
    )
    document = json.loads(toolkit("info", "--json", cwd=home).stdout)
    assert [store["store"] for store in document["stores"]] == ["new", "train"]
    (home / "artifacts" / "heads" / "logreg" / "spec.json").write_text("{")
    assert "head logreg: " in toolkit("info", cwd=home).stdout
    nothing = toolkit("info", "--artifacts", "none", cwd=home)
    assert nothing.returncode == 0 and "there is no embedding store in none/embeddings" in nothing.stdout


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["fit", "--head", "lgreg"], "there is no head 'lgreg'; did you mean 'logreg'?"),
        (
            ["fit", "--store", "nope"],
            "there is no store 'nope' in artifacts/embeddings; there are new",
        ),
        (["fit", "--store", "train"], "no label file for the store 'train'"),
        (["fit", "--store", "train", "--labels", "labels.csv", "-o", "q=1"], "has no option 'q'"),
        (["fit", "--store", "train", "--labels", "gone.csv"], "there is no label file gone.csv"),
        (["compare", "--heads", "knn", "-o", "mlp.k=1"], "must begin with one of knn and a dot"),
        (["compare", "--heads", "knn", "--metric", "hamming"], "'hamming' is not one of"),
        (["predict", "gone", "--head", "nope"], "there is no fitted head 'nope'"),
        (["predict"], "toolkit: Missing argument 'SOURCE'. (see: python -m toolkit predict --help)"),
        (["evaluate", "gone.csv"], "Missing option '--labels'"),
        (["evaluate", "gone.csv", "--labels", "labels.csv"], "there is no file of predictions gone.csv"),
        (
            ["evaluate", "labels.csv", "--labels", "labels.csv", "--predictions-separator", "x"],
            "toolkit: --predictions-separator got 'x'; allowed are , | ; space tab",
        ),
    ],
)
def test_errors__exit_2_and_one_line(toolkit, home, arguments, text):
    done = toolkit(*arguments, cwd=home)
    assert done.returncode == 2 and text in done.stderr
    assert done.stderr.startswith("toolkit: ") and done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr and done.stdout == ""


def test_ctrl_c__exits_130_and_leaves_nothing(home):
    command = [
        sys.executable, "-m", "toolkit", "fit", "--head", "mlp", "--store", "train", "--labels", "labels.csv",
        "-o", "epochs=100000", "-o", "lr_drops=1", "--artifacts", "artifacts",
    ]  # fmt: skip
    # a runner started in the background (nohup, CI) hands its children an ignored SIGINT
    with subprocess.Popen(
        command,
        cwd=home,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509
    ) as process:
        try:
            deadline = time.monotonic() + 120
            while not list((home / "artifacts").glob(".work-*/mlp")):
                assert process.poll() is None and time.monotonic() < deadline
                time.sleep(0.1)
            time.sleep(1)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130 and "interrupted" in err and "Traceback" not in err, err
    assert not list((home / "artifacts").glob(".work-*"))
    assert not (home / "artifacts" / "heads" / "mlp").exists()


def test_demo__does_the_whole_job_without_a_download(toolkit, tmp_path):
    env = {key: "" for key in ("TOOLKIT_WEIGHTS",)} | {"TORCH_HOME": str(tmp_path / "empty")}
    done = toolkit("demo", "--n", "60", cwd=tmp_path, **env)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("no pretrained weights here") == 1
    for text in ("pictures drawn:", "embeddings:", "report:", "predictions:", "ensemble", "★"):
        assert text in done.stdout
    folder = tmp_path / "artifacts" / "demo"
    rows = [cells for _, cells in read_csv(folder / "submit.csv", error=ValueError)]
    assert len(rows) == 41 and len(list((folder / "heads").glob("*/head.json"))) == 4
    assert (folder / "embeddings" / "demo" / "failed.csv").read_text().count("cut-off") == 1
    # the user's own `best` is not touched
    assert [path.name for path in (tmp_path / "artifacts").iterdir()] == ["demo"]
