"""Where the one-vs-rest solver's large arrays lie: numpy's memory, or a CUDA GPU through torch.

The solver is written once, in what numpy and torch spell alike: ``xp.exp``, ``xp.einsum``, indexing,
arithmetic in place. What differs is here: how an array gets there and back, and how much is done at once.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from toolkit.runtime.devices import resolve_device

Tensor = Any  # an array of numpy, or of torch on the device

NUMPY_TILE = 2**18  # numbers worked on at once: temporaries of 1 MB stay in the cache
TORCH_TILE = 2**40  # all at once: a GPU wants few, large kernels


class Arrays(Protocol):
    """A library of arrays and a place for them."""

    xp: Any  # numpy or torch
    tile: int  # numbers elementwise work is done on at once

    def put(self, array: NDArray[Any]) -> Tensor:
        """Return `array` there; memory may be shared."""

    def get(self, array: Tensor) -> NDArray[Any]:
        """Return an array as numpy's; memory may be shared."""

    def empty(self, *shape: int) -> Tensor:
        """Return an uninitialised float32 array."""

    def exact(self) -> Any:
        """Return a context in which float32 products are not rounded to fewer digits."""


class NumpyArrays:
    """Numpy on the CPU."""

    xp: Any = np
    tile = NUMPY_TILE

    def put(self, array: NDArray[Any]) -> Tensor:
        """Return `array` itself."""
        return array

    def get(self, array: Tensor) -> NDArray[Any]:
        """Return `array` itself."""
        out: NDArray[Any] = array
        return out

    def empty(self, *shape: int) -> Tensor:
        """Return an uninitialised float32 array."""
        return np.empty(shape, np.float32)

    @contextmanager
    def exact(self) -> Iterator[None]:
        """Do nothing: numpy's products are exact to float32."""
        yield


class TorchArrays:
    """Torch on one of its devices."""

    tile = TORCH_TILE

    def __init__(self, device: str) -> None:
        import torch

        self.xp: Any = torch
        self.device = torch.device(device)

    def put(self, array: NDArray[Any]) -> Tensor:
        """Return `array` on the device; on the CPU memory is shared."""
        return self.xp.asarray(array, device=self.device)

    def get(self, array: Tensor) -> NDArray[Any]:
        """Return an array as numpy's."""
        out: NDArray[Any] = array.cpu().numpy()
        return out

    def empty(self, *shape: int) -> Tensor:
        """Return an uninitialised float32 array."""
        return self.xp.empty(shape, dtype=self.xp.float32, device=self.device)

    @contextmanager
    def exact(self) -> Iterator[None]:
        """Keep TF32 (10 bits of mantissa) out of products: the certificate asks for float32's 23."""
        before = self.xp.get_float32_matmul_precision()
        self.xp.set_float32_matmul_precision("highest")
        try:
            yield
        finally:
            self.xp.set_float32_matmul_precision(before)


def arrays_on(device: str) -> Arrays:
    """Return the arrays of a device as `toolkit.runtime.devices` names it: torch's on CUDA, else numpy's.

    A Mac's GPU lacks the float64 that sums are taken in: ``mps`` too is solved by numpy.

    Raises
    ------
    OptionError
        Another word, or a device this machine has not.
    """
    found = resolve_device(device)
    return TorchArrays(found) if found.startswith("cuda") else NumpyArrays()
