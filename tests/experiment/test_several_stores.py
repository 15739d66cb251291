"""Several stores: rows matched by id, side by side with equal weight, or one head on each."""

import json

import numpy as np
import pytest

from tests.made_up import made_up, names, write_labels, write_store
from toolkit.errors import OptionError, SpecMismatchError, StoreError
from toolkit.experiment.dataset import load_dataset
from toolkit.experiment.options import DataOptions
from toolkit.experiment.saved import SavedHead
from toolkit.files.csv import read_csv, write_csv
from toolkit.heads.registry import get_head, load_head
from toolkit.verbs.compare import compare
from toolkit.verbs.fit import fit
from toolkit.verbs.predict import predict

N = 160


@pytest.fixture
def two(home):
    """`train` of 10 columns, and `other` of 8 in other units, its rows in another order, 10 missing."""
    random = np.random.default_rng(8)
    X = made_up()[0] @ np.abs(random.normal(size=(10, 8))).astype(np.float32) * 50
    order = random.permutation(N)[: N - 10]
    write_store(home, "other", X[order].astype(np.float16), [names()[row] for row in order])
    return {"artifacts": home / "artifacts", "labels": home / "labels.csv", "store": ("train", "other")}


def by_hand(home, two):
    """Return the matched rows side by side, each store scaled to a mean squared row length of 1."""
    index = {}
    for store in two["store"]:
        rows = [
            cells
            for _, cells in read_csv(home / "artifacts/embeddings" / store / "index.csv", error=StoreError)
        ]
        index[store] = {cells[1]: int(cells[0]) for cells in rows[1:]}
    ids = [image for image in names() if all(image in rows for rows in index.values())]
    parts = []
    for store in two["store"]:
        X = np.load(home / "artifacts/embeddings" / store / "embeddings.npy").astype(np.float32)
        scale = np.sqrt(len(X) / (X.astype(float) ** 2).sum())
        parts.append(X[[index[store][image] for image in ids]] * np.float32(scale))
    return ids, parts


def test_side_by_side__rows_are_matched_and_scaled(home, two):
    data = load_dataset(DataOptions(**two))
    ids, parts = by_hand(home, two)
    assert data.store_set.name == "train+other" and list(data.ids) == ids and len(ids) == 150
    np.testing.assert_allclose(data.store_set.features()[:], np.hstack(parts), rtol=1e-5)
    want = made_up()[1][[names().index(image) for image in ids]]
    order = [data.space.tags.index(tag) for tag in ("天空", "sea", "tree", "car")]
    np.testing.assert_array_equal(data.Y.toarray()[:, order], want)
    assert "2 stores, 150 images (train x " in data.notes[0] and "10 images only some" in data.notes[0]


def test_side_by_side__fit_and_predict_are_those_of_the_joined_rows(home, two):
    report = fit("logreg", options={"C": 1.0}, refit=False, **two)
    data = load_dataset(DataOptions(**two))
    X = np.hstack(by_hand(home, two)[1])
    want = get_head("logreg")(C=1.0).fit(X[data.split.train], data.Y[data.split.train])
    np.testing.assert_allclose(load_head(report.folder).scores(X), want.scores(X), atol=1e-4)
    found = predict("train+other", head="logreg", artifacts=two["artifacts"], paths="relative")
    rule = SavedHead.open(two["artifacts"], "logreg").rule()
    tags = data.space.decode(rule.apply(load_head(report.folder).scores(X)))
    rows = [cells for _, cells in read_csv(found.path, error=StoreError)][1:]
    by_id = {image: given.split(",") if given else [] for image, given in rows}
    assert [by_id[image] for image in data.ids] == tags
    assert found.path.name == "train+other.csv" and found.n_images == N


def test_compare__mixes_heads_on_all_columns(two):
    comparison = compare(["logreg", "knn", "ensemble"], **two)
    assert {report.head for report in comparison.reports} == {"logreg", "knn", "ensemble"}
    saved = load_head(two["artifacts"] / "heads" / "ensemble")
    assert saved.members == ("logreg", "knn") and saved.n_features_ == 18
    assert comparison.to_dict()["store"] == "train+other"
    assert predict("train+other", head="ensemble", artifacts=two["artifacts"]).n_images == N


def test_files__remembered_by_either_store_are_used(home, two):
    def remember(store, what, path):
        file = home / "artifacts/embeddings" / store / "meta.json"
        meta = json.loads(file.read_text(encoding="utf-8"))
        meta["files"][what] = str(path)
        file.write_text(json.dumps(meta), encoding="utf-8")

    parts = ["train"] * 90 + ["val"] * 30 + ["test"] * 40
    write_csv(home / "split.csv", ("img_path", "split"), zip(names(), parts, strict=True))
    remember("other", "split", home / "split.csv")
    remember("other", "labels", two.pop("labels"))
    data = load_dataset(DataOptions(**two))
    assert data.split.source == str(home / "split.csv")
    assert {data.ids[row] for row in data.split.test} <= set(names()[120:])
    remember("train", "split", home / "another.csv")
    with pytest.raises(OptionError, match="the stores remember different split files .*choose with --split"):
        load_dataset(DataOptions(**two))


def test_errors(home, two):
    with pytest.raises(StoreError, match="there is no store 'nope'"):
        load_dataset(DataOptions(**two | {"store": ("train", "nope")}))
    with pytest.raises(OptionError, match="a store is named twice among train, train"):
        load_dataset(DataOptions(**two | {"store": ("train", "train")}))
    with pytest.raises(OptionError, match="unknown option 'join'; the options of fit are head"):
        fit("knn", join="average", **two)
    X, _ = made_up(1, n=3)
    write_store(home, "strange", X, ["x.jpg", "y.jpg", "z.jpg"])
    with pytest.raises(StoreError, match="the stores train, strange have no image in common"):
        load_dataset(DataOptions(**two | {"store": ("train", "strange")}))
    fit("knn", options={"k": 3, "temperature": 0.1}, **two)
    with pytest.raises(OptionError, match=r"fitted on 2 stores \(train\+other\), 'train' names 1"):
        predict("train", artifacts=two["artifacts"])
    with pytest.raises(SpecMismatchError, match="head 'knn' and store 'other' differ in dim: 10 against 8"):
        predict("other+train", artifacts=two["artifacts"])


def test_one_store__named_in_a_list_is_as_before(home, given):
    write_labels(home / "labels.csv", names(), made_up()[1])
    alone = load_dataset(DataOptions(**given, store=("train",)))
    assert alone.store_set.scales == (1.0,) and alone.store_set.name == "train"
