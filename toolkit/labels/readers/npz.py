"""A multi-hot matrix in an ``.npz``, with a csv for its rows and a tag list for its columns."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from toolkit.errors import LabelError
from toolkit.files.csv import IMAGE_COLUMNS
from toolkit.files.npy import BYTES, PLAIN, Expected, shape_text
from toolkit.files.npz import Archive, open_npz
from toolkit.labels.raw import RawLabels, ReaderOptions, RowCollector
from toolkit.labels.readers import csv_tags
from toolkit.labels.readers._csv import image_rows, peek_csv
from toolkit.labels.space import LabelSpace, boolean_csr, map_columns
from toolkit.runtime.messages import counted, listed, named, quoted, shortened

KEY = "tag_train"
"""The array's name in the reference contest's ``tag_train.npz``."""

TAG_LISTS = ("valid_tags.txt", "tags.txt")
"""Tag lists looked for beside the matrix; the first is the contest's."""

_BLOCK_BYTES = 64 << 20
_MOST_AXIS = 2**31 - 2  # of images or tags
_LEAST_BYTES = 64 << 20
_NUMBERS = Expected(kinds="biuf", finite=False)  # NaN is named as a value that is neither 0 nor 1
_INDICES = Expected(kinds="iu")
_FORMS = {
    "csr": ("indices", "indptr"),
    "csc": ("indices", "indptr"),
    "bsr": ("indices", "indptr"),
    "coo": ("row", "col"),
    "dia": ("offsets",),
}


def read(path: Path, options: ReaderOptions) -> RawLabels:
    """Read a dense (N, L) array of 0 and 1 called ``tag_train`` (or the only one), or a scipy sparse matrix.

    Row i is row i of the csv beside the file: the one with an image and a tag column or, without such, the
    one with an image column. Column j is line j of the user's tag list, or of ``valid_tags.txt`` or
    ``tags.txt`` beside the file. The tags in that csv, if any, are compared with the matrix.

    `LabelError` if the matrix cannot be read without pickle, holds values other than 0 and 1, or differs from
    csv or tag list in size; csv or tag list are missing or ambiguous; csv and matrix disagree about most
    images.
    """
    space, tags_name = _tag_list(path, options)
    tables = _tables_beside(path, options)
    matrix = _read_matrix(path, max(len(table.ids) for table in tables.values()) * len(space))
    if matrix.shape[1] != len(space):
        raise LabelError(
            f"{path} has {counted(matrix.shape[1], 'column')} but {tags_name} {counted(len(space), 'tag')}; "
            "give the list the matrix was made with by --tags"
        )
    order, rows = _rows_of(tables, matrix.shape[0], path)
    if matrix.shape[0] != len(rows.ids):
        raise LabelError(
            f"{path} has {counted(matrix.shape[0], 'row')} but {named(order)} "
            f"{counted(len(rows.ids), 'row')}; they must list the same images in the same order"
        )
    # not before the shape is known to be right: a few bytes can stand for a matrix of many rows
    Y = _from_dense(matrix, path) if isinstance(matrix, np.ndarray) else _from_sparse(matrix, path)
    notes = (f"rows as in {named(order)}, columns as in {tags_name}", *_compare(Y, space, rows, path, order))
    return RawLabels(
        rows.ids, space.tags, Y, order.parent, rows.places, f"{named(order.name)} line", True, notes
    )


def _read_matrix(path: Path, cells: int) -> Any:
    """Return the matrix as it is saved: a numeric array of two axes, or sparse in any of `_FORMS`.

    It should have as many `cells`; much larger arrays are refused before they are unpacked.
    """
    most = max(_LEAST_BYTES, 2 * cells * np.dtype(np.float64).itemsize)
    try:
        with open_npz(path) as archive:
            if {"format", "shape", "data"} <= set(archive.names):
                return _sparse(archive, most)
            array = archive.read(_key(archive.names, path), Expected(kinds=PLAIN, finite=False), most=most)
    except OSError as reason:
        raise LabelError(f"{path} cannot be read ({reason.strerror or reason})") from reason
    except ValueError as reason:
        raise LabelError(
            f"{path} is not a readable .npz ({shortened(reason)}); write it again with numpy.savez"
        ) from reason
    if array.ndim != 2 or array.dtype.kind not in _NUMBERS.kinds:
        raise LabelError(
            f"{path} holds an array of shape {shape_text(array.shape)} and type {array.dtype}; "
            "a multi-hot matrix is numeric and has two axes (images, tags)"
        )
    return array


def _key(names: list[str], path: Path) -> str:
    if KEY not in names and len(names) != 1:
        raise LabelError(f"{path} holds the arrays {listed(names)}; name the matrix {KEY!r} or keep it alone")
    return KEY if KEY in names else names[0]


def _sparse(archive: Archive, most: int) -> Any:
    """Return the matrix that `scipy.sparse.save_npz` wrote; `ValueError` if an index of it is wrong."""
    form = archive.read("format", Expected(kinds=BYTES + "U", shape=()), most=most).item()
    form = form.decode("latin-1") if isinstance(form, bytes) else form
    if form not in _FORMS:
        raise ValueError(f"its sparse format is {quoted(form)}; known are {', '.join(_FORMS)}")
    N, L = archive.read("shape", Expected(kinds="iu", shape=(2,), low=0, high=_MOST_AXIS), most=most).tolist()
    data = archive.read("data", _NUMBERS, most=most)
    first, *second = (archive.read(name, _INDICES, most=most) for name in _FORMS[form])
    if form == "coo":
        return sp.coo_array((data, (first, *second)), shape=(N, L))  # checks its indices itself
    if form == "dia":
        diagonals: Any = sp.dia_array
        return diagonals((data, first), shape=(N, L)).tocoo()  # not by compiled code
    block = data.shape[1:] if form == "bsr" else (1, 1)
    if len(block) != 2 or 0 in block or N % block[0] or L % block[1]:
        raise ValueError(f"its blocks of {shape_text(block)} do not fill {N} x {L}")
    axes = (N // block[0], L // block[1])
    _check_compressed(first, second[0], *(axes[::-1] if form == "csc" else axes))
    return getattr(sp, f"{form}_array")((data, first, *second), shape=(N, L))


def _check_compressed(indices: NDArray[Any], ends: NDArray[Any], N: int, L: int) -> None:
    """Raise `ValueError` if compiled code would follow a wrong index; scipy's own check passes over some."""
    if indices.ndim != 1 or ends.shape != (N + 1,):
        raise ValueError(f"indptr has the shape {shape_text(ends.shape)}, not {N + 1}")
    if ends[0] != 0 or ends[-1] != len(indices) or (ends[1:] < ends[:-1]).any():
        raise ValueError("indptr does not ascend from 0 to the number of indices")
    if len(indices) and not 0 <= indices.min() <= indices.max() < L:
        raise ValueError(f"indices go from {indices.min()} to {indices.max()}, allowed are 0 to {L - 1}")


def _from_sparse(matrix: Any, path: Path) -> sp.csr_array:
    Y = sp.csr_array(matrix)
    Y.sum_duplicates()
    Y.eliminate_zeros()
    _check_ones(Y.data, path)
    return Y.astype(bool)


def _from_dense(array: NDArray[Any], path: Path) -> sp.csr_array:
    # in blocks: the mask of a whole contest matrix takes as much memory again
    step = max(1, _BLOCK_BYTES // max(1, array.shape[1] * array.itemsize))
    blocks = []
    for start in range(0, len(array), step):
        block = array[start : start + step]
        _check_ones(block[block != 0], path)
        blocks.append(sp.csr_array(block != 0))
    return sp.csr_array(sp.vstack(blocks, format="csr")) if blocks else boolean_csr([], [0], array.shape[1])


def _check_ones(values: NDArray[Any], path: Path) -> None:
    odd = values[values != 1]
    if len(odd):
        raise LabelError(f"{path} holds the value {odd[0].item()!r}; a multi-hot matrix has 0 and 1 only")


def _tag_list(path: Path, options: ReaderOptions) -> tuple[LabelSpace, str]:
    if options.tags is not None:
        return options.tags, options.tags_name
    beside = [path.with_name(name) for name in TAG_LISTS if path.with_name(name).is_file()]
    if not beside:
        raise LabelError(
            f"no {' or '.join(TAG_LISTS)} beside {path} names its columns; give the list by --tags"
        )
    if len(beside) > 1:
        raise LabelError(
            f"{' and '.join(map(str, beside))} could both name the columns of {path}; choose one by --tags"
        )
    return LabelSpace.read(beside[0], encoding=options.encoding), str(beside[0])


def _tables_beside(path: Path, options: ReaderOptions) -> Mapping[Path, RawLabels]:
    """Return the rows of every csv beside `path` that may list its images, those with tags first of all."""
    peeks = {
        other: peek_csv(other, options.encoding)
        for other in sorted(path.parent.glob("*.csv"))
        if other.is_file() and str(other) != options.tags_name
    }
    tagged = [other for other, peek in peeks.items() if peek.has_tags]
    candidates = tagged or [other for other, peek in peeks.items() if peek.image is not None]
    if not candidates:
        raise LabelError(
            f"no csv with an image column lies beside {path} to say which image each row is; "
            f"put one there, its column named one of {', '.join(IMAGE_COLUMNS)}"
        )
    read_rows = csv_tags.read if tagged else _read_images
    return {other: read_rows(other, options) for other in candidates}


def _rows_of(tables: Mapping[Path, RawLabels], n_rows: int, path: Path) -> tuple[Path, RawLabels]:
    """Return the table of `n_rows` and its csv, or the only one of another length."""
    fitting = [other for other, table in tables.items() if len(table.ids) == n_rows] or list(tables)
    if len(fitting) > 1:
        raise LabelError(
            f"more than one csv beside {path} could say which image each row is: "
            f"{listed([other.name for other in fitting])}; leave only the right one beside it"
        )
    return fitting[0], tables[fitting[0]]


def _read_images(path: Path, options: ReaderOptions) -> RawLabels:
    _, image, rows = image_rows(path, options)
    labels = RowCollector()
    for line, cells in rows:
        labels.add(cells[image], (), line)
    return labels.finish(path.parent)


def _compare(Y: sp.csr_array, space: LabelSpace, rows: RawLabels, path: Path, order: Path) -> tuple[str, ...]:
    """Compare the matrix with the tags of its csv: a tag list in another order would mislabel every image."""
    if not rows.tags:
        return ()
    in_csv = map_columns(rows.Y, space.columns(rows.tags), len(space))
    difference = sp.csr_array(Y.astype(np.int8) - in_csv.astype(np.int8))  # without stored zeros
    differing = np.flatnonzero(np.diff(difference.indptr))
    if not len(differing):
        return ()
    first = f"first {quoted(rows.ids[differing[0]])}, line {rows.places[differing[0]]}"
    count = f"{len(differing):,} of {len(rows.ids):,} images"
    text = f"{path} and {named(order)} disagree about the tags of {count} ({first})"
    if 2 * len(differing) > len(rows.ids):
        raise LabelError(
            f"{text}; give the tag list the matrix was made with by --tags, the separator of the csv by "
            "--separator, or read the csv instead"
        )
    return (f"{text}; the matrix counts",)
