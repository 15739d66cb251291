"""One-vs-rest L2 logistic regression for all tags at once, by shared matrix products.

The objective of each tag is scikit-learn's, with an unpenalised intercept::

    f(w, b) = sum_i log(1 + exp z_i) - y_i z_i  +  |w|^2 / (2 C),      z = X w + b

X is centred (exact: the intercept is free) and rotated into the eigenbasis of its covariance (exact: the
penalty is invariant under rotations). There the Hessian of a tag of prevalence p is close to the diagonal
``p (1 - p) s + 1 / C`` with s the eigenvalues. It preconditions L-BFGS, run on a block of tags in step: each
iteration takes one product with X and one with its transpose, whatever the number of tags. The line search
works on cached logits and needs no product.

Arrays with one number for each tag are numpy's, in float64; larger ones are those of `CentredRows.arrays`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from toolkit.arrays.types import BoolArray, Float32Array, Float64Array, Int64Array, RowNumbers
from toolkit.heads.logreg.arrays import DeviceArray
from toolkit.heads.logreg.lbfgs import MEMORY, History
from toolkit.heads.logreg.losses import Losses, Point
from toolkit.heads.logreg.rows import CentredRows
from toolkit.runtime.progress import Progress, silent

BLOCK = 512  # tags solved in step, at most
BUDGET = 2**30  # bytes of all arrays of a block: at a million rows 126 tags
DROP_AT = 0.9  # solved tags are dropped from the products when fewer than this share are left


@dataclass
class Solution:
    """The optimum of every tag, in the basis."""

    params: Float32Array  # (L, R + 1): coefficients, then the intercept, for centred rows
    iterations: Int64Array  # (L,)
    gap: Float64Array
    """Estimated distance (L,) to the optimum's objective, as a share of it.

    It is half the squared Newton decrement, by the L-BFGS or the diagonal Hessian, whichever is larger.
    """
    converged: BoolArray  # (L,): whether the gap is at most the tolerance


def solve(
    rows: CentredRows,
    Y: sp.csr_array,
    C: float,
    start: Float32Array | None = None,
    *,
    tol: float = 1e-7,
    max_iter: int = 500,
    progress: Progress = silent,
) -> Solution:
    """Minimise the objective of each column of Y (N, L); columns must have a positive and a negative.

    `start` (L, R + 1), for R axes of the basis, may be the optimum at another C; by default it is zeros and
    the prevalence's logit. Each tag is solved to a gap of at most `tol`, in at most `max_iter` iterations.
    """
    L, R = Y.shape[1], len(rows.basis.spread)
    columns = Y.tocsc()
    out = Solution(np.empty((L, R + 1), np.float32), np.zeros(L, np.int64), np.zeros(L), np.zeros(L, bool))
    # tags of similar prevalence converge together
    order = np.argsort(np.diff(columns.indptr), kind="stable")
    size, solved, note = tags_at_once(rows.N, R), 0, f"C {C:.3g}"
    progress("fit logreg", solved, L, note)
    with rows.arrays.exact():
        for first in range(0, L, size):
            tags = order[first : first + size]
            block = _Block(rows, columns, tags, C, None if start is None else start[tags])
            while len(block.tags):
                solved += block.retire(out, tol, everything=block.iteration == max_iter)
                progress("fit logreg", solved, L, note)
                if len(block.tags):
                    block.step()
    return out


def tags_at_once(N: int, R: int) -> int:
    """Return the number of tags in a block for N rows and R axes: at most `BLOCK`, within `BUDGET`."""
    # logits and residuals; history, parameters, gradient, direction, their successors and scale
    a_tag = 4 * (2 * N + (2 * MEMORY + 8) * (R + 1))
    return max(1, min(BLOCK, BUDGET // a_tag))


class _Block:
    """Tags solved in step; arrays are (tags, ...)."""

    def __init__(
        self, rows: CentredRows, columns: Any, tags: RowNumbers, C: float, start: Float32Array | None
    ) -> None:
        self.rows, self.arrays, self.lam = rows, rows.arrays, 1 / C
        self.tags, self.iteration = tags, 0
        self._columns = columns
        self.losses = Losses(columns[:, tags], self.arrays)
        if start is None:
            share = np.diff(columns.indptr)[tags] / rows.N
            first = np.zeros((len(tags), len(rows.basis.spread) + 1), np.float32)
            first[:, -1] = np.log(share / (1 - share))
            self.x = self.arrays.put(first)
            self.z = self.arrays.empty(len(tags), rows.N)
            self.z[...] = self.x[:, -1:]
        else:
            self.x = self.arrays.put(start)
            self.z = self._logits(self.x)
        residual, self.point, curvature = self.losses.at(self.z)
        self.history = History(self._scale(curvature), self.arrays)
        self.gradient = self._gradient(residual)

    def _scale(self, curvature: Float64Array) -> DeviceArray:
        """Return the Hessian's diagonal (tags, R + 1) if all rows had this mean curvature (tags,)."""
        weight = np.maximum(curvature, 1e-12)[:, None].astype(np.float32)
        spread = weight * self.rows.basis.spread + np.float32(self.lam)
        return self.arrays.put(np.hstack([spread, weight * self.rows.N]))

    def step(self) -> None:
        """Move every tag along its L-BFGS direction."""
        self.iteration += 1
        direction, dots = self.direction, self.arrays.dots
        slope = dots(self.gradient, direction)
        bad = slope >= 0  # by rounding near the optimum; the preconditioned gradient always descends
        if bad.any():
            chosen = self.arrays.put(bad)
            direction[chosen] = -self.gradient[chosen] / self.history.scale[chosen]
            slope[bad] = dots(self.gradient[chosen], direction[chosen])
        dz = self._logits(direction)
        linear = self.lam * dots(self.x[:, :-1], direction[:, :-1])
        square = self.lam * dots(direction[:, :-1], direction[:, :-1])
        self.point = self.losses.search(self.z, dz, slope, linear, square)
        direction *= self.arrays.put(self.point.step[:, None].astype(np.float32))
        self.x += direction
        before, self.gradient = self.gradient, self._gradient(dz)
        self.history.remember(direction, self.gradient - before)

    def retire(self, out: Solution, tol: float, *, everything: bool = False) -> int:
        """Write solved tags to `out`, drop them if they are many, and return their number."""
        dots = self.arrays.dots
        self.direction = self.history.newton(self.gradient)
        decrement = np.maximum(
            -dots(self.gradient, self.direction), dots(self.gradient, self.gradient / self.history.scale)
        )
        objective = self.point.loss + self.lam / 2 * dots(self.x[:, :-1], self.x[:, :-1])
        gap = decrement / 2 / np.maximum(objective, np.finfo(float).tiny)
        converged = gap <= tol
        fresh = ~out.converged[self.tags] & (converged | everything)
        tags = self.tags[fresh]
        out.params[tags] = self.arrays.get(self.x[self.arrays.put(fresh)])
        out.iterations[tags] = self.iteration
        out.gap[tags] = gap[fresh]
        out.converged[tags] = converged[fresh]
        left = ~out.converged[self.tags] & (not everything)
        if left.mean() < DROP_AT:
            self._keep(left)
        return int(fresh.sum())

    def _keep(self, left: BoolArray) -> None:
        self.tags = self.tags[left]
        self.losses = Losses(self._columns[:, self.tags], self.arrays)
        self.point = Point(self.point.loss[left], self.point.residual[left], self.point.step[left])
        kept = self.arrays.put(left)
        for name in ("x", "z", "gradient", "direction"):
            setattr(self, name, getattr(self, name)[kept])
        self.history.keep(kept)

    def _logits(self, params: DeviceArray) -> DeviceArray:
        out = self.rows.logits(params[:, :-1])
        out += params[:, -1:]
        return out

    def _gradient(self, residual: DeviceArray) -> DeviceArray:
        out = self.arrays.empty(*self.x.shape)
        out[:, :-1] = self.rows.gradient(residual)
        out[:, :-1] += self.lam * self.x[:, :-1]
        out[:, -1] = self.arrays.put(self.point.residual)
        return out
