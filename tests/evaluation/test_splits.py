"""Splits: spread of tags, groups kept together, the user's file."""

import numpy as np
import pytest
import scipy.sparse as sp

from toolkit.errors import OptionError, SplitError
from toolkit.evaluation.splits import (
    complete_split,
    default_split,
    read_split,
    stratified_split,
    write_split,
)


def zipf_labels(N=600, L=80, seed=0):
    random = np.random.default_rng(seed)
    share = np.clip(0.5 / np.arange(1, L + 1), 0.004, 1)
    return sp.csr_array(random.random((N, L)) < share)


def test_stratified__parts_are_a_partition_of_the_asked_sizes():
    Y = zipf_labels()
    parts = stratified_split(Y, (0.7, 0.15, 0.15), seed=3)
    assert sorted(np.concatenate(parts)) == list(range(600))
    assert all(abs(len(part) - want) <= 12 for part, want in zip(parts, (420, 90, 90), strict=True))
    again = stratified_split(Y, (0.7, 0.15, 0.15), seed=3)
    other = stratified_split(Y, (0.7, 0.15, 0.15), seed=4)
    assert all(np.array_equal(a, b) for a, b in zip(parts, again, strict=True))
    assert not np.array_equal(parts[1], other[1])


def test_stratified__spreads_rare_tags_better_than_chance():
    Y = zipf_labels()
    support = np.asarray(Y.sum(axis=0))
    random = np.random.default_rng(0).permutation(600)
    chance = [random[:420], random[420:510], random[510:]]

    def missed(parts):
        return sum(int(((Y[part].sum(axis=0) == 0) & (support >= 3)).sum()) for part in parts)

    parts = stratified_split(Y)
    for part, share in zip(parts, (0.7, 0.15, 0.15), strict=True):
        got = np.asarray(Y[part].sum(axis=0))
        assert np.abs(got - share * support).max() <= 6
    assert missed(parts) < missed(chance)


def test_stratified__single_positive_goes_to_the_largest_part():
    Y = sp.csr_array(np.eye(40, dtype=bool))
    assert [len(part) for part in stratified_split(Y)] == [38, 1, 1]


def test_stratified__keeps_groups_together():
    Y = zipf_labels(300, 20)
    groups = np.random.default_rng(1).integers(0, 90, 300)
    parts = stratified_split(Y, (0.6, 0.4), groups=groups)
    assert not set(groups[parts[0]]) & set(groups[parts[1]])
    assert abs(len(parts[0]) - 180) <= 15


def test_stratified__rows_without_tags_and_few_rows():
    empty = sp.csr_array((20, 4), dtype=bool)
    assert [len(part) for part in stratified_split(empty)] == [14, 3, 3]
    assert [len(part) for part in stratified_split(empty[:3])] == [1, 1, 1]
    assert sum(map(len, stratified_split(empty[:1], (0.85, 0.15)))) == 1
    assert [len(part) for part in stratified_split(empty[:0])] == [0, 0, 0]


def test_default_split__too_few_rows():
    with pytest.raises(SplitError, match="2 labelled images are too few"):
        default_split(zipf_labels(2, 3))
    split = default_split(zipf_labels(40, 3))
    assert split.source == "stratified 70/15/15, seed 0"
    assert len(split.parts()) == 40
    assert len(default_split(zipf_labels(40, 3), 0.2, 0).test) == 0
    with pytest.raises(OptionError, match="--val-fraction 0.5 and --test-fraction 0.5 do not leave rows"):
        default_split(zipf_labels(40, 3), 0.5, 0.5)


def test_complete_split__carves_val_off_train_alone():
    Y = zipf_labels(100, 5)
    parts = ["train"] * 60 + ["test"] * 30 + [""] * 10
    split = complete_split(parts, Y, source="mine.csv", seed=1)
    assert set(split.train) | set(split.val) == set(range(60)) and abs(len(split.val) - 9) <= 2
    assert list(split.test) == list(range(60, 90))
    assert split.source == "mine.csv, 15 % of train held out as val, seed 1"
    split = complete_split(["train", "val", "train", ""], Y[:4], source="mine.csv")
    assert (list(split.train), list(split.val), list(split.test)) == ([0, 2], [1], [])
    with pytest.raises(SplitError, match=r"mine\.csv names no labelled image as train"):
        complete_split(["test"] * 4, Y[:4], source="mine.csv")
    with pytest.raises(SplitError, match="1 train row, too few"):
        complete_split(["train", "test"], Y[:2], source="mine.csv")


def test_read_write__round_trip_and_aliases(tmp_path):
    split = default_split(zipf_labels(20, 3))
    ids = [f"图 {row}, x.jpg" for row in range(20)]
    write_split(tmp_path / "split.csv", ids, split)
    got_ids, parts = read_split(tmp_path / "split.csv")
    assert got_ids == ids and parts == [split.parts()[row] for row in range(20)]
    (tmp_path / "b.csv").write_text("file_name,subset\na,Training\nb,valid\nc,TEST\na,train\n")
    assert read_split(tmp_path / "b.csv") == (["a", "b", "c"], ["train", "val", "test"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("img_path,split\na,holdout\n", "line 2: split is 'holdout'; allowed are train, val and test"),
        ("img_path,split\na,train\nb,val\na,test\n", "'a' is train in line 2 and test in line 4"),
        ("img_path,role\na,train\n", "has no split column"),
        ("picture,split\na,train\n", "image"),
        ("img_path,split\n", "lists no images"),
    ],
)
def test_read__errors(tmp_path, text, message):
    (tmp_path / "s.csv").write_text(text)
    with pytest.raises(SplitError, match=message):
        read_split(tmp_path / "s.csv")
