"""From a reader's `RawLabels` to a `LabelTable`: repeated rows merged, tags checked and put in order."""

import posixpath
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from toolkit.errors import LabelError
from toolkit.files.text import quoted
from toolkit.labels.raw import RawLabels, ReaderOptions
from toolkit.labels.space import LabelSpace, map_columns, nfc
from toolkit.runtime.messages import counted


@dataclass(frozen=True, eq=False)
class LabelTable:
    """Images and their tags.

    Attributes
    ----------
    ids : tuple of str, length N
        Unique: POSIX paths relative to `root`, or bare names.
    space : LabelSpace
        The L tags, in the order of the user's tag list, of the list beside an ``.npz``, or of code points.
    Y : csr_array (N, L) bool
    source : Path
        The file or folder.
    root : Path
        The folder the ids are relative to.
    notes : tuple of str
        What was read, for the user.
    parts : tuple of str, length N, or empty
        ``train``, ``val`` or ``test`` for each image, where the labels say it too.
    """

    ids: tuple[str, ...]
    space: LabelSpace
    Y: sp.csr_array
    source: Path
    root: Path
    notes: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()


def build_table(raw: RawLabels, *, source: Path, options: ReaderOptions) -> LabelTable:
    """Return the table of `raw`, with the columns of the user's tag list, if any.

    `LabelError` without rows or tags, and for an image listed twice with different tags or with a tag not in
    the list.
    """
    if not len(raw.ids):
        raise LabelError(f"{source} holds no images; a label file needs at least one row")
    rows = _merge_repeats(_compose(raw), source)
    if options.tags is not None:
        space, notes = options.tags, _check_unknown(rows, source, options)
    elif raw.ordered:
        space, notes = LabelSpace(tuple(rows.tags)), []
    else:
        space = LabelSpace(tuple(sorted(rows.tags)))
        notes = ["the columns are the tags in code-point order; a tag list (--tags) sets another"]
    if not len(space):
        raise LabelError(f"{source} holds no tags: no image has any; is the tag column the right one?")
    Y = map_columns(rows.Y, space.columns(rows.tags), len(space))
    notes = [*_counts(Y, len(raw.ids) - len(rows.ids), options), *notes, *raw.notes]
    respelled = len(raw.tags) - len(rows.tags)
    if respelled:
        notes.append(f"{counted(respelled, 'tag')} written in two Unicode forms, read as one (NFC)")
    return LabelTable(tuple(rows.ids), space, Y, source, raw.root, tuple(notes), tuple(rows.parts))


def _compose(raw: RawLabels) -> RawLabels:
    """Join the columns whose tags are equal in NFC, under the first spelling."""
    spellings: dict[str, str] = {}
    for tag in raw.tags:
        spellings.setdefault(nfc(tag), tag)
    if len(spellings) == len(raw.tags):
        return raw
    space = LabelSpace(tuple(spellings.values()))
    return replace(raw, tags=space.tags, Y=map_columns(raw.Y, space.columns(raw.tags), len(space)))


def _merge_repeats(raw: RawLabels, source: Path) -> RawLabels:
    """Keep the first row of each image; all its rows must have the same tags."""
    first: dict[str, int] = {}
    for row, image in enumerate(map(_plain_path, raw.ids)):
        if not image.strip():
            raise LabelError(
                f"{source} {raw.place(row)}: the image name is empty; fill it in or drop the row"
            )
        before = first.setdefault(image, row)
        if before != row and not np.array_equal(_row(raw.Y, before), _row(raw.Y, row)):
            raise LabelError(
                f"{source}: {quoted(image)} has different tags on {raw.place(before)} and {raw.place(row)}; "
                "keep the right row"
            )
    kept = list(first.values())
    return replace(
        raw,
        ids=list(first),
        Y=raw.Y[kept],
        places=[raw.places[row] for row in kept],
        parts=[raw.parts[row] for row in kept] if raw.parts else (),
    )


def _row(Y: sp.csr_array, row: int) -> NDArray[np.integer]:
    return Y.indices[Y.indptr[row] : Y.indptr[row + 1]]


def _plain_path(image: str) -> str:
    """Remove ``./`` and double slashes, so that a file has one id."""
    return posixpath.normpath(image) if "//" in image or "./" in image else image


def _check_unknown(raw: RawLabels, source: Path, options: ReaderOptions) -> list[str]:
    """Raise `LabelError` for a tag of an image that is not in the list, or return a note that counts them."""
    assert options.tags is not None
    uses = np.flatnonzero(options.tags.columns(raw.tags)[raw.Y.indices] < 0)
    if not len(uses):
        return []
    columns = raw.Y.indices[uses]
    others = len(np.unique(columns)) - 1
    if options.ignore_unknown_tags:
        return [f"{counted(others + 1, 'unknown tag')} ignored, used {counted(len(uses), 'time')}"]
    row = int(np.searchsorted(raw.Y.indptr, uses[0], side="right")) - 1
    more = f" (and {counted(others, 'more unknown tag')})" if others else ""
    raise LabelError(
        f"{source} {raw.place(row)}: tag {quoted(raw.tags[columns[0]])} of image {quoted(raw.ids[row])} "
        f"is not among the {counted(len(options.tags), 'tag')} of {options.tags_name}{more}; "
        "correct it, add it to the list, or drop such tags with --ignore-unknown-tags"
    )


def _counts(Y: sp.csr_array, repeats: int, options: ReaderOptions) -> list[str]:
    per_image = np.diff(Y.indptr)
    without = int(np.count_nonzero(per_image == 0))
    unused = int(np.count_nonzero(np.bincount(Y.indices, minlength=Y.shape[1]) == 0))
    parts = [
        counted(Y.shape[0], "image"),
        counted(Y.shape[1], "tag"),
        f"{per_image.mean():.1f} tags an image",
    ]
    if without:
        parts.append(f"{counted(without, 'image')} without tags")
    if repeats:
        parts.append(f"{counted(repeats, 'duplicate row')} merged")
    origin = f" of {options.tags_name}" if options.tags is not None else ""
    return [", ".join(parts), *([f"{counted(unused, 'tag')}{origin} without an image"] if unused else [])]
