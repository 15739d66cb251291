"""Heads whose documents contradict one another, and `info`, which lists what is damaged and goes on."""

import json
import shutil

import numpy as np
import pytest

from tests.made_up import made_up, names, write_labels, write_store
from toolkit.errors import HeadError, ToolkitError
from toolkit.experiment.saved import SavedHead
from toolkit.verbs.export import export
from toolkit.verbs.fit import fit
from toolkit.verbs.info import info
from toolkit.verbs.predict import predict
from toolkit.verbs.tune import tune


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    home = tmp_path_factory.mktemp("fitted")
    X, Y = made_up()
    write_store(home, "train", X, names())
    write_labels(home / "labels.csv", names(), Y)
    for name, options in (("logreg", {"C": 0.1}), ("knn", {"k": 5})):
        fit(name, options=options, artifacts=home / "artifacts", labels=home / "labels.csv", refit=False)
    return home / "artifacts"


@pytest.fixture
def artifacts(fitted, tmp_path):
    return shutil.copytree(fitted, tmp_path / "artifacts")


def edit(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes), encoding="utf-8")


def rule(**changes):
    return lambda head: edit(
        head / "decision.json", rule={"rule": "per-tag", "min_tags": 0, "thresholds": [0.5] * 4} | changes
    )


def write(name, text):
    return lambda head: (head / name).write_text(text, encoding="utf-8")


DAMAGE = {
    "two tags": (write("tags.txt", "a\nb\n"), "tags.txt lists 2 tags, but the head scores 4"),
    "no tags": (write("tags.txt", ""), "tags.txt holds no tags"),
    "decision list": (write("decision.json", "[]"), "expected object, got array"),
    "metrics number": (write("metrics.json", "5"), "expected object, got int"),
    "metrics added": (write("metrics.json", '{"added": [1]}'), "expected object, got int at added"),
    "deep": (write("metrics.json", '{"a": ' * 10**6), "it is nested too deeply"),
    "NaN": (write("metrics.json", '{"a": NaN}'), "JSON is malformed"),
    "spec": (write("spec.json", '{"stores": [{"store": "s"}]}'), "missing required field spec"),
    "no stores": (write("spec.json", '{"stores": []}'), "spec.json is of 0 features, but the head takes 10"),
    "no rule": (write("decision.json", '{"rule": {}, "tuned": {}}'), "there is no decision rule None"),
    "rule list": (write("decision.json", '{"rule": {"rule": []}, "tuned": {}}'), r"no decision rule \[\]"),
    "thresholds": (rule(thresholds=[0.5] * 3), "the rule was tuned for 3 tags, these scores have 4"),
    "threshold text": (rule(thresholds=["a"]), r"expected float, got str at thresholds.0."),
    "threshold 2": (rule(thresholds=[2.0]), "expected float <= 1.0 at thresholds"),
    "min_tags": (rule(min_tags=-1), "expected int >= 0 at min_tags"),
    "k": (rule(rule="top-k", k=0), "expected int >= 1 at k"),
    "clip": (rule(rule="expected-f1", clip=0), "expected float > 0.0 at clip"),
    "tuned under another name": (
        lambda head: edit(head / "decision.json", tuned={"global": {"rule": "per-tag"}}),
        "has the rule 'per-tag' under the name 'global'",
    ),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_open__documents_that_contradict_one_another(case, artifacts):
    harm, text = DAMAGE[case]
    harm(artifacts / "heads" / "logreg")
    with pytest.raises(HeadError, match=rf"logreg is not a complete head \(.*{text}.*\); fit it again"):
        predict("train", head="logreg", artifacts=artifacts)
    document = info(artifacts=artifacts)
    damaged, sound = sorted(document["heads"], key=lambda head: "error" not in head)
    assert damaged["head"] == "logreg" and "is not a complete head" in damaged["error"]
    assert sound["head"] == "knn" and sound["n_tags"] == 4 and document["stores"][0]["rows"] == 160


@pytest.mark.parametrize("best", ["[]", "5", '{"head": "../../x"}', '{"head": ".x"}', '{"head": 1}', "["])
def test_open__best_that_names_no_head(best, artifacts):
    (artifacts / "heads" / "best.json").write_text(best)
    with pytest.raises(HeadError, match=r"best.json is damaged \(.*\); run toolkit compare again or name"):
        SavedHead.open(artifacts, "best")
    assert info(artifacts=artifacts)["best"] is None


def test_tune__scores_of_other_tags(artifacts):
    tags = artifacts / "heads" / "logreg" / "tags.txt"
    tags.write_text("\n".join(reversed(tags.read_text(encoding="utf-8").split())) + "\n", encoding="utf-8")
    with pytest.raises(HeadError, match="the scores of head 'logreg' are not of its tags; fit it again"):
        tune("logreg", artifacts=artifacts)


@pytest.mark.parametrize("format", ["npz", "joblib"])
def test_export__reads_by_the_same_checks(format, artifacts, tmp_path):
    path = artifacts / "heads" / "knn" / "Y_indices.npy"
    np.save(path, np.load(path) + 99)
    with pytest.raises(HeadError, match="tags of the rows go beyond the 4 known"):
        export("knn", artifacts=artifacts, out=tmp_path / "x", format=format)
    assert not list(tmp_path.glob("x*")) and not list(tmp_path.glob(".x*"))


def test_info__folders_that_lack_their_first_document_are_listed(artifacts):
    (artifacts / "heads" / "logreg" / "head.json").unlink()
    (artifacts / "embeddings" / "train" / "meta.json").unlink()
    document = info(artifacts=artifacts)
    assert [("error" in head, head["head"]) for head in document["heads"]] == [
        (False, "knn"),
        (True, "logreg"),
    ]
    assert "lacks meta.json" in document["stores"][0]["error"]


def test_info__any_damage_is_listed_and_the_rest_goes_on(artifacts):
    random, home = np.random.default_rng(0), artifacts
    files = [path for path in sorted(home.rglob("*")) if path.is_file() and path.suffix != ".npz"]
    for number in range(40):
        path = files[number % len(files)]
        whole = path.read_bytes()
        data = bytearray(whole or b"x")
        at = int(random.integers(0, len(data)))
        data[at : at + int(random.integers(1, 9))] = bytes(
            random.integers(0, 256, random.integers(0, 9), np.uint8)
        )
        path.write_bytes(data)
        document = info(artifacts=home)
        assert len(document["heads"]) == 2 and len(document["stores"]) == 1
        assert sum("error" in each for each in document["heads"] + document["stores"]) <= 1
        json.dumps(document)
        path.write_bytes(whole)


def test_scores__any_damage_is_a_plain_error_or_scores(artifacts):
    random = np.random.default_rng(1)
    folder = artifacts / "heads" / "logreg" / "scores"
    files = sorted(folder.iterdir())
    for number in range(40):
        path = files[number % len(files)]
        whole = path.read_bytes()
        data = bytearray(whole)
        for at in random.integers(0, len(data), 2):
            data[at] ^= int(random.integers(1, 256))
        path.write_bytes(data)
        try:
            tune("logreg", rule=None, artifacts=artifacts)
        except ToolkitError as error:
            assert "\n" not in str(error) and "allow_pickle" not in str(error)
        path.write_bytes(whole)
