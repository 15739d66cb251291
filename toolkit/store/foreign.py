"""Features that other programs have written: which array of a file holds them, and the names beside them.

A reader takes a path and returns `Foreign`. A new kind of file is one function and one line in `READERS`.
Tensors of torch are read elsewhere (`toolkit.backbones.tensors`), as this package's stores know no torch.
"""

import importlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from toolkit.errors import StoreError
from toolkit.files.csv import read_csv
from toolkit.files.npy import BYTES, Expected, Header, map_array, shape_text
from toolkit.files.npz import open_npz
from toolkit.files.regular import open_regular
from toolkit.runtime.messages import named, quoted

NUMBERS = "biuf"  # kinds of dtype that features may have
FEATURE_NAMES = ("features", "embeddings", "embedding", "feature", "feats", "x", "vectors", "data", "arr_0")
ID_NAMES = (
    "names", "name", "img_path", "image_path", "paths", "path", "filenames", "filename", "file_name",
    "file_names", "files", "file", "images", "image", "image_names", "image_name", "ids", "id", "image_ids",
    "image_id",
)  # fmt: skip
_INDEXES = ("", "unnamed: 0")  # headers of a data frame's index
_MOST_FLOAT = float(np.finfo(np.float32).max)
_MOST_SHOWN = 12  # arrays in a message
_TEXT = Expected(kinds="U" + BYTES, shape=(None,))


class Foreign(NamedTuple):
    """What a file holds.

    Attributes
    ----------
    rows : ndarray
        Features, one row an image; of any dtype of numbers, and with further axes.
    names : sequence of str, optional
        Names of the images, if the file has them.
    where : str
        Which array or column of the file they are; empty if it has only one.
    note : str
        What was converted while reading.
    """

    rows: NDArray[Any]
    names: Sequence[str] | None = None
    where: str = ""
    note: str = ""


def chosen(found: Mapping[str, tuple[int, ...]], key: str | None, path: Path, what: str) -> str:
    """Return the name of the features among arrays of numbers, given their shapes.

    It is `key`; or the only array of two axes or more; or the only one with a usual name.
    """
    if key is not None:
        if key not in found:
            raise StoreError(f"{named(path)} has no {what} {quoted(key)} of numbers; it has {_shapes(found)}")
        return key
    matrices = [name for name, shape in found.items() if len(shape) > 1]
    usual = [name for name in matrices if name.casefold() in FEATURE_NAMES]
    for names in (matrices, usual):
        if len(names) == 1:
            return names[0]
    if not matrices:
        raise StoreError(
            f"{named(path)} has no {what} of features, with one row an image; it has {_shapes(found)}"
        )
    raise StoreError(
        f"{named(path)} has several that may be the features: {_shapes(found)}; choose one with --key"
    )


def _shapes(found: Mapping[str, tuple[int, ...]]) -> str:
    shown = [f"{quoted(name)} ({shape_text(shape)})" for name, shape in list(found.items())[:_MOST_SHOWN]]
    more = len(found) - len(shown)
    return (", ".join(shown) or "none") + (f" and {more:,} more" if more else "")


def texts(values: Iterable[Any], path: Path) -> list[str]:
    """Return names as text; bytes must be UTF-8."""
    try:
        return [value.decode("utf-8") if isinstance(value, bytes) else str(value) for value in values]
    except UnicodeDecodeError as error:
        raise StoreError(f"the names in {named(path)} are no UTF-8; save them as text") from error


# ---------------------------------------------------------------------- arrays of numpy


def read_npy(path: Path, key: str | None) -> Foreign:
    """Map an ``.npy``."""
    _no_key(path, key)
    return Foreign(map_array(path, Expected(kinds=NUMBERS)))


def read_npz(path: Path, key: str | None) -> Foreign:
    """Read an array of an ``.npz``, and the names beside it."""
    with open_npz(path) as archive:
        headers: dict[str, Header] = {}
        for name in archive.names:
            try:
                headers[name] = archive.header(name)
            except ValueError as error:
                if name == key:
                    raise StoreError(f"{named(path)}: {error}") from error
        numbers = {name: header.shape for name, header in headers.items() if header.dtype.kind in NUMBERS}
        features = chosen(numbers, key, path, "array")
        rows = archive.read(features, Expected(kinds=NUMBERS, finite=False))
        words = [name for name, header in headers.items() if header.dtype.kind in "U" + BYTES]
        of_rows = [name for name in words if headers[name].shape == rows.shape[:1]]
        ids = of_rows if len(of_rows) == 1 else [name for name in of_rows if name.casefold() in ID_NAMES]
        names = texts(archive.read(ids[0], _TEXT).tolist(), path) if len(ids) == 1 else None
        return Foreign(rows, names, features if len(archive.names) > 1 else "")


def _no_key(path: Path, key: str | None) -> None:
    if key is not None:
        raise StoreError(f"--key got {quoted(key)}, but {named(path)} holds one array only; leave --key out")


# ---------------------------------------------------------------------- tables


def read_table(path: Path, key: str | None) -> Foreign:
    """Read a csv whose first column is names and whose others are numbers, with a header or without."""
    _no_key(path, key)
    names: list[str] = []
    rows: list[NDArray[np.float32]] = []
    skip = 0
    for line, cells in read_csv(path, error=StoreError):
        if len(cells) < 2:
            raise StoreError(
                f"{named(path)} line {line} has one column; its first must be names, the others features"
            )
        if not names and line == 1:
            skip = int(
                cells[0].strip().casefold() in _INDEXES and len(cells) > 2 and not _is_number(cells[1])
            )
            if any(not _is_number(cell) for cell in cells[1 + skip :]):
                continue  # a header
        names.append(cells[skip])
        rows.append(_numbers(cells[1 + skip :], path, line))
    if not rows:
        raise StoreError(f"{named(path)} has no rows; its first column must be names, its others features")
    return Foreign(np.stack(rows), names, note="its numbers became float32, which keeps about 7 digits")


def _numbers(cells: list[str], path: Path, line: int) -> NDArray[np.float32]:
    try:
        values = np.fromiter(map(float, cells), np.float64, len(cells))
        if (np.abs(values) > _MOST_FLOAT).any():
            raise StoreError(f"{named(path)} line {line} holds infinity or values beyond float32")
        return values.astype(np.float32)
    except ValueError as error:
        bad = next(cell for cell in cells if not _is_number(cell))
        raise StoreError(
            f"{named(path)} line {line}: {quoted(bad)} is no number; the first column must be names, the "
            "others features"
        ) from error


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def read_parquet(path: Path, key: str | None) -> Foreign:
    """Read a parquet file: a column of names, and a column of lists or columns of numbers."""
    try:
        arrow = importlib.import_module("pyarrow")
        parquet = importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise StoreError(
            f"{named(path)}: parquet is read by pyarrow, which is not installed; pip install pyarrow"
        ) from error
    with open_regular(path) as file:
        try:
            table = parquet.ParquetFile(file).read()
        except (arrow.ArrowException, OSError) as error:
            reason = (str(error).splitlines() or ["damaged"])[0]
            raise StoreError(f"{named(path)} cannot be read as parquet ({reason})") from error
    kinds = arrow.types
    words = [
        column.name
        for column in table.schema
        if kinds.is_string(column.type) or kinds.is_large_string(column.type)
    ]
    lists = [
        column.name
        for column in table.schema
        if kinds.is_list(column.type)
        or kinds.is_large_list(column.type)
        or kinds.is_fixed_size_list(column.type)
    ]
    numbers = [
        column.name
        for column in table.schema
        if kinds.is_floating(column.type) or (kinds.is_integer(column.type) and not _is_index(column.name))
    ]
    ids = words if len(words) == 1 else [name for name in words if name.casefold() in ID_NAMES]
    names = texts(table.column(ids[0]).to_pylist(), path) if len(ids) == 1 else None
    if key is None and not lists and numbers:
        columns = [table.column(name).to_numpy() for name in numbers]
        return Foreign(np.stack(columns, axis=1), names)
    features = chosen({name: (len(table), 0) for name in lists}, key, path, "column")
    return Foreign(_stacked(table.column(features), path, features), names, features)


def _is_index(name: str) -> bool:
    return name.casefold() in (*_INDEXES, "__index_level_0__", *ID_NAMES)


def _stacked(column: Any, path: Path, name: str) -> NDArray[Any]:
    """Return a column of lists of one length as an array (rows, length)."""
    chunks = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    flat = chunks.flatten()
    n = len(chunks)
    length = len(flat) // n if n else 0
    if chunks.null_count or flat.null_count or not n:
        raise StoreError(
            f"{named(path)}, column {quoted(name)}: some features are missing, or there are none"
        )
    if set(chunks.value_lengths().unique().to_pylist()) != {length}:
        raise StoreError(f"{named(path)}, column {quoted(name)}: its lists have different lengths")
    values = flat.to_numpy(zero_copy_only=False)
    if values.dtype.kind not in NUMBERS:
        raise StoreError(f"{named(path)}, column {quoted(name)}: its lists hold no numbers")
    rows: NDArray[Any] = values.reshape(n, length)
    return rows


READERS: dict[str, Callable[[Path, str | None], Foreign]] = {
    ".npy": read_npy,
    ".npz": read_npz,
    ".csv": read_table,
    ".parquet": read_parquet,
}
