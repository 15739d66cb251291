"""Arrays of the one-vs-rest solver: numpy's on the CPU, torch's on a CUDA GPU.

The solver uses what numpy and torch have in common: ``xp.exp``, ``xp.einsum``, indexing, arithmetic in place.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolkit.arrays.types import Float64Array
from toolkit.runtime.devices import resolve_device

DeviceArray = Any  # an array of numpy, or of torch on the device


class Arrays:
    """Numpy's arrays."""

    xp: Any = np
    tile = 2**18  # numbers processed at once: temporaries of 1 MB stay in the cache

    def put(self, array: NDArray[Any]) -> DeviceArray:
        """Return a numpy array on the device; memory may be shared."""
        return array

    def get(self, array: DeviceArray) -> NDArray[Any]:
        """Return a device array as numpy's; memory may be shared."""
        return np.asarray(array)

    def empty(self, *shape: int) -> DeviceArray:
        """Return an uninitialised float32 array."""
        return np.empty(shape, np.float32)

    def dots(self, a: DeviceArray, b: DeviceArray) -> Float64Array:
        """Return the dot product of each pair of rows, (n,), in numpy."""
        return self.get(self.xp.einsum("nd,nd->n", a, b)).astype(np.float64)

    def exact(self) -> AbstractContextManager[None]:
        """Return a context in which float32 products are not rounded to fewer digits, as torch may do."""
        return nullcontext()


class TorchArrays(Arrays):
    """Torch's arrays on one of its devices."""

    tile = 2**40  # all numbers at once: a GPU needs few, large kernels

    def __init__(self, device: str) -> None:
        import torch

        self.xp = torch
        self.device = torch.device(device)

    def put(self, array: NDArray[Any]) -> DeviceArray:
        """See `Arrays`."""
        return self.xp.asarray(array, device=self.device)

    def get(self, array: DeviceArray) -> NDArray[Any]:
        """See `Arrays`."""
        return np.asarray(array.cpu())

    def empty(self, *shape: int) -> DeviceArray:
        """See `Arrays`."""
        return self.xp.empty(shape, dtype=self.xp.float32, device=self.device)

    @contextmanager
    def exact(self) -> Iterator[None]:
        """Exclude TF32 (10 bits of mantissa): the certificate needs float32's 23."""
        before = self.xp.get_float32_matmul_precision()
        self.xp.set_float32_matmul_precision("highest")
        try:
            yield
        finally:
            self.xp.set_float32_matmul_precision(before)


def arrays_on(device: str) -> Arrays:
    """Return the arrays of a device by its name: torch's on CUDA, else numpy's.

    A Mac's GPU lacks float64, which sums need: ``mps`` too is solved by numpy.
    """
    name = resolve_device(device)
    return TorchArrays(name) if name.startswith("cuda") else Arrays()
