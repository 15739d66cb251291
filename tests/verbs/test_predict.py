"""predict: one row an image in the input's order, whatever became of it."""

import shutil

import numpy as np
import pytest
from PIL import Image

from tests.made_up import TAGS, made_up, names, write_store
from toolkit.errors import LabelError, OptionError, SpecMismatchError
from toolkit.experiment.dataset import load_dataset
from toolkit.experiment.options import DataOptions
from toolkit.experiment.saved import SavedHead
from toolkit.files.csv import read_csv, write_csv
from toolkit.heads.registry import load_head
from toolkit.store.reading import EmbeddingStore
from toolkit.verbs.embed import embed
from toolkit.verbs.fit import fit
from toolkit.verbs.predict import predict


def cells(path, separator=","):
    rows = [row for _, row in read_csv(path, error=LabelError)]
    assert rows[0] == ["img_path", "tags"]
    return [(name, tags.split(separator) if tags else []) for name, tags in rows[1:]]


@pytest.fixture
def fitted(home, given):
    fit("logreg", options={"C": 0.1}, **given)
    return given["artifacts"]


def test_store__rows_scores_and_tags_are_the_heads(home, fitted):
    X, _ = made_up(1, n=40)
    write_store(home, "new", X, names(40))
    report = predict("new", artifacts=fitted)
    saved = SavedHead.open(fitted, "logreg")
    scores = load_head(saved.folder).scores(X)
    want = saved.space.decode(saved.rule().apply(scores))
    assert report.path == fitted / "predictions" / "new.csv"
    assert cells(report.path) == [
        (name.rpartition("/")[2], tags) for name, tags in zip(names(40), want, strict=True)
    ]
    assert (report.n_images, report.failures) == (40, ())
    assert report.n_without_tags == sum(not tags for tags in want)
    with np.load(report.scores, allow_pickle=False) as top:
        assert top["img_path"].tolist() == [name[2:] for name in names(40)]
        assert top["tags"].tolist() == list(saved.space.tags) and top["readable"].all()
        restored = np.zeros_like(scores)
        np.put_along_axis(restored, top["columns"].astype(int), top["scores"], axis=1)
        np.testing.assert_array_equal(restored, scores)
        assert (np.diff(top["scores"], axis=1) <= 0).all() and not top["rest"].any()


@pytest.mark.parametrize("rule", ["fixed:0.9", "per-tag", "top-k:2", "global"])
def test_rule__is_overridden_without_refitting(home, fitted, rule):
    X, _ = made_up(1, n=40)
    write_store(home, "new", X, names(40))
    saved = SavedHead.open(fitted, "logreg")
    report = predict("new", artifacts=fitted, rule=rule, min_tags=1, out=home / "submit.csv")
    want = saved.rule(rule, min_tags=1).apply(load_head(saved.folder).scores(X))
    assert [tags for _, tags in cells(report.path)] == saved.space.decode(want)
    assert report.n_without_tags == 0 and report.rule.startswith(rule.partition(":")[0])
    assert report.scores == home / "submit.scores.npz"


def test_paths_separator_and_bom(home, fitted):
    report = predict("train", artifacts=fitted, out=home / "s.csv", paths="relative", separator="|", bom=True)
    assert report.path.read_bytes().startswith(b"\xef\xbb\xbfimg_path,tags\n")
    assert [name for name, _ in cells(report.path)] == names()
    assert max(len(tags) for _, tags in cells(report.path, "|")) > 1


def test_bare_names__that_are_not_unique_are_counted(home, fitted):
    X, _ = made_up(1, n=3)
    write_store(home, "new", X, ["a/1.jpg", "b/1.jpg", "2.jpg"])
    assert predict("new", artifacts=fitted).n_same_name == 2
    assert predict("new", artifacts=fitted, paths="relative").n_same_name == 0


def test_errors__write_nothing(home, given, fitted):
    write_store(home, "wide", np.ones((3, 4), np.float32), names(3))
    cases = [
        (
            {"source": "nowhere"},
            OptionError,
            "there is no folder, csv or store 'nowhere'; stores are: train, wide",
        ),
        ({"source": "wide"}, SpecMismatchError, "head 'logreg' and store 'wide' differ in"),
        ({"source": home}, OptionError, "fitted on imported features, so the images of"),
        ({"paths": "full"}, OptionError, "--paths got 'full'; allowed are name, relative"),
        ({"rule": "best"}, OptionError, "--rule got 'best'"),
        ({"separator": "x"}, OptionError, "--separator got 'x'; allowed are"),
        ({"out": home / "labels.csv"}, OptionError, "was not written by predict; give --force"),
        ({"out": home}, OptionError, "is a folder; give a file name such as"),
    ]
    before = (home / "labels.csv").read_bytes()
    for change, error, message in cases:
        with pytest.raises(error, match=message):
            predict(**{"source": "train", "artifacts": fitted, **change})
    assert (home / "labels.csv").read_bytes() == before and not (fitted / "predictions").exists()
    assert predict("train", artifacts=fitted, out=home / "labels.csv", force=True).n_images == 160


def test_a_tag_with_the_separator__is_an_error_before_anything(home, given):
    _, Y = made_up()
    tags = np.array(["x, y", *TAGS[1:]])
    rows = ((name, "|".join(tags[row])) for name, row in zip(names(), Y, strict=True))
    write_csv(home / "labels.csv", ("img_path", "tags"), rows)
    fit("logreg", options={"C": 0.1}, separator="|", **given)
    with pytest.raises(LabelError, match=r"1 tag holds the separator ',', first 'x, y'; nothing was written"):
        predict("train", artifacts=given["artifacts"], out=home / "s.csv")
    assert not (home / "s.csv").exists()
    predict("train", artifacts=given["artifacts"], out=home / "s.csv", separator=";")
    assert any("x, y" in tags for _, tags in cells(home / "s.csv", ";"))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A head fitted on pictures, and a folder of new ones of which one is broken."""
    home = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    for folder, n in (("train", 16), ("new/b", 3)):
        (home / folder).mkdir(parents=True)
        for number in range(n):
            pixels = random.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            pixels[..., number % 3] = 255
            Image.fromarray(pixels).save(home / folder / f"{number}.png")
    (home / "new" / "a, 图.jpg").write_bytes(b"no picture")
    colours = [["red"], ["green"], ["蓝"]]
    lines = [f'train/{n}.png,"{",".join(colours[n % 3])}"' for n in range(16)]
    (home / "labels.csv").write_text("img_path,tags\n" + "\n".join(lines) + "\n", encoding="utf-8")
    embed(
        home / "train", artifacts=home / "artifacts", weights="random:0", labels=home / "labels.csv", views=1
    )
    fit("knn", options={"k": 3, "temperature": 0.1}, artifacts=home / "artifacts")
    return home


def test_folder__embeds_and_keeps_a_row_for_the_broken_one(pictures, tmp_path):
    report = predict(pictures / "new", artifacts=pictures / "artifacts", out=tmp_path / "submit.csv")
    rows = cells(report.path)
    assert [name for name, _ in rows] == ["a, 图.jpg", "0.png", "1.png", "2.png"]
    assert rows[0][1] == [] and [failure.img_path for failure in report.failures] == ["a, 图.jpg"]
    with np.load(report.scores) as top:
        assert top["readable"].tolist() == [False, True, True, True] and not top["scores"][0].any()
    # the new store is not taken for one to train on, and is used by its name too
    assert load_dataset(DataOptions(artifacts=pictures / "artifacts")).store_set.name == "train"
    again = predict("new", artifacts=pictures / "artifacts", out=tmp_path / "again.csv")
    assert cells(again.path) == rows


def test_csv__order_and_repeats_are_the_inputs(pictures, tmp_path):
    order = ["new/b/2.png", "new/a, 图.jpg", "new/b/0.png", "new/b/2.png", "new/gone.png"]
    (tmp_path / "list.csv").write_text(
        "image,id\n" + "".join(f'"{pictures / name}",7\n' for name in order), encoding="utf-8"
    )
    report = predict(tmp_path / "list.csv", artifacts=pictures / "artifacts", out=tmp_path / "s.csv")
    rows = cells(report.path)
    assert [name for name, _ in rows] == ["2.png", "a, 图.jpg", "0.png", "2.png", "gone.png"]
    assert rows[0] == rows[3] and rows[1][1] == rows[4][1] == []
    assert len(report.failures) == 2


def test_folder__of_another_spec_is_an_error(pictures, tmp_path):
    with pytest.raises(SpecMismatchError, match="differ in weights_sha256"):
        predict(pictures / "new", artifacts=pictures / "artifacts", weights="random:1", name="other")
    # the head's own weights are the default, whatever the environment says
    report = predict(pictures / "train", artifacts=pictures / "artifacts", out=tmp_path / "s.csv")
    assert report.n_images == 16


def test_views__of_the_store_are_trained_on(pictures):
    given = {"artifacts": pictures / "artifacts", "refit": False}
    X = EmbeddingStore(pictures / "artifacts" / "embeddings" / "train").embeddings()
    scores = []
    for views in (True, False):
        report = fit("mlp", options={"epochs": 2, "hidden": (4,), "views": views}, **given)
        scores.append(load_head(report.folder).scores(X))
    assert not np.array_equal(*scores)
    shutil.rmtree(report.folder)
