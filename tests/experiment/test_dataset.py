"""Finding store, labels and split."""

import logging

import numpy as np
import pytest

from tests.made_up import TAGS, made_up, names, write_labels, write_store
from toolkit.errors import LabelError, OptionError, SplitError, StoreError
from toolkit.experiment.dataset import load_dataset
from toolkit.experiment.options import DataOptions
from toolkit.files.csv import write_csv


def test_load__joins_rows_and_labels(home, given):
    X, Y = made_up()
    write_labels(home / "labels.csv", names()[::-1][:100], Y[::-1][:100])
    data = load_dataset(DataOptions(**given))
    assert data.ids == tuple(names()[60:]) and data.store_set.rows[0].tolist() == list(range(60, 160))
    assert data.space.tags == tuple(sorted(TAGS))
    order = [TAGS.index(tag) for tag in data.space.tags]
    np.testing.assert_array_equal(data.Y.toarray(), Y[60:, order])
    text = "\n".join(data.notes)
    assert "100 of 160 images matched" in text and "60 images without labels" in text
    assert "images without labels: a/图 000.jpg, a/图 001.jpg, a/图 002.jpg, …" in text
    assert "split: stratified 70/15/15, seed 0" in text
    np.testing.assert_array_equal(np.load(home / "train.npy")[data.store_set.rows[0]], X[60:])


def test_split__of_the_user(home, given, caplog):
    parts = ["train"] * 80 + ["valid"] * 30 + ["test"] * 30
    write_csv(home / "split.csv", ("img_path", "split"), zip(names(), parts, strict=False))
    with caplog.at_level(logging.WARNING):
        split = load_dataset(DataOptions(**given, split=home / "split.csv")).split
    assert (len(split.train), len(split.val), len(split.test)) == (80, 30, 30)
    assert "20 labelled images are not in the split" in caplog.text
    write_csv(home / "other.csv", ("img_path", "split"), [("nope.jpg", "train")])
    with pytest.raises(SplitError, match="no labelled image is in the split .*it names 'nope.jpg'"):
        load_dataset(DataOptions(**given, split=home / "other.csv"))


def test_near_duplicates__stay_on_one_side(tmp_path):
    X, Y = made_up()
    X, Y = np.repeat(X[:60], 2, axis=0), np.repeat(Y[:60], 2, axis=0)
    write_store(tmp_path, "train", X, names(120))
    write_labels(tmp_path / "labels.csv", names(120), Y)
    data = load_dataset(DataOptions(artifacts=tmp_path / "artifacts", labels=tmp_path / "labels.csv"))
    assert "120 images are near-duplicates of others" in data.notes[-1]
    for part in (data.split.train, data.split.val, data.split.test):
        assert set(part) == set(part ^ 1)


def test_store__is_the_only_one_or_named(home, given):
    with pytest.raises(StoreError, match="there is no store 'nope' in .*; there are train"):
        load_dataset(DataOptions(**given, store="nope"))
    X, _ = made_up(1)
    write_store(home, "elsewhere", X, [f"{n}.png" for n in range(160)])
    assert load_dataset(DataOptions(**given)).store_set.name == "train"  # the other matches no label
    write_store(home, "again", X, names())
    with pytest.raises(
        OptionError, match="there are 3 stores; choose one with --store: again, elsewhere, train"
    ):
        load_dataset(DataOptions(**given))
    assert load_dataset(DataOptions(**given, store="again")).store_set.name == "again"


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"artifacts": "empty"}, StoreError, "there is no embedding store in"),
        ({"labels": None}, LabelError, "no label file for the store 'train': .*give --labels FILE"),
        ({"labels": "nope.csv"}, LabelError, "there is no label file"),
        ({"tags": "few.txt"}, LabelError, "天空|sea|tree"),
        ({"val_fraction": 0.0}, OptionError, "--val-fraction 0"),
    ],
)
def test_errors(home, given, change, error, message):
    (home / "few.txt").write_text("car\n")
    paths = {key: home / value if isinstance(value, str) else value for key, value in change.items()}
    with pytest.raises(error, match=message):
        load_dataset(DataOptions(**given | paths))


def test_errors__no_tag_at_all(home, given):
    write_csv(home / "labels.csv", ("img_path", "tags"), ((name, "") for name in names()))
    (home / "tags.txt").write_text("car\n")
    with pytest.raises(LabelError, match="no tag at all; there is nothing to learn"):
        load_dataset(DataOptions(**given, tags=home / "tags.txt"))
