"""Data as the reference contest's is in kind: long-tailed tags that non-negative features really predict.

Rows come in chunks, each drawn from a seed of its own: a million rows need no more memory than one chunk, and
the same rows come out however many of them are held at a time.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.special import expit

CHUNK = 2048  # rows drawn from one seed
LATENT = 64  # factors that features and tags share
SPREAD = 2.5  # standard deviation of a tag's logit over the images: how well features can predict it
NOISE = 0.7  # of a feature, beside factors of variance 1
OFFSET = -0.3  # before rectifying: about 60 % of the activations are zero
EXPONENT = 0.9  # of Zipf's law
FEWEST, LARGEST = 3, 0.6  # images of the rarest tag, share of the most frequent one
JITTER = 0.05  # how far a near-duplicate's activations are off


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
    duplicates: float = 0.03,
    seed: int = 0,
) -> ContestLike:
    """Draw features and tags from a common latent space, as `chunks` does, and hold them all."""
    X, parts = np.empty((N, D), np.float32), []
    drawn = chunks(N, D, L, tags_per_image=tags_per_image, duplicates=duplicates, seed=seed)
    for rows, features, tags in drawn:
        X[rows] = features
        parts.append(tags)
    return ContestLike(X, sp.csr_array(sp.vstack(parts, format="csr")))


def write_contest_like(
    path: Path,
    N: int,
    D: int,
    L: int,
    *,
    dtype: type[np.floating] = np.float16,
    tags_per_image: float = 27.0,
    duplicates: float = 0.03,
    seed: int = 0,
) -> sp.csr_array:
    """Write the features (N, D) to the ``.npy`` `path` chunk by chunk and return the tags (N, L)."""
    parts = []
    header = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": (N, D)}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for _, features, tags in chunks(
            N, D, L, tags_per_image=tags_per_image, duplicates=duplicates, seed=seed
        ):
            features.astype(dtype).tofile(file)
            parts.append(tags)
    return sp.csr_array(sp.vstack(parts, format="csr"))


def chunks(
    N: int, D: int, L: int, *, tags_per_image: float, duplicates: float, seed: int
) -> Iterator[tuple[slice, NDArray[np.float32], sp.csr_array]]:
    """Yield the rows in order: their slice, features (n, D) float32 >= 0 and tags (n, L) boolean CSR.

    Features are rectified random mixtures of `LATENT` factors plus noise of their own, as pooled activations
    are non-negative and correlated. A tag follows a random direction of the factors: a logistic model of the
    factors is the truth. Supports follow Zipf's law, the first tag being the most frequent one. A share of
    the rows, `duplicates`, are near-duplicates of others of their chunk: the same factors, all but the same
    features, and tags drawn anew, as two people tag one picture.
    """
    common = np.random.default_rng(seed)
    mixing = common.standard_normal((LATENT, D), dtype=np.float32) / np.float32(np.sqrt(LATENT))
    directions = common.standard_normal((LATENT, L), dtype=np.float32)
    directions *= np.float32(SPREAD) / np.linalg.norm(directions, axis=0)
    bias = _biases(zipf_shares(N, L, tags_per_image))
    for number, start in enumerate(range(0, N, CHUNK)):
        random = np.random.default_rng([seed, number])
        rows = slice(start, min(start + CHUNK, N))
        n = rows.stop - rows.start
        factors = random.standard_normal((n, LATENT), dtype=np.float32)
        copies, originals = np.split(random.permutation(n), [int(duplicates * n)])
        originals = random.choice(originals, len(copies))
        factors[copies] = factors[originals]
        noise = random.standard_normal((n, D), dtype=np.float32)
        X = np.maximum(factors @ mixing + np.float32(NOISE) * noise + np.float32(OFFSET), 0)
        X[copies] = X[originals] * random.uniform(1 - JITTER, 1 + JITTER, (len(copies), D))
        chance = expit(factors @ directions + bias)
        yield rows, X, sp.csr_array(random.random(chance.shape, dtype=np.float32) < chance)


def zipf_shares(N: int, L: int, tags_per_image: float) -> NDArray[np.float64]:
    """Return the share of images that have each tag (L,), descending, summing to `tags_per_image`.

    Raises
    ------
    ValueError
        So many tags an image are too many, or too few, for L tags of `FEWEST` images to `LARGEST` of them.
    """
    least = min(FEWEST / N, LARGEST)
    if not L * least <= tags_per_image <= L * LARGEST:
        raise ValueError(
            f"{tags_per_image:g} tags an image cannot be had of {L} tags; "
            f"allowed are {L * least:.2g} to {L * LARGEST:.4g}"
        )
    ranks = np.arange(1, L + 1) ** -EXPONENT
    low, high = 0.0, LARGEST / ranks[-1]  # by which Zipf's shares are multiplied before they are clipped
    for _ in range(100):
        scale = (low + high) / 2
        enough = np.clip(scale * ranks, least, LARGEST).sum() >= tags_per_image
        low, high = (low, scale) if enough else (scale, high)
    return np.clip(high * ranks, least, LARGEST)


def _biases(share: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return b such that the mean of sigmoid(SPREAD z + b), z normal, is `share`; by bisection."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(101)
    weights = weights / weights.sum()
    low, high = np.full(len(share), -60.0), np.full(len(share), 60.0)
    for _ in range(60):
        middle = (low + high) / 2
        mean = expit(SPREAD * nodes[:, None] + middle).T @ weights
        low, high = np.where(mean < share, middle, low), np.where(mean < share, high, middle)
    return ((low + high) / 2).astype(np.float32)
