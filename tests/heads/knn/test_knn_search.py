"""The search: rows on disk and the approximate index against all rows in memory."""

import logging

import faiss
import numpy as np
import pytest

from toolkit.arrays import features
from toolkit.arrays.features import Features
from toolkit.errors import HeadError
from toolkit.heads.knn import head as knn
from toolkit.heads.knn import search as knn_search
from toolkit.heads.knn.head import Knn
from toolkit.heads.knn.search import ListIndex, nearest


def rows(N=400, D=16, seed=0):
    random = np.random.default_rng(seed)
    X = np.abs(random.normal(size=(N, D))).astype(np.float32)
    return X, random.random((N, 4)) < X[:, :4] / 3


@pytest.fixture
def on_disk(tmp_path, monkeypatch):
    """Rows as float16 on disk and in memory; features are too large to load, and read in small blocks."""
    X, Y = rows()
    half = X.astype(np.float16)
    np.save(tmp_path / "X.npy", half)
    monkeypatch.setattr(features, "IN_MEMORY", 0)
    monkeypatch.setattr(features, "BLOCK_BYTES", 64 * 16 * 4)
    return Features([tmp_path / "X.npy"]), half.astype(np.float32), Y


def test_rows_on_disk__score_as_rows_in_memory(on_disk):
    X, loaded, Y = on_disk
    queries, _ = rows(50, seed=1)
    head, plain = Knn().fit(X, Y), Knn().fit(loaded, Y)
    assert isinstance(head._rows, Features)
    assert (head.k_, head.temperature_) == (plain.k_, plain.temperature_)
    assert np.abs(head.scores(queries) - plain.scores(queries)).mean() < 1e-3
    # no k-th place at which rows could change places
    every = {"k": 400, "temperature": 0.2, "balance": 0.0, "calibration": (1.0, 0.0)}
    whole, plain = Knn(**every).fit(X, Y), Knn(**every).fit(loaded, Y)
    np.testing.assert_allclose(whole.scores(queries), plain.scores(queries), atol=1e-3)
    ids, similarities = head.neighbours(queries, 3)
    want, exact = plain.neighbours(queries, 3)
    assert (ids == want).mean() > 0.98
    np.testing.assert_allclose(similarities, exact, atol=1e-3)


def test_rows_on_disk__save_load_and_save_again_into_the_same_folder(on_disk, tmp_path):
    X, _, Y = on_disk
    queries, _ = rows(50, seed=1)
    (tmp_path / "head").mkdir()
    head = Knn(k=5, temperature=0.1).fit(X, Y, val=(X, Y))
    head.save(tmp_path / "head")
    assert np.load(tmp_path / "head" / "rows.npy").dtype == np.float16
    for _ in range(2):
        again = Knn.load(tmp_path / "head")
        assert isinstance(again._rows, Features)
        np.testing.assert_array_equal(again.scores(queries), head.scores(queries))
        again.save(tmp_path / "head")
    assert not list((tmp_path / "head").glob("*.partial"))


def test_rows_on_disk__take_more_rows_and_tags(on_disk, tmp_path):
    X, loaded, Y = on_disk
    more, tags = rows(30, seed=3)
    both = np.vstack([loaded, more])
    head = Knn(transform="l2", k=5, temperature=0.1).fit(X, Y)
    head.add(more, tags)
    assert head.neighbours(more, 1)[0].ravel().tolist() == list(range(400, 430))
    np.testing.assert_allclose(head._rows[:], both / np.linalg.norm(both, axis=1)[:, None], atol=1e-3)
    np.save(tmp_path / "both.npy", both)
    head.add_tags(Features([tmp_path / "both.npy"]), np.vstack([~Y, ~tags]))
    assert head.scores(more).shape == (30, 8)
    (tmp_path / "head").mkdir()
    head.save(tmp_path / "head")
    again = Knn.load(tmp_path / "head")
    np.testing.assert_allclose(again.scores(more), head.scores(more), atol=1e-3)


def clustered(N, seed=0):
    random = np.random.default_rng(seed)
    X = np.random.default_rng(9).normal(size=(60, 24))[random.integers(0, 60, N)]
    X = X + random.normal(scale=0.5, size=X.shape)
    return (X / np.linalg.norm(X, axis=1)[:, None]).astype(np.float32)


def overlap(ids, want):
    return np.mean([len(set(a) & set(b)) / len(b) for a, b in zip(ids, want, strict=True)])


def test_index__has_the_recall_it_reports_and_compares_exactly(monkeypatch):
    monkeypatch.setattr(knn_search, "DIMS", 12)
    unit, queries = clustered(3000), clustered(100, seed=1)
    index = ListIndex.build(unit, 20, 0, lambda *state: None)
    assert index.recall >= knn_search.RECALL and index.nprobe < index._lists.nlist
    sims, ids = nearest(queries, unit, 20, index)
    exact = np.argsort(-(queries @ unit.T), axis=1, kind="stable")[:, :20]
    assert abs(overlap(ids, exact) - index.recall) < 0.05
    np.testing.assert_allclose(sims, np.take_along_axis(queries @ unit.T, ids, axis=1), atol=2e-6)


def test_index__results_do_not_depend_on_other_queries_threads_or_chance():
    unit, queries = clustered(2000), clustered(40, seed=1)
    index = ListIndex.build(unit, 10, 0, lambda *state: None)
    sims, ids = nearest(queries, unit, 10, index)
    threads = faiss.omp_get_max_threads()
    for count in (1, 4):
        faiss.omp_set_num_threads(count)
        again = ListIndex.build(unit, 10, 0, lambda *state: None)
        np.testing.assert_array_equal(nearest(queries, unit, 10, again)[1], ids)
    faiss.omp_set_num_threads(threads)
    for row in range(0, 40, 7):
        one_sims, one_ids = nearest(queries[row : row + 1], unit, 10, index)
        np.testing.assert_array_equal(one_ids[0], ids[row])
        np.testing.assert_array_equal(one_sims[0], sims[row])


def test_index__where_lists_are_too_short_for_k_more_are_scanned():
    unit = clustered(500)
    index = ListIndex.build(unit, 5, 0, lambda *state: None)
    index.nprobe = 1
    assert (index._candidates(unit[:20], 400, 1) < 0).any(axis=1).all()
    _, ids = nearest(unit[:20], unit, 400, index)
    np.testing.assert_array_equal(ids, nearest(unit[:20], unit, 400)[1])


def test_index__warns_with_its_recall(monkeypatch, caplog):
    monkeypatch.setattr(knn_search, "DIMS", 1)
    with caplog.at_level(logging.WARNING):
        index = ListIndex.build(clustered(2000), 20, 0, lambda *state: None)
    assert index.recall < knn_search.RECALL and index.nprobe == index._lists.nlist
    assert f"2,000 rows are searched through an index, which finds {index.recall:.3f} of the" in caplog.text


def test_head__with_an_index_saves_it_and_takes_more_rows(tmp_path):
    X, more = clustered(1500), clustered(60, seed=2)
    Y = X[:, :3] > 0
    notes = []
    head = Knn(index="approximate", k=10).fit(X, Y, progress=lambda *state: notes.append(state))
    *_, (_, scanned, total, note) = (state for state in notes if state[0] == "choose lists to scan")
    assert scanned == total == head._index.nprobe and note == f"recall {head.recall_:.3f}"
    exact = Knn(**head.chosen() | {"index": "exact"}).fit(X, Y)
    assert exact.diagnostics() == {"recall": 1} and head.diagnostics() == {"recall": head.recall_}
    assert knn_search.RECALL <= head.recall_ <= 1
    assert np.abs(head.scores(more) - exact.scores(more)).mean() < 0.02
    head.add(more, more[:, :3] > 0)
    assert head.neighbours(more, 1)[0].ravel().tolist() == list(range(1500, 1560))
    head.save(tmp_path)
    again = Knn.load(tmp_path)
    assert again.recall_ == head.recall_
    np.testing.assert_array_equal(again.scores(more), head.scores(more))


def test_index_auto__by_size(monkeypatch):
    X, Y = rows()
    assert Knn(k=3).fit(X, Y)._index is None
    monkeypatch.setattr(knn, "EXACT_VALUES", X.size - 1)
    head = Knn(k=3).fit(X, Y)
    assert head._index is not None
    assert Knn(k=3, index="exact").fit(X, Y)._index is None


def test_load__without_its_rows(tmp_path):
    X, Y = rows(20)
    Knn(k=3).fit(X, Y).save(tmp_path)
    (tmp_path / "rows.npy").unlink()
    with pytest.raises(HeadError, match=r"rows.npy is not a readable .npy of features"):
        Knn.load(tmp_path)
