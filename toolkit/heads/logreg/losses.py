"""Everything about the logistic losses of a block of tags that goes through all logits, and nothing else.

It is done in tiles of a few tags, so that temporaries stay in the cache: over (tags, N) at once each of some
twenty elementwise operations would go through main memory.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolkit.heads.logreg.arrays import Arrays, Tensor

Vector = NDArray[np.float64]

TRIALS = 12  # of a line search; past them the longest step known to go down is taken
SUFFICIENT = 0.5  # a step is taken when the slope along it has fallen by this factor, or
TOO_SHORT = 0.9  # is still downhill but no longer this share of what it was


@dataclass
class Point:
    """Where some tags stand; all (tags,) float64.

    Attributes
    ----------
    loss : ndarray
        Sum over rows of ``log(1 + exp z) - y z``.
    residual : ndarray
        Sum of ``p - y``: the intercept's gradient.
    step : ndarray
        How far along the direction it lies.
    """

    loss: Vector
    residual: Vector
    step: Vector

    @classmethod
    def empty(cls, tags: int) -> "Point":
        """Return a point for so many tags, to be filled in."""
        return cls(*np.empty((3, tags)))


class Losses:
    """The losses of some tags, given the rows that have each.

    Parameters
    ----------
    positives : CSC (N, tags)
    arrays : Arrays
        Of the logits given later.
    """

    def __init__(self, positives: Any, arrays: Arrays) -> None:
        self.N = positives.shape[0]
        self.arrays = arrays
        self._ends = positives.indptr
        tags = np.repeat(np.arange(positives.shape[1]), np.diff(positives.indptr))
        self._tags = tags
        self._flat = arrays.put(tags * self.N + positives.indices.astype(np.int64))  # in a flat (tags, N)

    def _tiles(self) -> Iterator[tuple[slice, NDArray[np.intp], Tensor]]:
        """Yield slices of tags, and of their positives the tag within the slice and the place in the tile."""
        size = max(1, self.arrays.tile // self.N)
        count = len(self._ends) - 1
        for first in range(0, count, size):
            last = min(first + size, count)
            part = slice(self._ends[first], self._ends[last])
            yield slice(first, last), self._tags[part] - first, self._flat[part] - first * self.N

    def at(self, z: Tensor) -> tuple[Tensor, Point, Vector]:
        """Return the residuals (tags, N) at logits z, where that is, and the mean curvature ``p (1 - p)``."""
        residual = self.arrays.empty(*z.shape)
        point, curvature = Point.empty(len(z)), np.empty(len(z))
        for tags, of, flat in self._tiles():
            probability, loss = self._logistic(z[tags])
            curvature[tags] = self._dots(probability, 1 - probability) / self.N
            residual[tags] = probability
            point.loss[tags] = loss - self._gather(z[tags], of, flat)
            point.residual[tags] = self._subtract(residual[tags], flat)
        point.step[:] = 0
        return residual, point, curvature

    def search(self, z: Tensor, dz: Tensor, slope: Vector, linear: Vector, square: Vector) -> Point:
        """Move z (tags, N) along dz to where the objective is nearly least, and put the residuals into dz.

        The penalty's slope along the way is ``linear + t square``; `slope` (tags,) is the whole objective's
        at t = 0. The search goes by slopes: for a convex function they tell where the minimum is, and near
        the optimum they lose no digits, where differences of objectives drown in rounding.
        """
        out = Point.empty(len(z))
        for tags, of, flat in self._tiles():
            bracket = _Bracket(slope[tags], linear[tags] - self._gather(dz[tags], of, flat), square[tags])
            out.loss[tags] = self._search_tile(z[tags], dz[tags], bracket)
            out.loss[tags] -= self._gather(z[tags], of, flat)
            out.residual[tags] = self._subtract(dz[tags], flat)
            out.step[tags] = bracket.t
        return out

    def _search_tile(self, z: Tensor, dz: Tensor, bracket: "_Bracket") -> Vector:
        """Move z, put probabilities into dz and return the sums of ``log(1 + exp z)``, (tags,)."""
        put, loss = self.arrays.put, np.empty(len(z))
        todo = np.arange(len(z))
        while len(todo):
            # a slice, not an index array, where it can be: no copies
            chosen = slice(None) if len(todo) == len(z) else put(todo)
            change = dz[chosen]
            moved = put(bracket.t[todo, None].astype(np.float32)) * change
            moved += z[chosen]
            probability, losses = self._logistic(moved)
            again = bracket.narrow(todo, self._dots(probability, change))
            settled = todo[~again]
            if len(settled) == len(z):
                z[...], dz[...] = moved, probability
            elif len(settled):
                kept = put(~again)
                z[put(settled)], dz[put(settled)] = moved[kept], probability[kept]
            loss[settled] = losses[~again]
            todo = todo[again]
        return loss

    def _logistic(self, z: Tensor) -> tuple[Tensor, Vector]:
        """Return the probabilities (tags, N) and the sums (tags,) of ``log(1 + exp z)``."""
        xp = self.arrays.xp
        small = xp.exp(-xp.abs(z))  # never overflows; both come from it
        # log(1 + exp z) = max(z, 0) + log(1 + exp -|z|)
        losses = xp.log1p(small)
        losses += xp.clip(z, 0, None)
        total = self._host(losses.sum(axis=1))
        probability = xp.where(z >= 0, 1, small)
        small += 1
        probability /= small
        return probability, total

    def _dots(self, a: Tensor, b: Tensor) -> Vector:
        return self._host(self.arrays.xp.einsum("tn,tn->t", a, b))

    def _gather(self, z: Tensor, of: NDArray[np.intp], flat: Tensor) -> Vector:
        """Return the sum of z over each tag's positives."""
        found = self._host(z.reshape(-1)[flat])
        return np.bincount(of, weights=found, minlength=len(z)).astype(np.float64)

    def _subtract(self, probability: Tensor, flat: Tensor) -> Vector:
        """Take 1 from the positives' probabilities in place; return the sums of what results."""
        probability.reshape(-1)[flat] -= 1
        return self._host(probability.sum(axis=1, dtype=self.arrays.xp.float64))

    def _host(self, values: Tensor) -> Vector:
        out: Vector = self.arrays.get(values).astype(np.float64)
        return out


class _Bracket:
    """Steps being tried, a tag each, and between which steps the slope along the direction vanishes."""

    def __init__(self, slope: Vector, linear: Vector, square: Vector) -> None:
        self.t = np.ones(len(slope))
        self._start, self._linear, self._square = slope, linear, square
        self._low, self._high = np.zeros(len(slope)), np.full(len(slope), np.inf)
        self._slope_low, self._slope_high = slope.copy(), np.full(len(slope), np.nan)
        self._trials = 0

    def narrow(self, todo: NDArray[np.intp], fit: Vector) -> NDArray[np.bool_]:
        """Judge the steps `todo` by the data's part of their slopes; return which are to be tried again."""
        self._trials += 1
        if self._trials > TRIALS:
            return np.zeros(len(todo), bool)
        here = fit + self._linear[todo] + self.t[todo] * self._square[todo]
        uphill = here > SUFFICIENT * -self._start[todo]
        short = here < TOO_SHORT * self._start[todo]
        high, low = todo[uphill], todo[short]
        self._high[high], self._slope_high[high] = self.t[high], here[uphill]
        self._low[low], self._slope_low[low] = self.t[low], here[short]
        again: NDArray[np.bool_] = uphill | short
        left = todo[again]
        self.t[left] = self._low[left] if self._trials == TRIALS else self._next(left)
        return again

    def _next(self, left: NDArray[np.intp]) -> Vector:
        """Return where the slope should vanish: inside the bracket by the secant, or four times as far."""
        low, high = self._low[left], self._high[left]
        down, up = self._slope_low[left], self._slope_high[left]
        out: Vector = 4 * low
        inside = np.isfinite(high)
        share = down[inside] / (down[inside] - up[inside])
        out[inside] = low[inside] + np.clip(share, 0.1, 0.9) * (high - low)[inside]
        return out
