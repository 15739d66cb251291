"""Is a fast precision faithful to fp32? Measured on the very weights, on pictures the toolkit draws."""

import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolkit.backbones.base import Pixels, Rows
from toolkit.images.drawn import draw_picture

logger = logging.getLogger(__name__)

PICTURES = 32
# of the pictures' cosines to fp32: the F1 of every head then moves by less than .2 points
LEAST_MEAN, LEAST_WORST = 0.9995, 0.998


@dataclass(frozen=True)
class Fidelity:
    """Cosines between embeddings of the same pictures in two precisions: their mean and the least."""

    mean: float
    worst: float

    @property
    def faithful(self) -> bool:
        """Whether the fast one may stand for fp32."""
        return self.mean >= LEAST_MEAN and self.worst >= LEAST_WORST

    def __str__(self) -> str:
        return f"cosine to fp32 {self.mean:.5f} in the mean, {self.worst:.5f} at the worst"


def fidelity(rows: Rows, reference: Rows) -> Fidelity:
    """Compare rows (N, D) with those of the same pictures in fp32."""
    found = cosines(rows, reference)
    return Fidelity(float(found.mean()), float(found.min()))


def cosines(rows: Rows, reference: Rows) -> NDArray[np.float64]:
    """Return the cosine of each row (N, D) to its reference, (N,) float64; 0 where one of them is 0."""
    a, b = rows.astype(np.float64), reference.astype(np.float64)
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    products = np.einsum("ij,ij->i", a, b)
    out: NDArray[np.float64] = np.zeros_like(products)
    np.divide(products, norms, out=out, where=norms > 0)
    return out


def check(
    make: Callable[[str], Callable[[Pixels], Rows]],
    precision: str,
    side: int,
    *,
    remember: Path,
    what: str,
    network: dict[str, str],
) -> Fidelity:
    """Compare `precision` with fp32 on drawn pictures, once: the folder `remember` keeps what was found.

    Parameters
    ----------
    make : callable
        Given a precision, returns what turns pixels (B, `side`, `side`, 3) uint8 into rows.
    remember : Path
        Need not exist, nor be writable.
    what : str
        Engine, processor and whatever else decides the result, beside what `remember` stands for.
    network : dict of str
        ``backbone`` and ``weights``, kept with the result for people to read.
    """
    path = remember / f"fidelity-{precision}-{hashlib.sha256(what.encode()).hexdigest()[:8]}.json"
    try:
        known = _read(path)
        return Fidelity(known["mean"], known["worst"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        logger.debug("%s is to be measured for %s: %s", precision, what, error)
    parts = [np.stack([sample(first + place, side) for place in range(4)]) for first in range(0, PICTURES, 4)]
    rows, reference = (np.concatenate([*map(make(name), parts)]) for name in (precision, "fp32"))
    found = fidelity(rows, reference)
    try:
        remember.mkdir(parents=True, exist_ok=True)
        document = {"precision": precision, **asdict(found), "what": what, **network}
        path.write_text(json.dumps(document) + "\n", encoding="utf-8")
    except OSError as error:
        logger.debug("the fidelity of %s cannot be remembered: %s", what, error)
    return found


def sample(seed: int, side: int) -> Pixels:
    """Draw one picture, (side, side, 3) uint8."""
    picture, _ = draw_picture(np.random.default_rng(seed), (side, side))
    return np.asarray(picture)


def measured(folder: Path) -> list[dict[str, Any]]:
    """Return what `check` remembered in `folder`, with ``faithful``.

    Raises
    ------
    OSError, ValueError, KeyError, TypeError
        It is damaged, or of an earlier version.
    """
    documents = [_read(path) for path in sorted(folder.glob("fidelity-*.json"))]
    return [one | {"faithful": Fidelity(one["mean"], one["worst"]).faithful} for one in documents]


def _read(path: Path) -> dict[str, Any]:
    document = json.loads(path.read_text(encoding="utf-8"))
    return {name: document[name] for name in ("precision", "mean", "worst", "what", "backbone", "weights")}
