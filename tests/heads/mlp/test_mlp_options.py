"""What the network's losses and precision do to a fit: calibration, replay, options as text."""

import numpy as np
import pytest
import torch
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from tests.heads.mlp.test_mlp import rows
from toolkit.errors import HeadError, OptionError
from toolkit.evaluation.decisions.cuts import best_threshold
from toolkit.heads.mlp.head import Mlp
from toolkit.heads.mlp.rows import mixed
from toolkit.heads.mlp.training import working_dtype
from toolkit.heads.options import parse_options

FAST = {"hidden": (16,), "epochs": 15, "lr": 0.01}
NOT_PLAIN = [{"loss": "asymmetric"}, {"label_smoothing": 0.2}, {"mixup": 0.4}]


@pytest.mark.parametrize("options", NOT_PLAIN, ids=str)
def test_calibration__makes_scores_probabilities_again(options):
    (X, Y), val, (unseen, truth) = rows(600), rows(600, seed=1), rows(2000, seed=2)
    head = Mlp(**FAST, **options).fit(X, Y, val=val)
    assert head.scores(unseen).mean() == pytest.approx(truth.mean(), abs=0.02)
    slope, intercept = head.calibration_
    raw = logit(head.scores(val[0]).astype(float).ravel())
    raw = (raw - intercept) / slope
    sure = np.isfinite(raw)
    theirs = LogisticRegression(C=np.inf, tol=1e-10).fit(raw[sure, None], val[1].toarray().ravel()[sure])
    assert (slope, intercept) == pytest.approx((theirs.coef_[0, 0], theirs.intercept_[0]), rel=0.01, abs=0.01)


def test_calibration__moves_the_asymmetric_losss_scores_but_not_their_f1():
    (X, Y), val = rows(600), rows(600, seed=1)
    head = Mlp(**FAST, loss="asymmetric").fit(X, Y, val=val)
    slope, intercept = head.calibration_
    uncalibrated = expit((logit(head.scores(val[0]).astype(float)) - intercept) / slope)
    assert uncalibrated.mean() > val[1].mean() + 0.05
    f1 = head.history_[head.epoch_ - 1]["val_micro_f1"]
    assert best_threshold(head.scores(val[0]), val[1])[1] == pytest.approx(f1, abs=1e-3)


@pytest.mark.parametrize("options", NOT_PLAIN, ids=str)
def test_calibration__is_replayed_by_a_refit(options):
    (X, Y), val = rows(), rows(80, seed=1)
    head = Mlp(**FAST, **options).fit(X, Y, val=val)
    again = Mlp(**head.chosen()).fit(X, Y)
    assert again.calibration_ == head.calibration_ != (1.0, 0.0)
    np.testing.assert_array_equal(again.scores(X), head.scores(X))
    with pytest.raises(
        OptionError, match="option 'lr_drops' of head 'mlp' replays a fit, and its loss needs"
    ):
        Mlp(**head.chosen() | {"calibration": None}).fit(X, Y)


def test_calibration__of_plain_training_is_none_and_one_given_is_used():
    (X, Y), val = rows(), rows(80, seed=1)
    head = Mlp(**FAST).fit(X, Y, val=val)
    assert head.calibration_ == (1.0, 0.0)
    given = Mlp(**FAST, calibration=(0.5, -1.0)).fit(X, Y, val=val)
    want = expit(0.5 * logit(head.scores(X).astype(float)) - 1)
    np.testing.assert_allclose(given.scores(X), want, atol=1e-5)
    with pytest.raises(OptionError, match="option 'calibration' of head 'mlp' got 3 numbers; it takes two"):
        Mlp(calibration=(1.0, 2.0, 3.0)).fit(X, Y)


def test_calibration__without_validation_rows_is_learned_on_a_hold_out():
    X, Y = rows(400)
    head = Mlp(**FAST, loss="asymmetric").fit(X, Y)
    assert head.calibration_ != (1.0, 0.0)
    assert head.scores(X).mean() == pytest.approx(Y.mean(), abs=0.03)
    one = Mlp(**FAST, loss="asymmetric").fit(X[:1], Y[:1])
    assert one.calibration_ == (1.0, 0.0) and np.isfinite(one.scores(X)).all()


def test_mixup__mixes_rows_and_targets_in_one_share():
    X, Y = rows(40)
    x, targets = mixed(torch.from_numpy(X), Y, 0.4, np.random.default_rng(3))
    random = np.random.default_rng(3)
    share, partner = random.beta(0.4, 0.4), random.permutation(40)
    np.testing.assert_allclose(x.numpy(), share * X + (1 - share) * X[partner], atol=1e-6)
    y = Y.toarray().astype(float)
    np.testing.assert_allclose(targets.toarray(), share * y + (1 - share) * y[partner], atol=1e-6)


def test_options__are_taken_as_text():
    items = ["loss=asymmetric", "gamma_neg=2", "gamma_pos=0", "clip=.1", "label_smoothing=.1", "mixup=.2",
             "calibration=.9,-1.5", "precision=bf16"]  # fmt: skip
    assert parse_options(Mlp, items) == {
        "loss": "asymmetric", "gamma_neg": 2, "gamma_pos": 0, "clip": 0.1, "label_smoothing": 0.1,
        "mixup": 0.2, "calibration": (0.9, -1.5), "precision": "bf16",
    }  # fmt: skip
    assert parse_options(Mlp, ["calibration=none", "precision=auto"]) == {
        "calibration": None,
        "precision": "auto",
    }
    for item, allowed in [
        ("loss=focal", "one of bce, asymmetric"),
        ("label_smoothing=1", ">= 0 and < 1"),
        ("precision=fp16", "one of auto, fp32, bf16"),
        ("mixup=-1", ">= 0"),
    ]:
        with pytest.raises(OptionError, match=allowed):
            parse_options(Mlp, [item])


def test_precision__bf16_trains_nearly_the_same_network():
    (X, Y), val = rows(600), rows(300, seed=1)
    exact, rounded = (
        Mlp(**FAST, precision=name).fit(X, Y, val=val).scores(val[0]) for name in ("fp32", "bf16")
    )
    assert not np.array_equal(exact, rounded)
    assert best_threshold(rounded, val[1])[1] == pytest.approx(best_threshold(exact, val[1])[1], abs=0.01)


def test_precision__auto_is_a_fact_of_the_processor(monkeypatch):
    cpu = torch.device("cpu")
    for flags, dtype in [
        ({"avx512_bf16": True}, torch.bfloat16),
        ({"amx_bf16": True, "avx512_bf16": False}, torch.bfloat16),
        ({"avx2": True, "avx512_bf16": False}, torch.float32),
    ]:
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda flags=flags: flags, raising=False)
        assert working_dtype("auto", cpu) == dtype
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert working_dtype("auto", cpu) == torch.float32 and working_dtype("bf16", cpu) == torch.bfloat16


@pytest.mark.parametrize("lr", [1e25, 1e38])
def test_training__that_diverges_says_so(lr):
    X, Y = rows()
    with pytest.raises(
        HeadError, match=rf"training diverged .* give a lower lr than {lr:g}".replace("+", r"\+")
    ):
        Mlp(hidden=(16, 16), lr=lr, epochs=5).fit(X, Y)
