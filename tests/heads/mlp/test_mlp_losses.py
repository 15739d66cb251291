"""The network's losses against their formulae in float64, and their gradients against differences."""

import numpy as np
import pytest
import torch
from scipy.special import expit, log_expit

from toolkit.heads.mlp.losses import Asymmetric, CrossEntropy, loss_and_gradient, softplus


def bce(z, y):
    return -(y * log_expit(z) + (1 - y) * log_expit(-z))


def asymmetric(gamma_pos, gamma_neg, clip):
    def value(z, y):
        p = expit(z)
        m = np.maximum(p - clip, 0)
        return -y * (1 - p) ** gamma_pos * log_expit(z) - (1 - y) * m**gamma_neg * np.log(1 - m)

    return value


CASES = [
    (CrossEntropy(), bce),
    (Asymmetric(1.0, 4.0, 0.05), asymmetric(1, 4, 0.05)),
    (Asymmetric(0.0, 4.0, 0.05), asymmetric(0, 4, 0.05)),
    (Asymmetric(0.5, 2.5, 0.2), asymmetric(0.5, 2.5, 0.2)),
    (Asymmetric(0.0, 0.0, 0.0), bce),
    (Asymmetric(2.0, 0.0, 0.1), asymmetric(2, 0, 0.1)),
]


def named(value):
    """Name a case without the address of an object, which differs from run to run."""
    return str(value) if isinstance(value, Asymmetric) else getattr(value, "__name__", type(value).__name__)


@pytest.mark.parametrize(("loss", "formula"), CASES, ids=named)
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_loss__equals_its_formula_and_its_gradient_the_differences(loss, formula, smoothing):
    random = np.random.default_rng(0)
    z = random.normal(size=(6, 50)).astype(np.float32) * 3
    y = np.where(random.random(z.shape) < 0.2, random.choice([0.3, 1.0], z.shape), 0).astype(np.float32)
    at = np.flatnonzero(y)
    total, gradient = loss_and_gradient(
        loss, torch.from_numpy(z), torch.from_numpy(at), torch.from_numpy(y.ravel()[at]), smoothing
    )
    exact, target = z.astype(float), (1 - smoothing) * y.astype(float) + smoothing / 2
    assert float(total) == pytest.approx(formula(exact, target).sum(), rel=1e-5)
    slope = (formula(exact + 1e-6, target) - formula(exact - 1e-6, target)) / 2e-6
    smooth = np.abs(expit(exact) - getattr(loss, "clip", 0)) > 1e-5  # at the clip there is a corner
    np.testing.assert_allclose(gradient.numpy()[smooth], slope[smooth], atol=2e-5)


@pytest.mark.parametrize("loss", [case[0] for case in CASES], ids=named)
def test_loss__is_finite_at_logits_of_any_size(loss):
    z = torch.tensor([[-3e38, -1e4, -200.0, -90.0, 0.0, 90.0, 200.0, 1e4, 3e38]])
    for at in ([], [0, 1, 2, 3, 4, 5, 6, 7, 8]):
        where = torch.tensor(at, dtype=torch.int64)
        total, gradient = loss_and_gradient(loss, z / 10, where, torch.ones(len(at)))
        assert torch.isfinite(total) and torch.isfinite(gradient).all()


def test_softplus__in_absolute_terms():
    z = np.linspace(-60, 60, 4001, dtype=np.float32)
    np.testing.assert_allclose(
        softplus(torch.from_numpy(z)).numpy(), np.logaddexp(0, z.astype(float)), rtol=2e-7, atol=1.2e-7
    )
