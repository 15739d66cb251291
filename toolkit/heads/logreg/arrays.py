"""Where the one-vs-rest solver's large arrays are: in numpy's memory, or on a CUDA GPU through torch.

The solver is written once, in what numpy and torch have in common: ``xp.exp``, ``xp.einsum``, indexing,
arithmetic in place. What differs is here: moving arrays there and back, and how much is worked on at once.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolkit.runtime.devices import resolve_device

DeviceArray = Any  # an array of numpy, or of torch on the device

NUMPY_TILE = 2**18  # numbers worked on at once: temporaries of 1 MB stay in the cache
TORCH_TILE = 2**40  # all at once: a GPU needs few, large kernels


class Arrays:
    """Numpy's arrays on the CPU.

    Attributes
    ----------
    xp : module
        numpy or torch.
    tile : int
        Numbers that elementwise work is done on at once.
    """

    xp: Any = np
    tile = NUMPY_TILE

    def put(self, array: NDArray[Any]) -> DeviceArray:
        """Return `array` there; memory may be shared."""
        return array

    def get(self, array: DeviceArray) -> NDArray[Any]:
        """Return an array as numpy's; memory may be shared."""
        out: NDArray[Any] = array
        return out

    def empty(self, *shape: int) -> DeviceArray:
        """Return an uninitialised float32 array."""
        return np.empty(shape, np.float32)

    @contextmanager
    def exact(self) -> Iterator[None]:
        """Keep float32 products from being rounded to fewer digits; numpy does not round them."""
        yield


class TorchArrays(Arrays):
    """Torch's arrays on one of its devices."""

    tile = TORCH_TILE

    def __init__(self, device: str) -> None:
        import torch

        self.xp = torch
        self.device = torch.device(device)

    def put(self, array: NDArray[Any]) -> DeviceArray:
        """Return `array` on the device; on the CPU memory is shared."""
        return self.xp.asarray(array, device=self.device)

    def get(self, array: DeviceArray) -> NDArray[Any]:
        """Return an array as numpy's."""
        out: NDArray[Any] = array.cpu().numpy()
        return out

    def empty(self, *shape: int) -> DeviceArray:
        """Return an uninitialised float32 array."""
        return self.xp.empty(shape, dtype=self.xp.float32, device=self.device)

    @contextmanager
    def exact(self) -> Iterator[None]:
        """Keep TF32 (10 bits of mantissa) out of products: the certificate needs float32's 23."""
        before = self.xp.get_float32_matmul_precision()
        self.xp.set_float32_matmul_precision("highest")
        try:
            yield
        finally:
            self.xp.set_float32_matmul_precision(before)


def arrays_on(device: str) -> Arrays:
    """Return the arrays of a device as `toolkit.runtime.devices` names it: torch's on CUDA, else numpy's.

    A Mac's GPU lacks the float64 that sums are taken in: ``mps`` too is solved by numpy.
    """
    name = resolve_device(device)
    return TorchArrays(name) if name.startswith("cuda") else Arrays()
