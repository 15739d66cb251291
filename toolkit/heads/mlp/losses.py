"""Losses of the network: the sum of their values, and the gradient by the logits.

All are linear in the target y of an entry: ``y positive(z) + (1 - y) negative(z)``. Few targets are not 0, so
the negative part is computed for all entries and corrected at these: no dense target is made, and autograd
keeps nothing of the size of the logits.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

LEAST = 1e-8  # least probability in the asymmetric loss, as in its authors' code

Part = tuple[Tensor, Tensor]  # values, and derivatives by the logits, of the logits' shape


class CrossEntropy:
    """Binary cross-entropy: ``-log p`` and ``-log(1 - p)`` with ``p = sigmoid(z)``."""

    def positive(self, z: Tensor) -> Part:
        """Return values and derivatives at logits z for a target of 1."""
        return softplus(-z), torch.sigmoid(z) - 1

    def negative(self, z: Tensor) -> Part:
        """Return values and derivatives at logits z for a target of 0."""
        return softplus(z), torch.sigmoid(z)


@dataclass(frozen=True)
class Asymmetric:
    """The asymmetric loss of Ridnik et al. 2021 (arXiv 2009.14119), equations 4 to 6.

    ``-(1 - p)^gamma_pos log p`` for a target of 1, ``-m^gamma_neg log(1 - m)`` with ``m = max(p - clip, 0)``
    for 0.
    """

    gamma_pos: float
    gamma_neg: float
    clip: float

    def positive(self, z: Tensor) -> Part:
        """See `CrossEntropy`."""
        p, q, surprise = torch.sigmoid(z), torch.sigmoid(-z), softplus(-z)
        focus = q**self.gamma_pos
        return focus * surprise, -focus * (self.gamma_pos * p * surprise + q)

    def negative(self, z: Tensor) -> Part:
        """See `CrossEntropy`."""
        p, q = torch.sigmoid(z), torch.sigmoid(-z)
        m = (p - self.clip).clamp_(min=0)
        rest = (q + self.clip).clamp_(LEAST, 1)  # 1 - m
        surprise = -torch.log(rest)
        focus = m**self.gamma_neg
        slope = p * q * focus * (self.gamma_neg * surprise / m.clamp(min=LEAST) + 1 / rest)
        return focus * surprise, torch.where(p > self.clip, slope, 0.0)


Loss = CrossEntropy | Asymmetric


def softplus(z: Tensor) -> Tensor:
    """Return ``log(1 + e^z)`` to 1e-7 absolute, several times as fast as torch's own."""
    return F.relu(z).sub_(z.abs().sigmoid_().log_())


def loss_and_gradient(
    loss: Loss, logits: Tensor, at: Tensor, targets: Tensor, smoothing: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Return the summed loss () and its gradient (B, L) by the logits (B, L).

    `targets` (P,) float32 in (0, 1] are those that are not 0, `at` (P,) int64 their positions in the
    flattened logits. Label smoothing (Szegedy et al. 2016, arXiv 1512.00567, with two classes) makes targets
    y ``(1 - smoothing) y + smoothing / 2``.
    """
    values, gradient = loss.negative(logits)
    total = values.sum()
    if smoothing:
        values, slope = loss.positive(logits)
        total = total.lerp(values.sum(), smoothing / 2)
        gradient = gradient.lerp_(slope, smoothing / 2)
    z, weights = logits.view(-1)[at], targets * (1 - smoothing)
    (gain, gain_slope), (cost, cost_slope) = loss.positive(z), loss.negative(z)
    total = total + (weights * (gain - cost)).sum()
    flat = gradient.view(-1)
    flat[at] = flat[at] + weights * (gain_slope - cost_slope)
    return total, gradient
