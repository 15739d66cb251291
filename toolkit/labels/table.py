"""From a reader's `RawLabels` to a `LabelTable`: repeated rows merged, tags checked and put in order."""

import posixpath
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from toolkit.errors import LabelError
from toolkit.labels.raw import RawLabels, ReaderOptions
from toolkit.labels.space import LabelSpace, boolean_csr, folded, map_columns, nfc
from toolkit.runtime.messages import counted, quoted

CODE_POINT_ORDER = "the columns are the tags in code-point order; a tag list (--tags) sets another"


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
    composed = _join_spellings(raw, nfc, most_frequent=False)
    alike, spellings = _alike(composed, options)
    rows = _merge_repeats(alike, source, options)
    if options.tags is not None:
        space, notes = options.tags, _check_unknown(rows, source, options)
    elif raw.ordered:
        space, notes = LabelSpace(tuple(rows.tags)), []
    else:
        space = LabelSpace(tuple(sorted(rows.tags)))
        notes = [CODE_POINT_ORDER]
    if not len(space):
        raise LabelError(f"{source} holds no tags: no image has any; is the tag column the right one?")
    Y = map_columns(rows.Y, space.columns(rows.tags), len(space))
    joined = _are_joined(raw, options)
    notes = [*_counts(Y, 0 if joined else len(raw.ids) - len(rows.ids), options), *notes, *raw.notes]
    if joined and not raw.one_line_a_tag and len(raw.ids) > len(rows.ids):
        notes.append(
            f"{counted(len(raw.ids), 'row')} for {counted(len(rows.ids), 'image')}: their tags are joined"
        )
    notes += spellings
    respelled = len(raw.tags) - len(composed.tags)
    if respelled:
        notes.append(f"{counted(respelled, 'tag')} written in two Unicode forms, read as one (NFC)")
    return LabelTable(tuple(rows.ids), space, Y, source, raw.root, tuple(notes), tuple(rows.parts))


def _join_spellings(raw: RawLabels, key: Callable[[str], str], *, most_frequent: bool) -> RawLabels:
    """Join the columns whose tags have equal keys, under the first spelling or the most frequent one."""
    keys = list(map(key, raw.tags))
    places = {each: place for place, each in enumerate(dict.fromkeys(keys))}
    if len(places) == len(keys):
        return raw
    uses = np.bincount(raw.Y.indices, minlength=len(keys)).tolist() if most_frequent else [0] * len(keys)
    best: dict[str, int] = {}
    for column, each in enumerate(keys):
        if uses[column] > uses[best.setdefault(each, column)]:
            best[each] = column
    target = np.array([places[each] for each in keys], dtype=np.intp)
    tags = tuple(raw.tags[column] for column in best.values())
    return replace(raw, tags=tags, Y=map_columns(raw.Y, target, len(places)))


def _alike(raw: RawLabels, options: ReaderOptions) -> tuple[RawLabels, list[str]]:
    """Join or count the tags that differ in capitals, width or blanks alone."""
    wanted = {} if options.tags is None else _unambiguous(options.tags.tags)
    known = {folded(tag): tag for tag in raw.tags} | wanted
    differing = [tag for tag in raw.tags if known[folded(tag)] != tag and not _is_in(options, tag)]
    if not differing:
        return raw, []
    example = f"such as {quoted(differing[0])} and {quoted(known[folded(differing[0])])}"
    count = counted(len(differing), "tag differs", "tags differ")
    text = f"{count} from others in capitals, width or blanks alone, {example}"
    if not options.fold_tags:
        return raw, [f"{text}; --fold-tags joins them"]
    if options.tags is not None:
        return _as_listed(raw, options.tags, wanted), [f"{text}: joined"]
    return _join_spellings(raw, folded, most_frequent=True), [f"{text}: joined"]


def _is_in(options: ReaderOptions, tag: str) -> bool:
    return options.tags is not None and options.tags.column(tag) is not None


def _unambiguous(tags: Sequence[str]) -> dict[str, str]:
    """Return the tag of each key that only one has."""
    count = Counter(map(folded, tags))
    return {folded(tag): tag for tag in tags if count[folded(tag)] == 1}


def _as_listed(raw: RawLabels, space: LabelSpace, wanted: dict[str, str]) -> RawLabels:
    """Return `raw` with the tags that the list has in another spelling written as there."""
    tags = [tag if space.column(tag) is not None else wanted.get(folded(tag), tag) for tag in raw.tags]
    return _join_spellings(replace(raw, tags=tags), nfc, most_frequent=False)


def _are_joined(raw: RawLabels, options: ReaderOptions) -> bool:
    """Return whether an image has the tags of all its rows."""
    return options.repeats == "union" or (options.repeats == "auto" and raw.one_line_a_tag)


def _merge_repeats(raw: RawLabels, source: Path, options: ReaderOptions) -> RawLabels:
    """Return one row an image: its first, which all others must equal, or the union of all."""
    first: dict[str, int] = {}
    joined = _are_joined(raw, options)
    numbers = []  # the image of each row
    place_of: dict[str, int] = {}
    for row, image in enumerate(map(_plain_path, raw.ids)):
        if not image.strip():
            raise LabelError(f"{source} {raw.place(row)}: the image name is empty; fill it in")
        before = first.setdefault(image, row)
        if joined:
            numbers.append(place_of.setdefault(image, len(place_of)))
        elif before != row and not np.array_equal(_row(raw.Y, before), _row(raw.Y, row)):
            raise LabelError(
                f"{source}: {quoted(image)} has different tags on {raw.place(before)} and {raw.place(row)}; "
                "if it has the tags of both, join them with --repeats union"
            )
    kept = list(first.values())
    places = [raw.places[row] for row in kept]
    Y = _united(raw.Y, numbers, len(first)) if joined and len(kept) < len(raw.ids) else raw.Y[kept]
    parts = [raw.parts[row] for row in kept] if raw.parts else ()
    return replace(raw, ids=list(first), Y=Y, places=places, parts=parts)


def _united(Y: sp.csr_array, numbers: Sequence[int], n_images: int) -> sp.csr_array:
    """Return the union (n_images, L) of the rows of Y (R, L) of each image; ``numbers[row]`` is its image."""
    images = np.repeat(np.asarray(numbers), np.diff(Y.indptr))
    order = np.argsort(images, kind="stable")
    ends = np.concatenate(([0], np.cumsum(np.bincount(images, minlength=n_images))))
    return boolean_csr(Y.indices[order].astype(np.intp), ends, Y.shape[1])


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
        f"{_listed_as(raw.tags[columns[0]], options.tags)}correct it, add it to the list, or drop such tags "
        "with --ignore-unknown-tags"
    )


def _listed_as(tag: str, space: LabelSpace) -> str:
    """Return how to get the tag of the list that is the same word in another spelling; empty if none is."""
    other = _unambiguous(space.tags).get(folded(tag))
    return "" if other is None else f"read it as {quoted(other)} with --fold-tags, "


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
