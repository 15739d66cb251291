"""What killed commands left is named, and swept by the next command; what is in use stays."""

import shutil

import pytest

from tests.made_up import given, home
from toolkit.experiment.jobs import work_folder
from toolkit.experiment.leftovers import leftovers, sweep
from toolkit.experiment.saved import SavedHead, place_head
from toolkit.files.atomic import replacing
from toolkit.files.folders import beside
from toolkit.files.locks import StoreLock
from toolkit.store.reading import EmbeddingStore
from toolkit.verbs.fit import fit
from toolkit.verbs.info import info

__all__ = ["given", "home"]


def found(artifacts):
    return [(each.path.name, each.in_use) for each in leftovers(artifacts)]


def test_work_folder__of_a_killed_command_is_swept_and_of_a_running_one_stays(tmp_path):
    (tmp_path / ".work-dead").mkdir()
    (tmp_path / ".work-dead" / "big.npy").touch()
    assert found(tmp_path) == [(".work-dead", False)]
    with work_folder(tmp_path) as outer, work_folder(tmp_path) as inner:
        assert outer.is_dir() and inner.is_dir()
        assert found(tmp_path) == sorted([(outer.name, True), (inner.name, True)])
    assert not list(tmp_path.iterdir())


def test_store__between_two_renames_is_there_and_put_back(given):
    artifacts = given["artifacts"]
    target = artifacts / "embeddings" / "train"
    rows = EmbeddingStore(target).embeddings().tobytes()
    target.rename(beside(target, "previous"))
    assert EmbeddingStore(target).embeddings().tobytes() == rows
    document = info(artifacts=artifacts)
    assert [store["store"] for store in document["stores"]] == ["train"]
    assert document["leftovers"] == [
        {
            "path": str(beside(target, "previous")),
            "what": "train, while it was being replaced",
            "in_use": False,
        }
    ]
    with StoreLock(target):
        sweep(artifacts)
        assert not target.exists()  # somebody writes it: theirs to repair
    sweep(artifacts)
    assert target.is_dir() and leftovers(artifacts) == []


def test_head__between_two_renames_is_there_and_put_back(given):
    artifacts = given["artifacts"]
    fit("knn", options={"k": 5}, **given)
    target = artifacts / "heads" / "knn"
    saved = SavedHead.open(artifacts, "knn")
    shutil.copytree(target, artifacts / "copy")
    target.rename(beside(target, "previous"))
    assert SavedHead.open(artifacts, "best").identity == saved.identity
    assert [head["head"] for head in info(artifacts=artifacts)["heads"]] == ["knn"]
    place_head(artifacts / "copy", target, instead_of=saved.identity)
    assert leftovers(artifacts) == []


def test_unfinished_pass__is_named_and_stays(given):
    artifacts = given["artifacts"]
    partial = beside(artifacts / "embeddings" / "other", "partial")
    shutil.copytree(artifacts / "embeddings" / "train", partial)
    (partial / "journal.csv").write_text("x")
    sweep(artifacts)
    (left,) = leftovers(artifacts)
    assert left.what == "an unfinished pass; the same embed command resumes it" and not left.in_use


def test_file_half_written__of_a_running_command_stays(tmp_path):
    (tmp_path / "heads").mkdir()
    (tmp_path / "heads" / ".best.json.0.partial").touch()
    with replacing(tmp_path / "heads" / "other.json") as fresh:
        fresh.touch()
        assert found(tmp_path) == sorted([(fresh.name, True), (".best.json.0.partial", False)])
        sweep(tmp_path)
        assert found(tmp_path) == [(fresh.name, True)]


@pytest.mark.parametrize("complete", [True, False])
def test_prediction__killed_between_its_renames_is_named_and_completed_or_dropped(tmp_path, complete):
    folder = tmp_path / "predictions"
    folder.mkdir()
    for name in ("a.csv", "a.scores.npz"):
        (folder / name).write_text("old")
    ready = [".a.csv.ready", ".a.scores.npz.ready"] if complete else [".a.csv.ready"]
    for name in ready:
        (folder / name).write_text("new")
    assert len(leftovers(tmp_path)) == len(ready)
    sweep(tmp_path)
    assert leftovers(tmp_path) == []
    want = "new" if complete else "old"
    assert [path.read_text() for path in sorted(folder.iterdir())] == [want, want]
