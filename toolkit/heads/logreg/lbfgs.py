"""L-BFGS for many tags in step (Nocedal and Wright, Numerical Optimization, 2nd ed., algorithm 7.4)."""

import numpy as np

from toolkit.heads.logreg.arrays import Arrays, DeviceArray

MEMORY = 10  # pairs of steps and gradient changes kept


class History:
    """An approximate Hessian: the last steps and changes of the gradient, all (tags, P) float32.

    `scale` (tags, P) is its positive diagonal approximation.
    """

    def __init__(self, scale: DeviceArray, arrays: Arrays) -> None:
        self.arrays, self.scale = arrays, scale
        self._steps: list[DeviceArray] = []
        self._changes: list[DeviceArray] = []
        self._inverse: list[DeviceArray] = []  # 1 / (step . change), (tags, 1); 0 for an unusable pair

    def remember(self, step: DeviceArray, change: DeviceArray) -> None:
        """Add a pair and drop the oldest beyond `MEMORY`."""
        dots = self.arrays.dots
        product = dots(step, change)
        usable = product > 1e-10 * np.sqrt(dots(step, step) * dots(change, change))
        usable &= product > np.finfo(np.float32).tiny  # of a smaller one the inverse overflows
        inverse = np.zeros_like(product)
        np.divide(1, product, out=inverse, where=usable)
        column = self.arrays.put(inverse[:, None].astype(np.float32))
        for history, new in ((self._steps, step), (self._changes, change), (self._inverse, column)):
            history.append(new)
            del history[:-MEMORY]

    def keep(self, kept: DeviceArray) -> None:
        """Drop the tags that a mask (tags,) does not keep."""
        self.scale = self.scale[kept]
        for history in (self._steps, self._changes, self._inverse):
            history[:] = [array[kept] for array in history]

    def newton(self, gradient: DeviceArray) -> DeviceArray:
        """Return minus the approximate inverse Hessian times the gradient, (tags, P)."""
        out = self.arrays.empty(*gradient.shape)
        size = max(1, self.arrays.tile // gradient.shape[1])
        for first in range(0, len(gradient), size):
            tags = slice(first, first + size)
            out[tags] = -self._times(gradient[tags], tags)
        return out

    def _times(self, vector: DeviceArray, tags: slice) -> DeviceArray:
        """Return the product for some tags; it starts from 1 / `scale`, rescaled by the last pair."""
        xp = self.arrays.xp
        pairs = [
            (step[tags], change[tags], inverse[tags])
            for step, change, inverse in zip(self._steps, self._changes, self._inverse, strict=True)
        ]
        out = vector + 0
        alphas = []
        for step, change, inverse in reversed(pairs):
            alpha = inverse * xp.einsum("tp,tp->t", step, out)[:, None]
            out -= alpha * change
            alphas.append(alpha)
        core = 1 / self.scale[tags]
        if pairs:
            step, change, inverse = pairs[-1]
            length = xp.einsum("tp,tp->t", change, change * core)[:, None]
            core *= xp.where(inverse > 0, 1 / xp.clip(inverse * length, 1e-30, None), 1)
        out *= core
        for (step, change, inverse), alpha in zip(pairs, reversed(alphas), strict=True):
            beta = inverse * xp.einsum("tp,tp->t", change, out)[:, None]
            out += (alpha - beta) * step
        return out
