"""One-vs-rest L2 logistic regression for all tags at once, by shared matrix products.

For every tag l on its own, scikit-learn's objective with an unpenalised intercept::

    f(w, b) = sum_i log(1 + exp z_i) - y_i z_i  +  |w|^2 / (2 C),      z = X w + b

X is centred (exact: the intercept is free) and rotated into the eigenbasis of its covariance (exact: the
penalty does not see rotations). There the Hessian of a tag of prevalence p is close to the diagonal
``p (1 - p) s + 1 / C`` with s the eigenvalues, which preconditions L-BFGS (Nocedal and Wright, Numerical
Optimization, 2nd ed., alg. 7.4) run on a block of tags in step: one product with X and one with its transpose
an iteration, whatever the number of tags. The line search works on cached logits and needs no product.
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import scipy.linalg
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.special import expit

from toolkit.progress import Progress, silent

Array = NDArray[np.float32]

MEMORY = 10  # pairs of steps and gradient changes L-BFGS keeps
BLOCK = 512  # tags solved in step: logits of 35,000 rows take 72 MB
TRIALS = 12  # of a line search; past them the longest step known to go down is taken
SUFFICIENT = 0.5  # a step is taken when the slope along it has fallen by this factor, or
TOO_SHORT = 0.9  # is still downhill but no longer this share of what it was
DROP_AT = 0.7  # finished tags are cut out of the products when fewer than this share are left
RANK_EPS = 1e-10  # eigenvalues below this share of the largest are rounding


@dataclass(frozen=True)
class Basis:
    """Rows in the eigenbasis of their covariance.

    Attributes
    ----------
    mean : ndarray (D,) float32
    axes : ndarray (D, R) float32
        Orthonormal columns; R is the rank, at most min(N - 1, D).
    spread : ndarray (R,) float32
        Sum of squares of each column of `rows`.
    rows : ndarray (N, R) float32
        ``(X - mean) @ axes``.
    """

    mean: Array
    axes: Array
    spread: Array
    rows: Array

    @classmethod
    def of(cls, X: Array) -> Self:
        """Rotate X (N, D) float32; the smaller of X'X and XX' is decomposed, in float64."""
        mean = X.mean(axis=0, dtype=np.float64).astype(np.float32)
        centred: NDArray[np.float64] = (X - mean).astype(np.float64)
        N, D = X.shape
        if N > D:
            spread, axes = scipy.linalg.eigh(centred.T @ centred, overwrite_a=True, check_finite=False)
        else:
            spread, left = scipy.linalg.eigh(centred @ centred.T, overwrite_a=True, check_finite=False)
            axes = centred.T @ (left / np.sqrt(np.maximum(spread, np.finfo(float).tiny)))
        kept = np.flatnonzero(spread > RANK_EPS * max(spread.max(initial=0), np.finfo(float).tiny))[::-1]
        axes = np.ascontiguousarray(axes[:, kept])
        rows = (centred @ axes).astype(np.float32)
        return cls(mean, axes.astype(np.float32), spread[kept].astype(np.float32), rows)

    def project(self, X: Array) -> Array:
        """Return further rows X (n, D) in the basis, (n, R)."""
        out: Array = np.matmul(X - self.mean, self.axes)
        return out


@dataclass
class Solution:
    """The optimum of every tag, in the basis.

    Attributes
    ----------
    params : ndarray (L, R + 1) float32
        Coefficients, then the intercept (of centred rows).
    iterations : ndarray (L,) int64
    gap : ndarray (L,) float64
        Estimated distance to the optimum's objective, as a share of it: half the squared Newton decrement, by
        the L-BFGS and by the diagonal approximation of the Hessian, whichever is larger.
    converged : ndarray (L,) bool
        Whether `gap` came down to the tolerance.
    """

    params: Array
    iterations: NDArray[np.int64]
    gap: NDArray[np.float64]
    converged: NDArray[np.bool_]

    def logits(self, rows: Array) -> Array:
        """Return the logits (n, L) of rows (n, R) in the basis."""
        out: Array = np.matmul(rows, self.params[:, :-1].T) + self.params[:, -1]
        return out


def solve(
    basis: Basis,
    Y: sp.csr_array,
    C: float,
    *,
    start: Array | None = None,
    tol: float = 1e-7,
    max_iter: int = 500,
    progress: Progress = silent,
    note: str = "",
) -> Solution:
    """Minimise the objective of each column of Y (N, L); columns must have a positive and a negative.

    Parameters
    ----------
    basis : Basis
        Of the rows X (N, D).
    start : ndarray (L, R + 1), optional
        Where to start, such as the optimum at another C; by default zero and the prevalence's logit.
    tol : float
        A tag is done when its `Solution.gap` is at most this.
    max_iter : int
        Iterations a tag, at most.
    progress : Progress
        Told the number of tags done, with `note`.
    """
    L, R = Y.shape[1], len(basis.spread)
    columns = Y.tocsc()
    support = np.diff(columns.indptr)
    out = Solution(np.empty((L, R + 1), np.float32), np.zeros(L, np.int64), np.zeros(L), np.zeros(L, bool))
    # tags of like prevalence finish together
    order = np.argsort(support, kind="stable")
    done = 0
    progress("fit logreg", done, L, note)
    for first in range(0, L, BLOCK):
        tags = order[first : first + BLOCK]
        block = _Block(basis, columns, tags, C, None if start is None else start[tags])
        for _ in range(max_iter):
            if not len(block.tags):
                break
            done += block.retire(out, tol)
            progress("fit logreg", done, L, note)
            if len(block.tags):
                block.step()
        done += block.retire(out, tol, everything=True)
        progress("fit logreg", done, L, note)
    return out


class _Block:
    """Some tags being solved in step; arrays are (tags, ...), a tag's numbers lying together."""

    def __init__(
        self, basis: Basis, columns: Any, tags: NDArray[np.intp], C: float, start: Array | None
    ) -> None:
        self.rows, self.spread, self.lam = basis.rows, basis.spread, 1 / C
        self.tags, self.iteration = tags, 0
        self._columns = columns
        n = len(self.rows)
        share = np.diff(columns.indptr)[tags] / n
        if start is None:
            self.x = np.zeros((len(tags), len(self.spread) + 1), np.float32)
            self.x[:, -1] = np.log(share / (1 - share))
        else:
            self.x = start.copy()
        self._find_positives()
        self.z = self._logits(self.x)
        self.residual = self._residual(self.z)
        # curvature at the start: for zero coefficients p (1 - p) with p the prevalence
        probability = self.residual.copy()
        probability[self._at] += 1
        curvature = np.einsum("tn,tn->t", probability, 1 - probability) / n
        weight = np.maximum(curvature, 1e-12)[:, None].astype(np.float32)
        self.scale = np.hstack([weight * self.spread + np.float32(self.lam), weight * n])  # M, (tags, R + 1)
        self.gradient = self._gradient()
        self.steps: list[Array] = []
        self.changes: list[Array] = []
        self.inverse: list[Array] = []  # 1 / (step . change), 0 where a pair is of no use

    def step(self) -> None:
        """Move every tag along its L-BFGS direction."""
        self.iteration += 1
        direction = self.direction
        slope = _dots(self.gradient, direction)
        bad = slope >= 0  # rounding near the optimum; the preconditioned gradient always goes down
        if bad.any():
            direction[bad] = -self.gradient[bad] / self.scale[bad]
            slope[bad] = _dots(self.gradient[bad], direction[bad])
        dz = self._logits(direction)
        t = self._search(dz, direction, slope)[:, None].astype(np.float32)
        moved = t * direction
        self.x += moved
        self.z += t * dz
        self.residual = self._residual(self.z)
        before, self.gradient = self.gradient, self._gradient()
        self._remember(moved, self.gradient - before)

    def retire(self, out: Solution, tol: float, *, everything: bool = False) -> int:
        """Write tags that are done to `out` and cut them out when there are many; return how many."""
        self.direction = -self._inverse_hessian_times(self.gradient)
        decrement = np.maximum(
            -_dots(self.gradient, self.direction), _dots(self.gradient, self.gradient / self.scale)
        )
        gap = decrement / 2 / np.maximum(self._objective(), np.finfo(float).tiny)
        converged = gap <= tol
        fresh = ~out.converged[self.tags] & (converged | everything)
        found = self.tags[fresh]
        out.params[found] = self.x[fresh]
        out.iterations[found] = self.iteration
        out.gap[found] = gap[fresh]
        out.converged[found] = converged[fresh]
        open_ = ~out.converged[self.tags]
        if not open_.any() or open_.mean() < DROP_AT:
            self._cut(open_)
        return int(fresh.sum())

    def _cut(self, kept: NDArray[np.bool_]) -> None:
        self.tags = self.tags[kept]
        for name in ("x", "z", "residual", "scale", "gradient", "direction"):
            setattr(self, name, getattr(self, name)[kept])
        for history in (self.steps, self.changes, self.inverse):
            history[:] = [array[kept] for array in history]
        self._find_positives()

    def _find_positives(self) -> None:
        chosen = self._columns[:, self.tags]
        of = np.repeat(np.arange(len(self.tags)), np.diff(chosen.indptr))
        self._at = (of, chosen.indices)

    def _logits(self, params: Array) -> Array:
        out: Array = params[:, :-1] @ self.rows.T
        out += params[:, -1:]
        return out

    def _residual(self, z: Array) -> Array:
        out: Array = expit(z)
        out[self._at] -= 1
        return out

    def _gradient(self) -> Array:
        out = np.empty_like(self.x)
        np.matmul(self.residual, self.rows, out=out[:, :-1])
        out[:, :-1] += np.float32(self.lam) * self.x[:, :-1]
        out[:, -1] = self.residual.sum(axis=1, dtype=np.float64)
        return out

    def _objective(self) -> NDArray[np.float64]:
        # log(1 + exp z) = max(z, 0) + log(1 + exp -|z|)
        loss = np.exp(-np.abs(self.z))
        np.log1p(loss, out=loss)
        loss += np.maximum(self.z, 0)
        loss[self._at] -= self.z[self._at]
        coefficients = self.x[:, :-1]
        fit: NDArray[np.float64] = loss.sum(axis=1, dtype=np.float64)
        return fit + self.lam / 2 * _dots(coefficients, coefficients)

    def _search(self, dz: Array, direction: Array, slope: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return a step a tag, by the slope along it: for a convex function that tells where the minimum is.

        Slopes lose no digits near the optimum, where differences of objectives drown in rounding.
        """
        coefficients, along = self.x[:, :-1], direction[:, :-1]
        linear = self.lam * _dots(coefficients, along)
        square = self.lam * _dots(along, along)
        t = np.ones(len(self.tags))
        low, high = np.zeros_like(t), np.full_like(t, np.inf)
        slope_low, slope_high = slope.copy(), np.full_like(t, np.nan)
        positives = np.bincount(self._at[0], weights=dz[self._at], minlength=len(t))
        todo = np.arange(len(t))
        for _ in range(TRIALS):
            everyone = len(todo) == len(t)
            z, change = (self.z, dz) if everyone else (self.z[todo], dz[todo])
            probability = expit(z + t[todo, None].astype(np.float32) * change)
            here = np.einsum("tn,tn->t", probability, change) - positives[todo]
            here += linear[todo] + t[todo] * square[todo]
            uphill = here > SUFFICIENT * -slope[todo]
            short = here < TOO_SHORT * slope[todo]
            high[todo[uphill]], slope_high[todo[uphill]] = t[todo[uphill]], here[uphill]
            low[todo[short]], slope_low[todo[short]] = t[todo[short]], here[short]
            todo = todo[uphill | short]
            if not len(todo):
                return t
            t[todo] = _next_step(low[todo], high[todo], slope_low[todo], slope_high[todo])
        t[todo] = low[todo]
        return t

    def _remember(self, step: Array, change: Array) -> None:
        product = _dots(step, change)
        usable = product > 1e-10 * np.sqrt(_dots(step, step) * _dots(change, change))
        inverse = np.zeros_like(product)
        np.divide(1, product, out=inverse, where=usable)
        for history, new in ((self.steps, step), (self.changes, change), (self.inverse, inverse[:, None])):
            history.append(new.astype(np.float32))
            del history[:-MEMORY]

    def _inverse_hessian_times(self, vector: Array) -> Array:
        """Return the L-BFGS approximation's product, (tags, R + 1); its core is 1 / `scale`, rescaled."""
        out = vector.copy()
        pairs = list(zip(self.steps, self.changes, self.inverse, strict=True))
        alphas = []
        for step, change, inverse in reversed(pairs):
            alpha = inverse * _dots(step, out)[:, None].astype(np.float32)
            out -= alpha * change
            alphas.append(alpha)
        core: Array = np.reciprocal(self.scale)
        if pairs:
            step, change, inverse = pairs[-1]
            length = _dots(change, change * core)
            factor = np.where(inverse[:, 0] > 0, 1 / np.maximum(inverse[:, 0] * length, 1e-30), 1)
            core *= factor[:, None].astype(np.float32)
        out *= core
        for (step, change, inverse), alpha in zip(pairs, reversed(alphas), strict=True):
            beta = inverse * _dots(change, out)[:, None].astype(np.float32)
            out += (alpha - beta) * step
        return out


def _dots(a: Array, b: Array) -> NDArray[np.float64]:
    """Return the dot product of each pair of rows."""
    out: NDArray[np.float64] = np.einsum("tr,tr->t", a, b).astype(np.float64)
    return out


def _next_step(
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    slope_low: NDArray[np.float64],
    slope_high: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return where the slope should vanish: inside the bracket by the secant, or four times as far."""
    out = 4 * low
    inside = np.isfinite(high)
    width = high[inside] - low[inside]
    share = slope_low[inside] / (slope_low[inside] - slope_high[inside])
    out[inside] = low[inside] + np.clip(share, 0.1, 0.9) * width
    return out
