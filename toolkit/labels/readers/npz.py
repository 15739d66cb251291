"""A multi-hot matrix in an ``.npz``, with a csv for its rows and a tag list for its columns."""

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from toolkit.errors import LabelError
from toolkit.files.text import IMAGE_COLUMNS, listed, need_column, read_csv
from toolkit.labels.raw import RawLabels, ReaderOptions, RowCollector
from toolkit.labels.readers import csv_tags
from toolkit.labels.readers._peek import peek_csv
from toolkit.labels.space import LabelSpace, boolean_csr, map_columns
from toolkit.runtime.messages import counted

KEY = "tag_train"
"""The array's name in the reference contest's ``tag_train.npz``."""

TAG_LISTS = ("valid_tags.txt", "tags.txt")
"""Tag lists looked for beside the matrix; the first is the contest's."""

_DAMAGE = (zipfile.BadZipFile, zlib.error)
_BLOCK_BYTES = 64 << 20


def read(path: Path, options: ReaderOptions) -> RawLabels:
    """Read a dense (N, L) array of 0 and 1 called ``tag_train`` (or the only one), or a scipy sparse matrix.

    Row i is the i-th row of the csv beside the file: the one with an image and a tag column or, if none has
    tags, the one with an image column. Column j is the j-th line of the user's tag list, or of
    ``valid_tags.txt`` or ``tags.txt`` beside the file. Where that csv has tags of its own, they are compared.

    Raises
    ------
    LabelError
        The matrix cannot be read without pickle, holds more than 0 and 1, or differs from csv or tag list in
        size; csv or tag list are missing or ambiguous; csv and matrix disagree about most images.
    """
    Y = _read_matrix(path)
    space, tags_name = _tag_list(path, options)
    if Y.shape[1] != len(space):
        raise LabelError(
            f"{path} has {counted(Y.shape[1], 'column')} but {tags_name} {counted(len(space), 'tag')}; "
            "give the list the matrix was made with by --tags"
        )
    order = _row_order(path, Y.shape[0], options)
    rows = _read_rows(order, options)
    if Y.shape[0] != len(rows.ids):
        raise LabelError(
            f"{path} has {counted(Y.shape[0], 'row')} but {order} {counted(len(rows.ids), 'row')}; "
            "they must list the same images in the same order"
        )
    notes = (f"rows as in {order}, columns as in {tags_name}", *_compare(Y, space, rows, path, order))
    return RawLabels(rows.ids, space.tags, Y, order.parent, rows.places, f"{order.name} line", True, notes)


def _read_matrix(path: Path) -> sp.csr_array:
    try:
        if not zipfile.is_zipfile(path):
            raise LabelError(f"{path} is not an .npz archive, whatever its name; save it with numpy.savez")
        with np.load(path, allow_pickle=False) as archive:
            if {"format", "shape", "data"} <= set(archive.files):
                return _from_sparse(path)
            return _from_dense(archive[_key(archive.files, path)], path)
    except (ValueError, EOFError, OSError, KeyError, NotImplementedError, *_DAMAGE) as reason:
        if "allow_pickle" in str(reason):
            raise LabelError(
                f"{path} holds pickled objects, which could run code and are never loaded; "
                "save a plain array of 0 and 1 with numpy.savez"
            ) from reason
        raise LabelError(f"{path} is not a readable .npz ({reason}); write it again") from reason


def _key(keys: list[str], path: Path) -> str:
    if KEY in keys:
        return KEY
    if len(keys) != 1:
        raise LabelError(f"{path} holds the arrays {listed(keys)}; name the matrix {KEY!r} or keep it alone")
    return keys[0]


def _from_sparse(path: Path) -> sp.csr_array:
    matrix = sp.load_npz(path)
    if hasattr(matrix, "check_format"):
        matrix.check_format(full_check=True)  # indices out of range would be read without a check later
    Y = sp.csr_array(matrix)
    Y.sum_duplicates()
    _check_ones(Y.data[Y.data != 0], path)
    Y = Y.astype(bool)
    Y.eliminate_zeros()
    return Y


def _from_dense(array: NDArray[Any], path: Path) -> sp.csr_array:
    if array.ndim != 2 or array.dtype.kind not in "biuf":
        raise LabelError(
            f"{path} holds an array of shape {array.shape} and type {array.dtype}; "
            "a multi-hot matrix is numeric and has two axes (images, tags)"
        )
    # block by block: the masks of a whole contest matrix would take as much memory again
    step = max(1, _BLOCK_BYTES // max(1, array.shape[1] * array.itemsize))
    blocks = []
    for start in range(0, len(array), step):
        held = array[start : start + step] != 0
        _check_ones(array[start : start + step][held], path)
        blocks.append(sp.csr_array(held))
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


def _row_order(path: Path, n_rows: int, options: ReaderOptions) -> Path:
    """Return the csv beside `path` that says which image each row is; of several, the one of that length."""
    peeks = {}
    for other in sorted(path.parent.glob("*.csv")):
        if other.is_file() and other != options.tags_path:
            peeks[other] = peek_csv(other, options.encoding)
    tagged = [other for other, peek in peeks.items() if peek.has_tags]
    candidates = tagged or [other for other, peek in peeks.items() if peek.image is not None]
    if not candidates:
        raise LabelError(
            f"no csv with an image column lies beside {path} to say which image each row is; "
            f"put one there, its column named one of {', '.join(IMAGE_COLUMNS)}"
        )
    if len(candidates) > 1:  # a submit.csv, say
        candidates = [other for other in candidates if _length(other, options) == n_rows] or candidates
    if len(candidates) > 1:
        raise LabelError(
            f"more than one csv beside {path} could say which image each row is: "
            f"{', '.join(other.name for other in candidates)}; leave only the right one beside it"
        )
    return candidates[0]


def _length(path: Path, options: ReaderOptions) -> int:
    return sum(1 for _ in read_csv(path, error=LabelError, encoding=options.encoding)) - 1


def _read_rows(order: Path, options: ReaderOptions) -> RawLabels:
    if peek_csv(order, options.encoding).has_tags:
        return csv_tags.read(order, options)
    rows = read_csv(order, error=LabelError, encoding=options.encoding)
    _, header = next(rows)
    image = need_column(header, IMAGE_COLUMNS, what="image", path=order, error=LabelError)
    found = RowCollector()
    for line, cells in rows:
        found.add(cells[image], (), line)
    return found.finish(order.parent)


def _compare(Y: sp.csr_array, space: LabelSpace, rows: RawLabels, path: Path, order: Path) -> tuple[str, ...]:
    """Hold the matrix against the tags of its csv: a list in another order would mislabel every image."""
    if not rows.tags:
        return ()
    own = map_columns(rows.Y, space.columns(rows.tags), len(space))
    apart = sp.csr_array(Y.astype(np.int8) - own.astype(np.int8))
    apart.eliminate_zeros()
    differing = np.flatnonzero(np.diff(apart.indptr))
    if not len(differing):
        return ()
    first = f"first {rows.ids[differing[0]]!r}, line {rows.places[differing[0]]}"
    share = f"{len(differing):,} of {len(rows.ids):,} images"
    text = f"{path} and {order} disagree about the tags of {share} ({first})"
    if 2 * len(differing) > len(rows.ids):
        raise LabelError(
            f"{text}; give the tag list the matrix was made with by --tags, the separator of the csv by "
            "--separator, or read the csv instead"
        )
    return (f"{text}; the matrix counts",)
