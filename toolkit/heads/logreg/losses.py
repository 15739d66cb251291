"""Logistic loss and line search of a block of tags, computed in tiles.

A tile holds a few tags, so that the temporaries of some twenty elementwise operations stay in the cache.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from toolkit.arrays.types import BoolArray, Float64Array, RowNumbers
from toolkit.heads.logreg.arrays import Arrays, DeviceArray

TRIALS = 12  # of a line search; after them the longest step that still ended downhill is taken
SUFFICIENT = 0.5  # a step is too long if it ends uphill, steeper than this share of the slope at its start
TOO_SHORT = 0.9  # and too short if it ends downhill, steeper than this share


@dataclass
class Point:
    """The state of some tags after a step, all (tags,)."""

    loss: Float64Array  # sum over rows of log(1 + exp z) - y z
    residual: Float64Array  # sum of p - y: the intercept's gradient
    step: Float64Array  # as a multiple of the direction


class Losses:
    """The losses of some tags, the columns of `positives` CSC (N, tags)."""

    def __init__(self, positives: Any, arrays: Arrays) -> None:
        self.N = positives.shape[0]
        self.arrays = arrays
        self._ends = positives.indptr
        self._tags = np.repeat(np.arange(positives.shape[1]), np.diff(positives.indptr))
        self._flat = arrays.put(self._tags * self.N + positives.indices.astype(np.int64))  # in (tags, N)

    def _tiles(self) -> Iterator[tuple[slice, RowNumbers, DeviceArray]]:
        """Yield slices of tags, with the tag in the slice and the place in the tile of each positive."""
        size = max(1, self.arrays.tile // self.N)
        count = len(self._ends) - 1
        for first in range(0, count, size):
            last = min(first + size, count)
            part = slice(self._ends[first], self._ends[last])
            yield slice(first, last), self._tags[part] - first, self._flat[part] - first * self.N

    def at(self, z: DeviceArray) -> tuple[DeviceArray, Point, Float64Array]:
        """Return residuals (tags, N) at logits z, the point, and the mean curvature ``p (1 - p)``."""
        residual = self.arrays.empty(*z.shape)
        point, curvature = Point(*np.zeros((3, len(z)))), np.empty(len(z))
        for tags, of, flat in self._tiles():
            probability, loss = self._logistic(z[tags])
            curvature[tags] = self.arrays.dots(probability, 1 - probability) / self.N
            residual[tags] = probability
            point.loss[tags] = loss - self._gather(z[tags], of, flat)
            point.residual[tags] = self._subtract(residual[tags], flat)
        return residual, point, curvature

    def search(
        self, z: DeviceArray, dz: DeviceArray, slope: Float64Array, linear: Float64Array, square: Float64Array
    ) -> Point:
        """Move z (tags, N) along dz to nearly the least objective, and put the residuals into dz.

        The penalty's slope after a step t is ``linear + t square``; `slope` (tags,) is the whole objective's
        at t = 0. The search compares slopes, whose sign shows the side of a convex function's minimum:
        differences of objectives near the optimum would be lost in rounding.
        """
        out = Point(*np.zeros((3, len(z))))
        for tags, of, flat in self._tiles():
            bracket = _Bracket(slope[tags], linear[tags] - self._gather(dz[tags], of, flat), square[tags])
            out.loss[tags] = self._search_tile(z[tags], dz[tags], bracket)
            out.loss[tags] -= self._gather(z[tags], of, flat)
            out.residual[tags] = self._subtract(dz[tags], flat)
            out.step[tags] = bracket.t
        return out

    def _search_tile(self, z: DeviceArray, dz: DeviceArray, bracket: "_Bracket") -> Float64Array:
        """Move z, put probabilities into dz and return the sums of ``log(1 + exp z)``, (tags,)."""
        put, loss = self.arrays.put, np.empty(len(z))
        todo = np.arange(len(z))
        while len(todo):
            # for all tags a slice: no copies
            chosen = slice(None) if len(todo) == len(z) else put(todo)
            change = dz[chosen]
            moved = put(bracket.t[todo, None].astype(np.float32)) * change
            moved += z[chosen]
            probability, losses = self._logistic(moved)
            again = bracket.narrow(todo, self.arrays.dots(probability, change))
            settled = todo[~again]
            if len(settled) == len(z):
                z[...], dz[...] = moved, probability
            elif len(settled):
                kept = put(~again)
                z[put(settled)], dz[put(settled)] = moved[kept], probability[kept]
            loss[settled] = losses[~again]
            todo = todo[again]
        return loss

    def _logistic(self, z: DeviceArray) -> tuple[DeviceArray, Float64Array]:
        """Return the probabilities (tags, N) and the sums (tags,) of ``log(1 + exp z)``."""
        xp = self.arrays.xp
        small = xp.exp(-xp.abs(z))  # never overflows
        # log(1 + exp z) = max(z, 0) + log(1 + exp -|z|)
        losses = xp.log1p(small)
        losses += xp.clip(z, 0, None)
        total = self._host(losses.sum(axis=1))
        probability = xp.where(z >= 0, 1, small)
        small += 1
        probability /= small
        return probability, total

    def _gather(self, z: DeviceArray, of: RowNumbers, flat: DeviceArray) -> Float64Array:
        """Return the sum of z over each tag's positives."""
        values = self._host(z.reshape(-1)[flat])
        return np.bincount(of, weights=values, minlength=len(z)).astype(np.float64)

    def _subtract(self, probability: DeviceArray, flat: DeviceArray) -> Float64Array:
        """Subtract 1 from the positives' probabilities in place; return the sums (tags,) of the result."""
        probability.reshape(-1)[flat] -= 1
        return self._host(probability.sum(axis=1, dtype=self.arrays.xp.float64))

    def _host(self, values: DeviceArray) -> Float64Array:
        return self.arrays.get(values).astype(np.float64)


class _Bracket:
    """The step being tried for each tag, and the interval of steps in which the slope becomes 0."""

    def __init__(self, slope: Float64Array, linear: Float64Array, square: Float64Array) -> None:
        self.t = np.ones(len(slope))
        self._start, self._linear, self._square = slope, linear, square
        self._low, self._high = np.zeros(len(slope)), np.full(len(slope), np.inf)
        self._slope_low, self._slope_high = slope.copy(), np.full(len(slope), np.nan)
        self._trials = 0

    def narrow(self, todo: RowNumbers, fit: Float64Array) -> BoolArray:
        """Check the steps of tags `todo` by the data's part of their slopes; return which to try again."""
        self._trials += 1
        if self._trials > TRIALS:
            return np.zeros(len(todo), bool)
        here = fit + self._linear[todo] + self.t[todo] * self._square[todo]
        uphill = here > SUFFICIENT * -self._start[todo]
        short = here < TOO_SHORT * self._start[todo]
        high, low = todo[uphill], todo[short]
        self._high[high], self._slope_high[high] = self.t[high], here[uphill]
        self._low[low], self._slope_low[low] = self.t[low], here[short]
        again: BoolArray = uphill | short
        left = todo[again]
        self.t[left] = self._low[left] if self._trials == TRIALS else self._next(left)
        return again

    def _next(self, left: RowNumbers) -> Float64Array:
        """Return the next steps to try: by the secant in the interval, or four times as long."""
        low, high = self._low[left], self._high[left]
        down, up = self._slope_low[left], self._slope_high[left]
        out: Float64Array = 4 * low
        inside = np.isfinite(high)
        share = down[inside] / (down[inside] - up[inside])
        out[inside] = low[inside] + np.clip(share, 0.1, 0.9) * (high - low)[inside]
        return out
