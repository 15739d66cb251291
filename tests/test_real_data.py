"""The whole job on real images and weights, and the heads on public benchmark arrays. Skips where absent."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neighbors import KNeighborsClassifier

from toolkit.evaluation.decisions.cuts import best_threshold
from toolkit.heads.base import hold_out
from toolkit.heads.registry import get_head

pytestmark = pytest.mark.slow


def tuned_f1(val_scores, Y_val, test_scores, Y_test):
    threshold, _ = best_threshold(np.ascontiguousarray(val_scores, np.float32), sp.csr_array(Y_val))
    return f1_score(Y_test, test_scores >= np.float32(threshold), average="micro")


@pytest.fixture(params=["scene", "yeast"])
def arrays(request, shared_data):
    with np.load(shared_data / "mulan" / f"{request.param}.npz", allow_pickle=False) as saved:
        X, Y, X_test, Y_test = (saved[key] for key in ("X_train", "Y_train", "X_test", "Y_test"))
    rest, held = hold_out(sp.csr_array(Y.astype(bool)), 0)
    return X[rest], Y[rest].astype(bool), X[held], Y[held].astype(bool), X_test, Y_test.astype(bool)


def test_logreg__is_scikit_learns_one_vs_rest(arrays):
    X, Y, X_val, Y_val, X_test, Y_test = arrays
    head = get_head("logreg")().fit(X, Y, val=(X_val, Y_val))
    exact = OneVsRestClassifier(LogisticRegression(C=head.C_, solver="newton-cholesky", tol=1e-8))
    exact.fit(head.transform_(X).astype(float), Y)
    want = exact.predict_proba(head.transform_(X_test).astype(float))
    np.testing.assert_allclose(head.scores(X_test), want, atol=1e-3)
    default = OneVsRestClassifier(LogisticRegression(max_iter=2000)).fit(head.transform_(X), Y)
    ours = tuned_f1(head.scores(X_val), Y_val, head.scores(X_test), Y_test)
    assert ours >= f1_score(Y_test, default.predict(head.transform_(X_test)), average="micro")


def test_knn__is_not_below_scikit_learns(arrays):
    X, Y, X_val, Y_val, X_test, Y_test = arrays
    head = get_head("knn")().fit(X, Y, val=(X_val, Y_val))
    ours = tuned_f1(head.scores(X_val), Y_val, head.scores(X_test), Y_test)

    def votes(fitted, rows):
        return np.stack([share[:, 1] for share in fitted.predict_proba(rows)], axis=1)

    theirs = []
    for k in (3, 5, 10, 20, 50):
        fitted = KNeighborsClassifier(k, metric="cosine").fit(X, Y.astype(int))
        theirs.append((tuned_f1(votes(fitted, X_val), Y_val, votes(fitted, X_val), Y_val), fitted))
    best = max(theirs, key=lambda pair: pair[0])[1]
    assert ours >= tuned_f1(votes(best, X_val), Y_val, votes(best, X_test), Y_test)


def test_coco_small__the_whole_job(shared_data, shared_weights, tmp_path):
    source = shared_data / "coco_small"

    def run(*arguments):
        command = [sys.executable, "-m", "toolkit", *map(str, arguments)]
        env = os.environ | {"TOOLKIT_WEIGHTS": str(shared_weights)}
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    embedded = json.loads(run("embed", source / "images", "--json"))
    assert (embedded["rows"], embedded["failed"]) == (412, 0)
    split = source / "split.csv"
    compared = json.loads(run("compare", "--split", split, "--json"))  # labels.csv lies beside the folder
    assert (compared["n_train"] + compared["n_val"], compared["n_test"]) == (208, 204)
    f1 = {row["head"]: row["micro_f1"] for row in compared["heads"]}
    assert set(f1) == {"mlp", "logreg", "knn", "ensemble"} and min(f1.values()) > 0.44
    predicted = json.loads(run("predict", source / "images", "--out", "submit.csv", "--json"))
    assert predicted["images"] == 412
    judged = json.loads(run("evaluate", "submit.csv", "--labels", source / "labels.csv", "--json"))
    assert judged["micro_f1"] > 0.6  # the head that predicts has seen these labels
