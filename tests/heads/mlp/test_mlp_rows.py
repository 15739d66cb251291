"""The network's rows: resident or read as they come, the training is the same; and tags added later."""

import numpy as np
import pytest
import scipy.sparse as sp

from tests.heads.mlp.test_mlp import rows
from toolkit.arrays import features
from toolkit.arrays.features import Features
from toolkit.errors import HeadError
from toolkit.evaluation.decisions.cuts import best_threshold
from toolkit.heads.mlp.head import Mlp
from toolkit.heads.mlp.rows import TrainingRows, sparse_targets
from toolkit.heads.registry import load_head
from toolkit.heads.transforms import FeatureTransform

FAST = {"hidden": (8,), "epochs": 6, "lr": 0.01, "batch_size": 16}


@pytest.fixture
def on_disk(tmp_path):
    def write(X):
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.npy"
        np.save(path, X)
        return Features([path])

    return write


@pytest.fixture
def past_memory(monkeypatch):
    monkeypatch.setattr(features, "IN_MEMORY", 0)


@pytest.mark.parametrize("transform", ["standardize", "centered-sqrt-l2", "raw"])
@pytest.mark.parametrize("validation", [True, False])
def test_rows_past_memory__give_the_same_network(monkeypatch, on_disk, transform, validation):
    monkeypatch.setattr(features, "BLOCK_BYTES", 4 * 10 * 50)  # 50 rows a block, 3 batches read at once
    (X, Y), (Xv, Yv), (view, _) = rows(), rows(80, seed=1), rows(seed=7)
    head = Mlp(**FAST, transform=transform)
    want = head.fit(X, Y, val=(Xv, Yv) if validation else None, views=[view])
    scores, history = want.scores(Xv), want.history_
    monkeypatch.setattr(features, "IN_MEMORY", 0)
    pair = (on_disk(Xv), Yv) if validation else None
    got = head.fit(on_disk(X), Y, val=pair, views=[on_disk(view)])
    np.testing.assert_array_equal(got.scores(Xv), scores)
    assert got.history_ == history


def test_training_rows__past_memory_are_read_in_the_order_asked_for(past_memory, monkeypatch):
    monkeypatch.setattr(features, "BLOCK_BYTES", 4 * 10 * 7)
    (X, _), (view, _) = rows(60), rows(60, seed=7)
    reads = []

    class Watched:
        shape = X.shape

        def __getitem__(self, at):
            reads.append(len(at))
            return X[at]

    transform = FeatureTransform.fit("standardize", X)
    source = TrainingRows([Features([Watched()]), view], transform, "cpu")
    random = np.random.default_rng(0)
    order, which = random.permutation(60)[:50], random.integers(2, size=50)
    got = [batch.numpy() for batch in source.batches(order, which, 3)]
    assert [len(batch) for batch in got] == [3] * 16 + [2]
    want = np.where(which[:, None] == 0, X[order], view[order])
    np.testing.assert_array_equal(np.concatenate(got), transform(want))
    assert max(reads) <= 6 and sum(reads) == (which == 0).sum()


def test_training_rows__past_memory_that_hold_nan(past_memory):
    X, Y = rows(40)
    view = X.copy()
    view[5, 5] = np.nan
    with pytest.raises(HeadError, match="X holds NaN or infinity"):
        Mlp(**FAST).fit(X, Y, views=[view])


def test_sparse_targets__are_the_dense_ones():
    Y = sp.csr_array(np.random.default_rng(0).random((9, 13)) < 0.2)
    at, values = sparse_targets(Y)
    dense = np.zeros(9 * 13)
    dense[at] = values
    np.testing.assert_array_equal(dense.reshape(9, 13), Y.toarray())


def more_tags(N=400, seed=0):
    X, Y = rows(N, seed=seed)
    new = np.stack([X[:, 0] + X[:, 1] > 0.3, X[:, 2] > 1], axis=1)
    return X, Y, sp.csr_array(new)


@pytest.mark.parametrize("hidden", [(32,), ()])
def test_add_tags__present_scores_stay_and_new_ones_are_right(hidden, tmp_path):
    (X, Y, new), (unseen, _, truth) = more_tags(), more_tags(300, seed=1)
    head = Mlp(**FAST | {"hidden": hidden, "epochs": 20, "lr": 0.02}).fit(X, Y)
    before, chosen = head.scores(unseen), head.chosen()
    assert head.add_tags(X, new) is head and head.n_tags_ == 5
    after = head.scores(unseen)
    np.testing.assert_array_equal(after[:, :3], before)
    assert best_threshold(after[:, 3:], truth)[1] > 0.85
    assert head.chosen() == chosen
    head.add_tags(X, new[:, :1])
    assert head.n_tags_ == 6
    np.testing.assert_array_equal(head.scores(unseen)[:, :5], after)
    head.save(tmp_path)
    np.testing.assert_array_equal(load_head(tmp_path).scores(unseen), head.scores(unseen))
    assert head.fit(X, Y).scores(unseen).shape == (300, 3)


def test_add_tags__past_memory_are_the_same(on_disk, monkeypatch):
    X, Y, new = more_tags()
    head = Mlp(**FAST).fit(X, Y).add_tags(X, new)
    monkeypatch.setattr(features, "IN_MEMORY", 0)
    again = Mlp(**FAST).fit(X, Y).add_tags(on_disk(X), new)
    np.testing.assert_allclose(again.scores(X), head.scores(X), atol=1e-5)


def test_add_tags__errors():
    X, Y, new = more_tags(60)
    with pytest.raises(HeadError, match="not fitted yet"):
        Mlp().add_tags(X, new)
    head = Mlp(**FAST).fit(X, Y)
    with pytest.raises(HeadError, match="was fitted on 10 features a row, these have 9"):
        head.add_tags(X[:, :9], new)
    with pytest.raises(HeadError, match="X has 60 rows and Y 50"):
        head.add_tags(X, new[:50])
    assert head.n_tags_ == 3
