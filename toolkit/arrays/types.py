"""Names of array types. A docstring adds the shape: ``rows (n,)``, ``X (N, D)``, ``scores (N, L)``."""

import numpy as np
from numpy.typing import NDArray

RowNumbers = NDArray[np.intp]
"""Indices of rows, or of tags (columns)."""

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
Int64Array = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
Pixels = NDArray[np.uint8]
"""Pixels of one picture (H, W, 3) or of a batch (B, H, W, 3)."""
