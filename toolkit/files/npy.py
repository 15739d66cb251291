"""``.npy`` files: headers that are checked before anything is allocated, arrays, and copies of rows.

All arrays that the package reads are read here or, from an archive, by `toolkit.files.npz`. A header is
believed only where the file has exactly the bytes that it announces. Nothing is ever unpickled.
"""

import ast
import math
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from toolkit.errors import StoreError
from toolkit.files.regular import open_regular

EmbeddingArray = NDArray[np.float32] | NDArray[np.float16]

COPY_ROWS = 4096  # rows copied at a time: 32 MB of 2048 float32
PLAIN = "biufU"  # truth values, whole numbers, floats and text: kinds of dtype that hold no code
BYTES = "S"  # bytes, which hold none either: read where a reader names them among its kinds
_MAGIC = b"\x93NUMPY"
_DESCR = re.compile(r"[<>|=]?[a-zA-Z?]\d{0,9}")
_UNREADABLE = (SyntaxError, ValueError, TypeError, KeyError, OverflowError, MemoryError, RecursionError)
_LONGEST_HEADER = 10_000  # numpy's own limit; longer ones overwhelm the parser
_MOST = np.iinfo(np.intp).max


class Header(NamedTuple):
    """The header of a ``.npy`` file; its data begin at the byte `offset`."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]
    offset: int

    @property
    def nbytes(self) -> int:
        """Bytes of the data that the header announces."""
        return math.prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What an array must be; `header` and `values` raise `ValueError` if it is something else.

    Attributes
    ----------
    dtype : str
        The dtype, such as ``float32``; empty for any of `kinds`.
    kinds : str
        The kinds of dtype allowed, as in `numpy.dtype.kind`.
    shape : tuple of int or None, optional
        None stands for any length; without a shape any is allowed.
    low, high : float, optional
        Bounds of the values, both allowed.
    finite : bool
        Whether NaN and infinity are refused.
    ascending : bool
        Whether each value of an (n,) array must be greater than the one before.
    """

    dtype: str = ""
    kinds: str = PLAIN
    shape: tuple[int | None, ...] | None = None
    low: float | None = None
    high: float | None = None
    finite: bool = True
    ascending: bool = False

    def header(self, header: Header) -> None:
        """Check dtype and shape, before the data are read."""
        if header.dtype.kind not in self.kinds or (self.dtype and header.dtype.name != self.dtype):
            raise ValueError(
                f"it holds {header.dtype.name}, not {self.dtype or 'numbers of an allowed kind'}"
            )
        if self.shape is not None and not _fits(header.shape, self.shape):
            wanted = " x ".join("any" if length is None else str(length) for length in self.shape)
            raise ValueError(f"it has the shape {shape_text(header.shape)}, not {wanted or 'of one value'}")

    def values(self, array: NDArray[Any]) -> None:
        """Check the values."""
        if not array.size or array.dtype.kind in BYTES:
            return
        if array.dtype.kind in "bU":
            _check_codes(array)
            return
        low, high = array.min(), array.max()  # NaN if there is one
        if self.finite and array.dtype.kind == "f" and not (np.isfinite(low) and np.isfinite(high)):
            raise ValueError("it holds NaN or infinity")
        if (self.low is not None and low < self.low) or (self.high is not None and high > self.high):
            allowed = [f"{self.low:g} or more"] if self.low is not None else []
            allowed += [f"{self.high:g} or less"] if self.high is not None else []
            raise ValueError(f"its values go from {low:g} to {high:g}; allowed are {' and '.join(allowed)}")
        if self.ascending and not (array[1:] > array[:-1]).all():
            raise ValueError("its values do not ascend")


ANYTHING = Expected()


def _check_codes(array: NDArray[Any]) -> None:
    """Raise `ValueError` for bytes that are neither false nor true, or codes that are no character."""
    unit, most = (np.uint8, 1) if array.dtype.kind == "b" else (np.uint32, 0x10FFFF)
    if np.ascontiguousarray(array).reshape(-1).view(unit).max() > most:
        raise ValueError(f"it holds values that are no {'truth values' if most == 1 else 'text'}")


def _fits(shape: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    pairs = zip(shape, wanted, strict=False)
    return len(shape) == len(wanted) and all(want in (None, have) for have, want in pairs)


def shape_text(shape: tuple[int, ...]) -> str:
    """Return a shape as messages show it: ``35000 x 2048``."""
    return " x ".join(map(str, shape)) or "of one value"


# ---------------------------------------------------------------------- reading


def read_header(file: BinaryIO, size: int | None = None) -> Header:
    """Read the header of an open ``.npy`` of `size` bytes, by default those of the file.

    `ValueError` unless it is the header of a plain array and the file has exactly the bytes that it
    announces.
    """
    header = _parsed(file)
    size = os.fstat(file.fileno()).st_size if size is None else size
    have = size - header.offset
    if header.nbytes != have:
        raise ValueError(
            f"its header announces {header.dtype.name} of shape {shape_text(header.shape)}, which are "
            f"{header.nbytes:,} bytes, but it has {have:,}"
        )
    return header


def _parsed(file: BinaryIO) -> Header:
    magic = file.read(8)
    if not magic.startswith(_MAGIC) or len(magic) < 8:
        raise ValueError("it does not begin as an .npy file does")
    if magic[6:] not in (b"\1\0", b"\2\0", b"\3\0"):
        raise ValueError(f"it is of version {magic[6]}.{magic[7]} of the .npy format; known are 1.0 to 3.0")
    width = 2 if magic[6] == 1 else 4
    length = int.from_bytes(file.read(width), "little")
    if length > _LONGEST_HEADER:
        raise ValueError(f"its header has {length:,} bytes; {_LONGEST_HEADER:,} are allowed")
    text = file.read(length)
    if len(text) < length:
        raise ValueError("it ends within its header")
    try:
        fields = ast.literal_eval(text.decode("utf-8" if magic[6] == 3 else "latin-1").strip())
        shape, fortran = fields["shape"], fields["fortran_order"]
        dtype = _plain_dtype(fields["descr"])
    except _UNREADABLE as error:
        raise ValueError(f"its header cannot be read ({_first_line(error)})") from error
    if not (isinstance(shape, tuple) and all(type(length) is int and length >= 0 for length in shape)):
        raise ValueError("the shape in its header is no tuple of whole numbers")
    if math.prod(max(1, length) for length in shape) > _MOST or len(shape) > 32:
        raise ValueError("the shape in its header is too large for any array")
    return Header(shape, bool(fortran), dtype, 8 + width + length)


def _plain_dtype(descr: Any) -> np.dtype[Any]:
    if not isinstance(descr, str):
        raise ValueError("its values are records of several fields, which are not read")
    if descr.lstrip("|<>=").startswith("O"):
        raise ValueError("it holds pickled Python objects, which could run code and are never loaded")
    dtype = np.dtype(descr) if _DESCR.fullmatch(descr) else None
    if dtype is None or dtype.kind not in PLAIN + BYTES or not dtype.itemsize:
        raise ValueError(f"values of type {descr!r} are not read")
    return dtype


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def read_array(path: Path, expected: Expected = ANYTHING) -> NDArray[Any]:
    """Read the ``.npy`` at `path` into memory.

    `OSError`, or a `ValueError` that names the file, if it is no regular file or not what is expected. What
    its header says is checked before its data are read.
    """
    try:
        with open_regular(path) as file:
            header = read_header(file)
            expected.header(header)
            flat = np.fromfile(file, header.dtype, math.prod(header.shape))
        return _checked(flat, header, expected)
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from error
    except MemoryError as error:
        raise ValueError(f"{path.name}: its {header.nbytes:,} bytes do not fit into memory") from error


def parse_array(file: BinaryIO, size: int, expected: Expected) -> NDArray[Any]:
    """Read an array of `size` bytes, header and all, from a stream; `ValueError` as in `read_array`."""
    header = read_header(file, size)
    expected.header(header)
    data = bytearray(file.read(header.nbytes))
    if len(data) != header.nbytes:
        raise ValueError("it ends early")
    return _checked(np.frombuffer(data, header.dtype), header, expected)


def _checked(flat: NDArray[Any], header: Header, expected: Expected) -> NDArray[Any]:
    if len(flat) != math.prod(header.shape):
        raise ValueError("it ends early")
    array = flat.reshape(header.shape[::-1]).T if header.fortran else flat.reshape(header.shape)
    native = array.astype(array.dtype.newbyteorder("="), copy=False)
    expected.values(native)
    return native


def map_array(path: Path, expected: Expected = ANYTHING) -> NDArray[Any]:
    """Map the ``.npy`` at `path` into memory, read-only; its header is checked, its values are not.

    `OSError` or `ValueError` as in `read_array`.
    """
    try:
        with open_regular(path) as file:
            header = read_header(file)
            expected.header(header)
            order = "F" if header.fortran else "C"
            return np.memmap(file, header.dtype, "r", header.offset, header.shape, order)  # type: ignore[call-overload, no-any-return]
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from error


def open_array(path: Path) -> EmbeddingArray:
    """Map the ``.npy`` (N, D) of a store into memory, read-only; `StoreError` if that fails."""
    try:
        return map_array(path, Expected(kinds="f", shape=(None, None)))
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} cannot be read ({error}); embed again with --force") from error


# ---------------------------------------------------------------------- writing and copying


def write_header(file: BinaryIO, dtype: str, shape: tuple[int, int]) -> None:
    """Write the header of an array in C order."""
    header = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)


def is_finite_as(values: NDArray[np.floating], dtype: str) -> bool:
    """Return whether all values are finite when stored as `dtype`."""
    with np.errstate(over="ignore"):
        return bool(np.isfinite(values.astype(dtype)).all())


def copy_rows(
    source: Path, target: BinaryIO, offset: int, moves: Sequence[tuple[int, int]], row_bytes: int
) -> None:
    """Copy rows of `row_bytes` bytes from the ``.npy`` `source` to `target`, whose data begin at `offset`.

    `moves` are pairs of row numbers, in the target and in the source. The rows are read, not mapped: pages of
    a mapped file count as memory of this process.
    """
    with open_regular(source) as old:
        begin = _offset(old, source)
        for to, start, count in _runs(moves):
            old.seek(begin + start * row_bytes)
            target.seek(offset + to * row_bytes)
            data = old.read(count * row_bytes)
            if len(data) < count * row_bytes:
                raise StoreError(f"{source} is shorter than its rows; embed again with --force")
            target.write(data)


def _offset(file: BinaryIO, path: Path) -> int:
    try:
        return read_header(file).offset
    except ValueError as error:
        raise StoreError(f"{path} cannot be read ({error}); embed again with --force") from error


def _runs(moves: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int, int]]:
    """Yield (to, from, count) of moves that are consecutive on both sides."""
    first = 0
    for here in range(1, len(moves) + 1):
        to, start = moves[first]
        count = here - first
        if here == len(moves) or moves[here] != (to + count, start + count) or count == COPY_ROWS:
            yield to, start, count
            first = here
