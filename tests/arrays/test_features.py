"""Rows read a block at a time, against plain numpy indexing."""

import os

import numpy as np
import pytest

from toolkit.arrays import features
from toolkit.arrays.features import Features, FileRows, blocks, loaded, take
from toolkit.errors import HeadError

A = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float16)
B = np.random.default_rng(1).normal(size=(40, 3)).astype(np.float32)


@pytest.fixture
def files(tmp_path):
    for name, array in (("a", A), ("b", B)):
        np.save(tmp_path / f"{name}.npy", array)
    return tmp_path / "a.npy", tmp_path / "b.npy"


def test_file_rows__any_order_repeats_and_slices(files):
    rows = FileRows(files[0])
    picked = np.array([7, 3, 4, 5, 3, 49, 0])
    np.testing.assert_array_equal(rows[picked], A[picked])
    np.testing.assert_array_equal(rows[3:9], A[3:9])
    np.testing.assert_array_equal(rows[48:60], A[48:])
    assert rows[np.array([], int)].shape == (0, 6) and rows[5:5].shape == (0, 6)


def test_features__side_by_side_rows_matched_and_scaled(files):
    a, b = np.array([3, 1, 4, 1]), np.array([0, 39, 2, 7])
    X = Features(files, rows=[a, b], scales=[1, 0.5])
    want = np.hstack([A[a].astype(np.float32), B[b] * np.float32(0.5)])
    assert X.shape == want.shape and len(X) == 4 and X.nbytes == want.nbytes
    np.testing.assert_array_equal(X[:], want)
    np.testing.assert_array_equal(X[np.array([2, 0])], want[[2, 0]])
    np.testing.assert_array_equal(X.take(np.array([3, 1]))[:], want[[3, 1]])
    mask = np.array([True, False, True, True])
    np.testing.assert_array_equal(X[mask], want[mask])
    np.testing.assert_array_equal(Features(files[:1])[A[:, 0] > 0], A[A[:, 0] > 0].astype(np.float32))
    np.testing.assert_array_equal(np.asarray(X), want)
    np.testing.assert_array_equal(take(X, np.array([3, 1]))[:], take(want, np.array([3, 1])))
    np.testing.assert_array_equal(np.vstack([rows for _, rows in blocks(X, 3)]), want)


def test_loaded__only_what_is_small(files, monkeypatch):
    X = Features(files[:1])
    np.testing.assert_array_equal(loaded(X), A.astype(np.float32))
    monkeypatch.setattr(features, "IN_MEMORY", X.nbytes - 1)
    assert loaded(X) is X


def test_blocks__parts_cover_all_rows_once(monkeypatch):
    monkeypatch.setattr(features, "BLOCK_BYTES", 4 * 6 * 8)
    parts = list(blocks(A))
    assert [len(rows) for _, rows in parts] == [8] * 6 + [2]
    np.testing.assert_array_equal(np.vstack([rows for _, rows in parts]), A.astype(np.float32))
    assert [part.start for part, _ in parts] == list(range(0, 50, 8))


def test_errors__nan_other_files_and_lengths(files, tmp_path):
    bad = B.copy()
    bad[3, 1] = np.nan
    with pytest.raises(HeadError, match="NaN or infinity"):
        list(blocks(bad))
    (tmp_path / "text.npy").write_text("no")
    with pytest.raises(HeadError, match=r"text.npy is not a readable .npy of features"):
        FileRows(tmp_path / "text.npy")
    np.save(tmp_path / "whole.npy", np.zeros((3, 2), int))
    with pytest.raises(HeadError, match="holds int64 of shape"):
        FileRows(tmp_path / "whole.npy")
    with pytest.raises(HeadError, match=r"equally many rows, they have \[40, 50\]"):
        Features(files)
    cut = tmp_path / "cut.npy"
    cut.write_bytes(files[1].read_bytes()[:-5])
    with pytest.raises(HeadError, match="shape 40 x 3, which are 480 bytes, but it has 475"):
        FileRows(cut)
    cut.write_bytes(files[1].read_bytes())
    rows = FileRows(cut)
    os.truncate(cut, cut.stat().st_size - 5)
    with pytest.raises(HeadError, match="ends before its row 40"):
        rows[:]
