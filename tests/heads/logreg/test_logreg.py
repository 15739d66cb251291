"""Logistic regression against scikit-learn's newton-cholesky at tolerance 1e-10."""

import logging
import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from sklearn.linear_model import LogisticRegression

from toolkit.arrays.features import Features
from toolkit.errors import HeadError, OptionError
from toolkit.evaluation.decisions.cuts import best_threshold
from toolkit.heads.logreg.arrays import Arrays, TorchArrays, arrays_on
from toolkit.heads.logreg.head import Logreg
from toolkit.heads.logreg.rows import HeldRows, centred_rows
from toolkit.heads.logreg.solver import BUDGET, solve, tags_at_once
from toolkit.heads.transforms import FeatureTransform


def tagged(N, D, supports, seed=0):
    """Rows of correlated non-negative features and tags of exactly these supports that depend on them."""
    random = np.random.default_rng(seed)
    X = np.abs(random.normal(size=(N, 20)) @ random.normal(size=(20, D)) + random.normal(size=(N, D)))
    latent = (X - X.mean(0)) @ random.normal(size=(D, len(supports)))
    latent = latent / latent.std(0) + random.normal(size=latent.shape)
    Y = np.argsort(np.argsort(-latent, axis=0), axis=0) < np.array(supports)
    return X.astype(np.float32), Y


def objective(X, y, w, b, C):
    z = X @ w + b
    return np.logaddexp(0, z).sum() - z[y].sum() + w @ w / (2 * C)


def assert_optimal(X, Y, C, coef, intercept):
    X = X.astype(np.float64)
    for tag in range(Y.shape[1]):
        exact = LogisticRegression(C=C, solver="newton-cholesky", tol=1e-10, max_iter=500).fit(X, Y[:, tag])
        want = objective(X, Y[:, tag], exact.coef_[0], exact.intercept_[0], C)
        w, b = coef[tag].astype(np.float64), float(intercept[tag])
        assert objective(X, Y[:, tag], w, b, C) <= want * (1 + 1e-4)
        probability = 1 / (1 + np.exp(-(X @ w + b)))
        np.testing.assert_allclose(probability, exact.predict_proba(X)[:, 1], atol=1e-3)


@pytest.mark.parametrize("C", [1e-3, 0.1, 10.0])
@pytest.mark.parametrize("transform", ["standardize", "raw"])
def test_solver__reaches_scikit_learns_optimum(C, transform):
    X, Y = tagged(1500, 60, [1, 3, 10, 40, 150, 700, 1400])
    head = Logreg(C=C, transform=transform).fit(X, Y)
    assert not len(head.unconverged_) and head.gap_.max() <= head.tol
    assert_optimal(head.transform_(X), Y, C, head.coef_, head.intercept_)


def test_solver__more_features_than_rows():
    X, Y = tagged(120, 300, [1, 5, 30, 60])
    head = Logreg(C=0.01).fit(X, Y)
    assert_optimal(head.transform_(X), Y, 0.01, head.coef_, head.intercept_)


def test_solver__a_collinear_and_a_constant_column():
    X, Y = tagged(400, 20, [10, 100])
    X[:, 3], X[:, 4] = X[:, 5], 2.0
    head = Logreg(C=1.0, transform="raw").fit(X, Y)
    assert_optimal(X, Y, 1.0, head.coef_, head.intercept_)


def test_solver__blocks_and_starts_do_not_matter(monkeypatch):
    X, Y = tagged(500, 30, np.linspace(5, 250, 23).astype(int))
    rows, labels = centred_rows(X, FeatureTransform.fit("raw", X), Arrays()), sp.csr_array(Y)
    whole = solve(rows, labels, 0.5, tol=1e-9)
    monkeypatch.setattr("toolkit.heads.logreg.solver.BLOCK", 4)
    monkeypatch.setattr(Arrays, "tile", 1200)
    blocks = solve(rows, labels, 0.5, tol=1e-9, start=solve(rows, labels, 0.05).params)
    np.testing.assert_allclose(blocks.params, whole.params, atol=2e-3)
    assert whole.converged.all() and (whole.iterations > 0).all()


@pytest.mark.slow
def test_solver__rare_to_common_tags_at_ten_thousand_rows():
    X, Y = tagged(20_000, 128, [1, 3, 30, 300, 3000, 10_000], seed=3)
    head = Logreg(C=0.3).fit(X, Y)
    assert_optimal(head.transform_(X), Y, 0.3, head.coef_, head.intercept_)


def test_constant_tags__score_zero_and_one_and_are_flagged():
    X, Y = tagged(100, 8, [20])
    Y = np.hstack([np.zeros((100, 1), bool), Y, np.ones((100, 1), bool)])
    head = Logreg(C=1.0).fit(X, Y)
    scores = head.scores(X)
    assert scores[:, 0].max() < 1e-12 and scores[:, 2].min() == 1.0
    assert head.constant_.tolist() == [0, 2] and not head.coef_[[0, 2]].any()
    assert_optimal(head.transform_(X), Y[:, 1:2], 1.0, head.coef_[1:2], head.intercept_[1:2])
    assert (Logreg().fit(X, Y[:, [0, 2]]).scores(X) > 0.5).tolist() == [[False, True]] * 100


def test_C__is_the_best_of_those_tried_on_validation_rows():
    X, Y = tagged(600, 40, [30, 60, 200])
    val = X[400:], sp.csr_array(Y[400:])
    head = Logreg().fit(X[:400], Y[:400], val=val)
    tried = {row["C"]: row["micro_f1"] for row in head.tuning_}
    assert len(tried) >= 4 and max(tried, key=tried.get) == head.C_
    for C in list(tried)[:4]:
        alone = Logreg(C=C).fit(X[:400], Y[:400])
        assert best_threshold(alone.scores(val[0]), val[1])[1] == pytest.approx(tried[C], abs=2e-3)
    np.testing.assert_allclose(
        head.scores(X), Logreg(**head.chosen()).fit(X[:400], Y[:400]).scores(X), atol=2e-3
    )


def test_C__grid_follows_the_length_of_rows():
    X, Y = tagged(200, 10, [40])
    val = X, sp.csr_array(Y)
    long, short = (Logreg(transform="raw").fit(X * s, Y, val=val).tuning_ for s in (10, 1))
    np.testing.assert_allclose(long[0]["C"] * 100, short[0]["C"], rtol=0.05)


def test_unconverged__tags_are_listed_with_a_warning(caplog):
    X, Y = tagged(300, 30, [5, 100])
    with caplog.at_level(logging.WARNING):
        head = Logreg(C=10.0, max_iter=2).fit(X, Y)
    assert head.unconverged_.tolist() == [0, 1] and (head.gap_ > head.tol).all()
    assert "2 of 2 tags are not solved to tol=1e-07 after 2 iterations" in caplog.text
    assert "-o max_iter=20" in caplog.text


def test_device__torch_tensors_reach_the_same_optimum(monkeypatch):
    X, Y = tagged(700, 40, [1, 8, 60, 300, 690])
    want = Logreg(C=0.5, device="cpu").fit(X, Y)
    monkeypatch.setattr("toolkit.heads.logreg.head.arrays_on", lambda device: TorchArrays("cpu"))
    held = Logreg(C=0.5).fit(X, Y)
    np.testing.assert_allclose(held.scores(X), want.scores(X), atol=1e-4)
    monkeypatch.setattr("toolkit.arrays.features.IN_MEMORY", 0)
    streamed = Logreg(C=0.5).fit(Features([X]), Y)
    np.testing.assert_allclose(streamed.scores(X), want.scores(X), atol=1e-4)
    assert not len(held.unconverged_) and not len(streamed.unconverged_)


def test_device__float32_products_are_kept_exact_while_solving_and_as_they_were_afterwards():
    arrays = TorchArrays("cpu")
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        with arrays.exact():
            assert torch.get_float32_matmul_precision() == "highest"
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize(
    ("gpus", "mps", "want"), [(0, False, "numpy"), (2, False, "cuda:0"), (0, True, "numpy")]
)
def test_device__auto_takes_a_cuda_gpu_and_nothing_less(monkeypatch, gpus, mps, want):
    monkeypatch.setattr("toolkit.runtime.devices.cuda_count", lambda: gpus)
    monkeypatch.setattr("toolkit.runtime.devices.has_mps", lambda: mps)
    chosen = arrays_on("auto")
    assert (str(chosen.device) if gpus else chosen.xp.__name__) == want
    assert type(arrays_on("cpu")) is Arrays
    with pytest.raises(OptionError, match="--device cuda:2: this machine"):
        arrays_on("cuda:2")


def test_device__without_a_driver_torch_is_not_imported():
    code = (
        "import sys, numpy as np; import toolkit.runtime.devices as devices;"
        "devices.cuda_count = lambda: 0;"
        "from toolkit.heads.logreg.head import Logreg;"
        "Logreg(C=1.0).fit(np.eye(4), np.eye(4));"
        "print('torch' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"


def test_device__another_word_is_an_option_error():
    with pytest.raises(OptionError, match="--device got 'tpu'; allowed are auto, cpu, cuda"):
        Logreg(C=1.0, device="tpu").fit(np.eye(4), np.eye(4))


@pytest.mark.parametrize("transform", ["standardize", "raw", "centered-sqrt-l2"])
def test_streamed__equals_the_fit_in_memory(monkeypatch, tmp_path, transform):
    X, Y = tagged(900, 50, [1, 9, 80, 400, 880])
    want = Logreg(C=0.7, transform=transform).fit(X, Y)
    np.save(tmp_path / "X.npy", X)
    monkeypatch.setattr("toolkit.arrays.features.IN_MEMORY", 0)
    monkeypatch.setattr("toolkit.arrays.features.BLOCK_BYTES", 4 * 50 * 256)
    monkeypatch.setattr("toolkit.heads.logreg.solver.BUDGET", 50_000)
    monkeypatch.setattr(HeldRows, "__init__", None)  # nothing is held
    head = Logreg(C=0.7, transform=transform).fit(Features([tmp_path / "X.npy"]), Y)
    np.testing.assert_allclose(head.scores(X), want.scores(X), atol=1e-4)
    np.testing.assert_array_equal(head.scores(Features([X])), head.scores(X))
    assert not len(head.unconverged_) and head.gap_.max() <= head.tol


def test_streamed__C_is_chosen_as_in_memory(monkeypatch):
    X, Y = tagged(600, 40, [30, 60, 200])
    want = Logreg().fit(X, Y)
    monkeypatch.setattr("toolkit.arrays.features.IN_MEMORY", 0)
    head = Logreg().fit(Features([X]), Y)
    assert [row["C"] for row in head.tuning_] == [row["C"] for row in want.tuning_] and head.C_ == want.C_
    np.testing.assert_allclose(head.scores(X), want.scores(X), atol=1e-3)


def test_streamed__blocks_of_tags_stay_within_the_budget(monkeypatch):
    assert tags_at_once(35_000, 2048) == 512
    assert tags_at_once(1_000_000, 2048) * 2 * 4 * 1_000_000 <= BUDGET
    monkeypatch.setattr("toolkit.heads.logreg.solver.BUDGET", 1)
    assert tags_at_once(10, 10) == 1


def test_C__is_chosen_on_at_most_so_many_rows(monkeypatch):
    X, Y = tagged(400, 20, [40, 150])
    monkeypatch.setattr("toolkit.heads.logreg.head.CHOOSING_BYTES", 4 * 20 * 100)
    seen = []
    monkeypatch.setattr(
        "toolkit.heads.logreg.head.best_threshold", lambda s, Y: seen.append(s.shape) or best_threshold(s, Y)
    )
    Logreg().fit(X, Y, val=(X, Y))
    assert set(seen) == {(100, 2)}


def test_add_tags__are_solved_as_if_they_had_been_there_and_change_nothing(tmp_path):
    X, Y = tagged(500, 30, [10, 60, 250, 30, 120])
    Y = np.hstack([Y[:, :2], np.zeros((500, 1), bool), Y[:, 2:], np.ones((500, 1), bool)])
    whole = Logreg(C=0.3).fit(X, Y)
    head = Logreg(C=0.3).fit(X, Y[:, :3])
    first = head.coef_.copy(), head.intercept_.copy(), head.transform_.mean.copy()
    assert head.add_tags(X, sp.csr_array(Y[:, 3:])) is head and head.n_tags_ == 7
    np.testing.assert_array_equal(head.coef_[:3], first[0])
    np.testing.assert_array_equal(head.intercept_[:3], first[1])
    np.testing.assert_array_equal(head.transform_.mean, first[2])
    np.testing.assert_allclose(head.scores(X), whole.scores(X), atol=1e-3)
    assert head.constant_.tolist() == [2, 6] and len(head.iterations_) == len(head.gap_) == 7
    head.save(tmp_path)
    np.testing.assert_array_equal(Logreg.load(tmp_path).scores(X), head.scores(X))


def test_add_tags__of_other_rows_keeps_the_transform_in_use():
    X, Y = tagged(500, 30, [10, 60, 250])
    head = Logreg().fit(X, Y[:, :2])
    C, other = head.C_, X[100:] * 2 + 1
    head.add_tags(other, Y[100:, 2:])
    assert head.C_ == C
    assert_optimal(head.transform_(other), Y[100:, 2:], C, head.coef_[2:], head.intercept_[2:])


def test_add_tags__lists_the_unconverged_by_their_new_column(caplog):
    X, Y = tagged(300, 30, [5, 100, 50])
    head = Logreg(C=10.0).fit(X, Y[:, :2])
    with caplog.at_level(logging.WARNING):
        head.set_params(max_iter=2).add_tags(X, Y[:, 2:])
    assert head.unconverged_.tolist() == [2] and "1 of 3 tags is not solved" in caplog.text


def test_add_tags__needs_a_fitted_head_and_features_as_wide():
    X, Y = tagged(50, 10, [5])
    with pytest.raises(HeadError, match="head 'logreg' is not fitted yet"):
        Logreg().add_tags(X, Y)
    with pytest.raises(HeadError, match="fitted on 10 features a row, these have 9"):
        Logreg(C=1.0).fit(X, Y).add_tags(X[:, :9], Y)


def test_diagnostics__after_fitting_and_loading(tmp_path):
    X, Y = tagged(300, 30, [5, 100, 40])
    Y[:, 2] = False
    head = Logreg(C=1.0, max_iter=9).fit(X, Y)
    convergence = head.convergence_
    assert convergence["tags"] == 2 and convergence["gap_largest"] == head.gap_.max()
    assert convergence["unconverged"] == (head.gap_ > head.tol).sum()
    assert convergence["iterations_median"] == head.iterations_[:2].mean()
    assert convergence["iterations_most"] == head.iterations_.max() > 2
    want = {"convergence": convergence, "unconverged": np.flatnonzero(head.gap_ > head.tol).tolist()}
    assert head.diagnostics() == want
    head.save(tmp_path)
    assert Logreg.load(tmp_path).diagnostics() == want


@pytest.mark.parametrize("seed", range(3))
def test_fit__two_rows_of_many_features_give_finite_scores(seed):
    # one row is held out, so the other has no spread: C is as good as unbounded
    X = np.abs(np.random.default_rng(seed).normal(size=(2, 2048))).astype(np.float32)
    scores = Logreg().fit(X, np.eye(2, 3, dtype=bool)).scores(X)
    assert np.isfinite(scores).all() and (scores[:, 2] < 0.5).all()
