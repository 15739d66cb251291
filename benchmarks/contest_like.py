"""Data as the reference contest's is in kind: long-tailed tags that non-negative features really predict."""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.special import expit

_ROWS = 2048  # drawn at a time


@dataclass(frozen=True, eq=False)
class ContestLike:
    """X (N, D) float32 >= 0, Y (N, L) boolean CSR."""

    X: NDArray[np.float32]
    Y: sp.csr_array


def contest_like(
    N: int = 35_000,
    D: int = 2048,
    L: int = 6941,
    *,
    tags_per_image: float = 27.0,
    latent: int = 64,
    duplicates: float = 0.03,
    seed: int = 0,
) -> ContestLike:
    """Draw features and tags from a common latent space.

    Features are rectified random mixtures of `latent` factors plus noise of their own, as pooled activations
    are non-negative and correlated. A tag follows a random direction of the factors; supports follow Zipf's
    law with exponent .9, at least about 3. A share of the rows are near-duplicates of others.
    """
    random = np.random.default_rng(seed)
    factors = random.standard_normal((N, latent), dtype=np.float32)
    copies = random.choice(N, int(duplicates * N), replace=False)
    originals = random.integers(0, N, len(copies))
    factors[copies] = factors[originals]
    mixing = random.standard_normal((latent, D), dtype=np.float32) / np.sqrt(latent)
    share = np.arange(1, L + 1) ** -0.9
    share = np.clip(share * tags_per_image / share.sum(), 3 / N, 0.6)
    share *= tags_per_image / share.sum()
    directions = random.standard_normal((latent, L), dtype=np.float32)
    directions *= 2.5 / np.linalg.norm(directions, axis=0)
    bias = _biases(share)
    X, rows = np.empty((N, D), np.float32), []
    for start in range(0, N, _ROWS):
        part = slice(start, start + _ROWS)
        noise = random.standard_normal((len(factors[part]), D), dtype=np.float32)
        X[part] = np.maximum(factors[part] @ mixing + 0.7 * noise - 0.3, 0)
        chance = expit(factors[part] @ directions + bias)
        rows.append(sp.csr_array(random.random(chance.shape, dtype=np.float32) < chance))
    X[copies] = X[originals] * random.uniform(0.95, 1.05, (len(copies), D)).astype(np.float32)
    return ContestLike(X, sp.csr_array(sp.vstack(rows, format="csr")))


def _biases(share: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return b such that the mean of sigmoid(2.5 z + b), z normal, is `share`; by bisection on 41 nodes."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(41)
    weights = weights / weights.sum()
    low, high = np.full(len(share), -60.0), np.full(len(share), 60.0)
    for _ in range(60):
        middle = (low + high) / 2
        mean = expit(2.5 * nodes[:, None] + middle).T @ weights
        low, high = np.where(mean < share, middle, low), np.where(mean < share, high, middle)
    return ((low + high) / 2).astype(np.float32)
