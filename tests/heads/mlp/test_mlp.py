"""The network: its scores against torch, its schedule, best epoch, views, the notebook's recipe."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from sklearn.metrics import f1_score, precision_recall_fscore_support

from toolkit.errors import HeadError, OptionError
from toolkit.evaluation.decisions.cuts import best_threshold
from toolkit.heads.mlp.head import Mlp


def rows(N=200, D=10, seed=0):
    random = np.random.default_rng(seed)
    X = random.normal(size=(N, D)).astype(np.float32)
    return X, sp.csr_array(random.random((N, 3)) < 1 / (1 + np.exp(-3 * X[:, :3])))


def test_scores__equal_a_torch_network_of_the_same_weights():
    X, Y = rows()
    head = Mlp(hidden=(16, 8), epochs=3).fit(X, Y)
    x = torch.from_numpy((X - head.transform_.mean) / head.transform_.scale)
    for weight, bias in head._layers[:-1]:
        x = torch.relu(torch.nn.functional.linear(x, torch.from_numpy(weight), torch.from_numpy(bias)))
    weight, bias = map(torch.from_numpy, head._layers[-1])
    want = torch.sigmoid(torch.nn.functional.linear(x, weight, bias)).numpy()
    np.testing.assert_allclose(head.scores(X), want, atol=1e-5)
    assert [w.shape for w, _ in head._layers] == [(16, 10), (8, 16), (3, 8)]


def test_best_epoch__is_kept_and_history_is_true():
    (X, Y), val = rows(), rows(80, seed=1)
    head = Mlp(hidden=(32,), epochs=30, lr=0.02, patience=6).fit(X, Y, val=val)
    f1 = [record["val_micro_f1"] for record in head.history_]
    assert max(f1) == f1[head.epoch_ - 1]
    assert best_threshold(head.scores(val[0]), val[1])[1] == pytest.approx(max(f1), abs=1e-4)
    assert len(f1) == min(30, int(np.argmax(f1)) + 1 + 6)
    assert set(head.history_[0]) == {
        "epoch", "train_loss", "lr", "val_loss", "val_precision", "val_recall", "val_micro_f1",
        "val_micro_f1_at_half", "threshold",
    }  # fmt: skip
    y, s = val[1].toarray(), head.scores(val[0]).astype(float)
    loss = -(np.log(s) * y + np.log(1 - s) * ~y).sum(axis=1).mean()
    assert head.history_[head.epoch_ - 1]["val_loss"] == pytest.approx(loss, rel=1e-3)


def test_history__is_scikit_learns_at_the_threshold_it_names():
    (X, Y), val = rows(), rows(150, seed=1)
    head = Mlp(hidden=(16,), epochs=8, lr=0.02, patience=8, precision="fp32").fit(X, Y, val=val)
    record, scores, truth = head.history_[head.epoch_ - 1], head.scores(val[0]), val[1].toarray()
    precision, recall, f1, _ = precision_recall_fscore_support(
        truth, scores >= record["threshold"], average="micro"
    )
    got = record["val_precision"], record["val_recall"], record["val_micro_f1"]
    assert got == pytest.approx((precision, recall, f1), abs=5e-3)
    assert record["val_micro_f1_at_half"] == pytest.approx(f1_score(truth, scores >= 0.5, average="micro"))


def test_history__without_positives_in_validation_names_a_half():
    (X, Y), (Xv, Yv) = rows(), rows(30, seed=1)
    head = Mlp(hidden=(), epochs=2).fit(X, Y, val=(Xv, Yv * 0))
    assert [(r["threshold"], r["val_micro_f1"], r["val_recall"]) for r in head.history_] == [(0.5, 0, 0)] * 2


def test_learning_rate__falls_where_f1_stops_growing():
    (X, Y), val = rows(), rows(80, seed=1)
    head = Mlp(hidden=(), epochs=25, lr=0.05, patience=25, lr_patience=2, min_delta=1e-4).fit(X, Y, val=val)
    best, flat, want = -1.0, 0, 0.05
    for record in head.history_:
        assert record["lr"] == pytest.approx(want)
        flat += 1
        if record["val_micro_f1"] > best + 1e-4:
            best, flat = record["val_micro_f1"], 0
        elif flat >= 2:
            want, flat = want * 0.5, 0
    assert head.history_[-1]["lr"] < 0.05


def test_training__stops_once_the_learning_rate_is_spent():
    (X, Y), val = rows(), rows(80, seed=1)
    head = Mlp(hidden=(), epochs=200, lr=1e-9, patience=200, lr_patience=1, min_delta=0.5).fit(X, Y, val=val)
    assert [round(1e-9 / record["lr"]) for record in head.history_] == [1, 1, 2, 4, 8, 16, 32, 64]


def test_refit__replays_epochs_and_learning_rates():
    (X, Y), val = rows(), rows(80, seed=1)
    head = Mlp(hidden=(8,), epochs=12, lr=0.05).fit(X, Y, val=val)
    again = Mlp(**head.chosen()).fit(X, Y)
    assert [r["lr"] for r in again.history_] == [r["lr"] for r in head.history_[: head.epoch_]]
    np.testing.assert_array_equal(again.scores(X), head.scores(X))


def test_notebooks_recipe__is_one_dense_sigmoid_layer():
    X, Y = rows()
    head = Mlp(hidden=(0,), dropout=0.25, epochs=30, lr=0.02).fit(X, Y)
    assert [w.shape for w, _ in head._layers] == [(3, 10)]
    assert best_threshold(head.scores(X), Y)[1] > 0.8


def test_views__are_trained_on_unless_switched_off():
    (X, Y), (other, _) = rows(), rows(seed=7)
    plain = Mlp(hidden=(8,), epochs=5).fit(X, Y).scores(X)
    viewed = Mlp(hidden=(8,), epochs=5).fit(X, Y, views=[other, X + 1]).scores(X)
    ignored = Mlp(hidden=(8,), epochs=5, views=False).fit(X, Y, views=[other]).scores(X)
    assert not np.array_equal(plain, viewed)
    np.testing.assert_array_equal(plain, ignored)
    with pytest.raises(HeadError, match=r"view 1 has shape \(9, 10\), the plain rows \(200, 10\)"):
        Mlp().fit(X, Y, views=[other[:9]])


def test_global_generators__are_left_alone():
    X, Y = rows(60)
    torch.manual_seed(5)
    want = torch.rand(1)
    torch.manual_seed(5)
    Mlp(hidden=(4,), epochs=2).fit(X, Y)
    assert torch.equal(torch.rand(1), want)


def test_device__that_is_not_there(monkeypatch):
    monkeypatch.setattr("toolkit.runtime.devices.cuda_count", lambda: 2)
    X, Y = rows(20)
    with pytest.raises(OptionError, match="--device got 'warp'; allowed are auto, cpu, cuda, cuda:N, mps$"):
        Mlp(device="warp").fit(X, Y)
    with pytest.raises(OptionError, match="--device cuda:2: this machine's GPUs are cuda:0 to cuda:1"):
        Mlp(device="cuda:2").fit(X, Y)
