"""A multi-hot matrix in an ``.npz``, with a csv for its rows and a tag list for its columns."""

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from toolkit.errors import LabelError
from toolkit.files.text import IMAGE_COLUMNS, listed, named, quoted
from toolkit.labels.raw import RawLabels, ReaderOptions, RowCollector
from toolkit.labels.readers import csv_tags
from toolkit.labels.readers._csv import image_rows, peek_csv
from toolkit.labels.space import LabelSpace, boolean_csr, map_columns
from toolkit.runtime.messages import counted

KEY = "tag_train"
"""The array's name in the reference contest's ``tag_train.npz``."""

TAG_LISTS = ("valid_tags.txt", "tags.txt")
"""Tag lists looked for beside the matrix; the first is the contest's."""

_BLOCK_BYTES = 64 << 20
_DAMAGE = (ValueError, EOFError, OSError, KeyError, NotImplementedError, zipfile.BadZipFile, zlib.error)


def read(path: Path, options: ReaderOptions) -> RawLabels:
    """Read a dense (N, L) array of 0 and 1 called ``tag_train`` (or the only one), or a scipy sparse matrix.

    Row i is row i of the csv beside the file: the one with an image and a tag column or, without such, the
    one with an image column. Column j is line j of the user's tag list, or of ``valid_tags.txt`` or
    ``tags.txt`` beside the file. The tags in that csv, if any, are compared with the matrix.

    `LabelError` if the matrix cannot be read without pickle, holds values other than 0 and 1, or differs from
    csv or tag list in size; csv or tag list are missing or ambiguous; csv and matrix disagree about most
    images.
    """
    Y = _read_matrix(path)
    space, tags_name = _tag_list(path, options)
    if Y.shape[1] != len(space):
        raise LabelError(
            f"{path} has {counted(Y.shape[1], 'column')} but {tags_name} {counted(len(space), 'tag')}; "
            "give the list the matrix was made with by --tags"
        )
    order, rows = _rows_beside(path, Y.shape[0], options)
    if Y.shape[0] != len(rows.ids):
        raise LabelError(
            f"{path} has {counted(Y.shape[0], 'row')} but {named(order)} {counted(len(rows.ids), 'row')}; "
            "they must list the same images in the same order"
        )
    notes = (f"rows as in {named(order)}, columns as in {tags_name}", *_compare(Y, space, rows, path, order))
    return RawLabels(
        rows.ids, space.tags, Y, order.parent, rows.places, f"{named(order.name)} line", True, notes
    )


def _read_matrix(path: Path) -> sp.csr_array:
    try:
        if not zipfile.is_zipfile(path):
            raise LabelError(f"{path} is not an .npz archive despite its name; save it with numpy.savez")
        with np.load(path, allow_pickle=False) as archive:
            keys = archive.files
            if {"format", "shape", "data"} <= set(keys):
                return _from_sparse(path)
            if KEY not in keys and len(keys) != 1:
                raise LabelError(
                    f"{path} holds the arrays {listed(keys)}; name the matrix {KEY!r} or keep it alone"
                )
            return _from_dense(archive[KEY if KEY in keys else keys[0]], path)
    except _DAMAGE as reason:
        if "allow_pickle" in str(reason):
            raise LabelError(
                f"{path} holds pickled objects, which could run code and are never loaded; "
                "save a plain array of 0 and 1 with numpy.savez"
            ) from reason
        raise LabelError(f"{path} is not a readable .npz ({reason}); write it again") from reason


def _from_sparse(path: Path) -> sp.csr_array:
    matrix = sp.load_npz(path)
    if hasattr(matrix, "check_format"):
        matrix.check_format(full_check=True)  # later, indices are not checked
    Y = sp.csr_array(matrix)
    Y.sum_duplicates()
    Y.eliminate_zeros()
    _check_ones(Y.data, path)
    return Y.astype(bool)


def _from_dense(array: NDArray[Any], path: Path) -> sp.csr_array:
    if array.ndim != 2 or array.dtype.kind not in "biuf":
        raise LabelError(
            f"{path} holds an array of shape {array.shape} and type {array.dtype}; "
            "a multi-hot matrix is numeric and has two axes (images, tags)"
        )
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


def _rows_beside(path: Path, n_rows: int, options: ReaderOptions) -> tuple[Path, RawLabels]:
    """Return the csv beside `path` that lists its images, of several the one with `n_rows`, and its rows."""
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
    tables = {other: read_rows(other, options) for other in candidates}
    fitting = [other for other, table in tables.items() if len(table.ids) == n_rows] or candidates
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
