"""Fidelity of a fast precision to fp32, measured with the weights in use on drawn pictures."""

import hashlib
import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, TypedDict

import numpy as np
from msgspec import Meta

from toolkit.arrays.types import Float32Array, Float64Array, Pixels
from toolkit.backbones.base import LoadedNetwork
from toolkit.files.json import read_json, write_json
from toolkit.images.drawn import draw_picture

logger = logging.getLogger(__name__)

Cosine = Annotated[float, Meta(ge=-1.001, le=1.001)]  # rounding may pass 1
PICTURES = 32
# cosines to fp32; the F1 of every head then changes by less than .2 points
LEAST_MEAN, LEAST_WORST = 0.9995, 0.998


class Measured(TypedDict):
    """What `check` keeps of a measurement."""

    precision: str
    mean: Cosine
    worst: Cosine
    what: str
    backbone: str
    weights: str


@dataclass(frozen=True)
class Fidelity:
    """Cosines between embeddings of the same pictures in two precisions: their mean and the least."""

    mean: float
    worst: float

    @property
    def faithful(self) -> bool:
        """Whether the fast precision may replace fp32."""
        return self.mean >= LEAST_MEAN and self.worst >= LEAST_WORST

    def __str__(self) -> str:
        return f"cosine to fp32 {self.mean:.5f} in the mean, {self.worst:.5f} at the worst"


def fidelity(rows: Float32Array, reference: Float32Array) -> Fidelity:
    """Compare rows (N, D) with those of the same pictures in fp32."""
    values = cosines(rows, reference)
    return Fidelity(float(values.mean()), float(values.min()))


def cosines(rows: Float32Array, reference: Float32Array) -> Float64Array:
    """Return the cosine (N,) of each row (N, D) to its reference; 0 if one of them is 0."""
    a, b = rows.astype(np.float64), reference.astype(np.float64)
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    products = np.einsum("ij,ij->i", a, b)
    out: Float64Array = np.zeros_like(products)
    np.divide(products, norms, out=out, where=norms > 0)
    return out


def check(network: LoadedNetwork, precision: str) -> Fidelity:
    """Compare `precision` with fp32 on drawn pictures, once; the result is kept in the network's folder."""
    side = network.preprocessing.recipe.crop_size
    setting = f"{network.options.engine} on {network.processor} at {side}"
    path = network.folder / f"fidelity-{precision}-{hashlib.sha256(setting.encode()).hexdigest()[:8]}.json"
    try:
        known = read_json(path, Measured)
        return Fidelity(known["mean"], known["worst"])
    except (OSError, ValueError) as error:
        logger.debug("the fidelity of %s is not known for %s: %s", precision, setting, error)
    parts = [np.stack([sample(first + place, side) for place in range(4)]) for first in range(0, PICTURES, 4)]
    rows, reference = (
        np.concatenate([*map(network.start(name).forward, parts)]) for name in (precision, "fp32")
    )
    measurement = fidelity(rows, reference)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        names = {"backbone": network.options.backbone, "weights": network.options.weights}
        write_json(path, {"precision": precision, **asdict(measurement), "what": setting, **names})
    except OSError as error:
        logger.debug("the fidelity of %s cannot be kept: %s", setting, error)
    return measurement


def sample(seed: int, side: int) -> Pixels:
    """Draw one picture (side, side, 3)."""
    picture, _ = draw_picture(np.random.default_rng(seed), (side, side))
    return np.asarray(picture)


def measured(folder: Path) -> list[dict[str, Any]]:
    """Return the results that `check` kept in `folder`, with ``faithful``.

    A damaged one raises `OSError` or `ValueError`.
    """
    documents = [read_json(path, Measured) for path in sorted(folder.glob("fidelity-*.json"))]
    return [{**one, "faithful": Fidelity(one["mean"], one["worst"]).faithful} for one in documents]
