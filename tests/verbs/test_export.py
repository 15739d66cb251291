"""export: one file that numpy, or scikit-learn's users, can work with."""

import json
import sys

import joblib
import numpy as np
import pytest
from scipy.special import expit

from tests.made_up import made_up
from toolkit.errors import HeadError, OptionError
from toolkit.experiment.saved import SavedHead
from toolkit.heads.logreg.head import Logreg
from toolkit.heads.registry import get_head, load_head
from toolkit.verbs.compare import compare
from toolkit.verbs.export import export
from toolkit.verbs.fit import fit
from toolkit.verbs.predict import predict


def test_npz__numpy_alone_computes_the_scores(given, tmp_path):
    fit("logreg", options={"C": 0.5}, **given)
    path = export("logreg", out=tmp_path / "x" / "model.npz", artifacts=given["artifacts"])
    X = made_up()[0]
    with np.load(path, allow_pickle=False) as file:
        rows = (X - file["mean.npy"]) / file["scale.npy"]
        scores = expit(rows @ file["coef.npy"].T + file["intercept.npy"])
        document = json.loads(str(file["document"]))
        assert file["tags"].tolist() == ["car", "sea", "tree", "天空"]
    np.testing.assert_allclose(scores, load_head(given["artifacts"] / "heads/logreg").scores(X), rtol=1e-5)
    saved = SavedHead.open(given["artifacts"], "logreg")
    assert document["rule"] == saved.decision["rule"] and document["stores"][0]["store"] == "train"
    assert document["heads"]["head.json"]["options"]["C"] == 0.5
    assert [file.name for file in path.parent.iterdir()] == ["model.npz"]


def test_joblib__is_an_estimator_with_its_rule(given, tmp_path):
    compare(["logreg", "knn", "ensemble"], **given)
    path = export("ensemble", format="joblib", out=tmp_path / "model.joblib", artifacts=given["artifacts"])
    content, X = joblib.load(path), made_up()[0]
    want = load_head(given["artifacts"] / "heads/ensemble").scores(X)
    np.testing.assert_array_equal(content["head"].predict_proba(X), want)
    assert content["tags"] == ["car", "sea", "tree", "天空"]
    np.testing.assert_array_equal(
        content["rule"].apply(want).toarray(),
        SavedHead.open(given["artifacts"], "ensemble").rule().apply(want).toarray(),
    )


class Mine(Logreg):
    """A head of no registry."""

    name = "mine"


def test_a_head_given_as_its_class__is_imported_only_if_the_user_names_it(given, tmp_path):
    mine = "tests.verbs.test_export:Mine"
    fit(mine, options={"C": 0.5}, **given)
    where = {"artifacts": given["artifacts"], "out": tmp_path / "model.joblib"}
    path = export(mine, format="joblib", **where)
    assert type(joblib.load(path)["head"]) is get_head(mine)
    assert predict("train", head=mine, artifacts=given["artifacts"]).n_images == 160
    text = "head 'mine' is neither the toolkit's nor of an installed package; name it by its class, package"
    for name in ("best", "mine"):
        with pytest.raises(HeadError, match=text):
            predict("train", head=name, artifacts=given["artifacts"])
        with pytest.raises(HeadError, match=text):
            export(name, format="joblib", force=True, **where)
    document = given["artifacts"] / "heads/mine/head.json"
    document.write_text(document.read_text().replace('"mine"', '"antigravity:X"'))
    with pytest.raises(HeadError, match="head 'antigravity:X' is neither the toolkit's nor"):
        load_head(document.parent)
    assert "antigravity" not in sys.modules


def test_joblib__of_rows_past_memory_is_refused(given, tmp_path, monkeypatch):
    fit("knn", options={"k": 3, "temperature": 0.1}, **given)
    monkeypatch.setattr("toolkit.arrays.features.IN_MEMORY", 0)
    with pytest.raises(
        HeadError, match=r"rows\.npy are too many for memory .* export the head as npz, not as"
    ):
        export("knn", format="joblib", out=tmp_path / "x.joblib", artifacts=given["artifacts"])
    assert not list(tmp_path.glob("*x.joblib*"))
    with np.load(export("knn", out=tmp_path / "x.npz", artifacts=given["artifacts"])) as file:
        assert file["rows.npy"].shape == (160, 10)


def test_errors__leave_what_is_there(given, tmp_path):
    with pytest.raises(HeadError, match="there is no fitted head"):
        export(artifacts=given["artifacts"])
    fit("knn", options={"k": 3, "temperature": 0.1}, **given)
    mine = tmp_path / "mine.npz"
    mine.write_text("mine")
    with pytest.raises(OptionError, match=r"mine.npz exists; give another name, or --force"):
        export(out=mine, artifacts=given["artifacts"])
    assert mine.read_text() == "mine"
    with pytest.raises(OptionError, match="--format got 'onnx'; allowed are npz, joblib"):
        export(format="onnx", out=mine, artifacts=given["artifacts"])
    with pytest.raises(OptionError, match=r"is a folder; give a file name such as .*knn.npz"):
        export(out=tmp_path, artifacts=given["artifacts"])
    assert export(out=mine, force=True, artifacts=given["artifacts"]) == mine
    with np.load(mine, allow_pickle=False) as file:
        assert "rows.npy" in file
