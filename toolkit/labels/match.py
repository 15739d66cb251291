"""Joining images and labels on the image id."""

import posixpath
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from toolkit.errors import LabelError
from toolkit.labels.space import nfc
from toolkit.labels.table import LabelTable
from toolkit.runtime.messages import counted

Rows = NDArray[np.intp]
Key = Callable[[str], str]

BY_SOURCE = "path relative to the images"
BY_TABLE = "path relative to the label file"
BY_SPELLING = "path in another spelling"
BY_NAME = "base name"


@dataclass(frozen=True, eq=False)
class LabelMatch:
    """Which label row each image has.

    Attributes
    ----------
    store_rows : ndarray (M,) intp
        Positions in the images' ids, ascending.
    table_rows : ndarray (M,) intp
        The row of the label table for each of them.
    unlabelled_images : tuple of str
        Images without labels, in their order.
    missing_images : tuple of str
        Labels without an image, in their order.
    how : dict of str to int
        How many images matched in each way; all ways are there, those of no use with 0.
    ambiguous_names : tuple of str
        Base names that would have matched but for there being several images or label rows of that name.
    """

    store_rows: Rows
    table_rows: Rows
    unlabelled_images: tuple[str, ...]
    missing_images: tuple[str, ...]
    how: dict[str, int]
    ambiguous_names: tuple[str, ...] = ()

    def summary(self) -> str:
        """Return one line for the user: how many matched and how, and what is left over on both sides."""
        matched = len(self.store_rows)
        ways = ", ".join(f"{number:,} by {way}" for way, number in self.how.items() if number)
        parts = [
            f"{matched:,} of {counted(matched + len(self.unlabelled_images), 'image')} matched ({ways})",
            f"{counted(len(self.unlabelled_images), 'image')} without labels",
            f"{counted(len(self.missing_images), 'label row')} without an image",
        ]
        if self.ambiguous_names:
            parts.append(f"{counted(len(self.ambiguous_names), 'base name')} ambiguous")
        return "; ".join(parts)


def match_labels(ids: Sequence[str], table: LabelTable, *, source_root: Path | None) -> LabelMatch:
    """Match image ids with the rows of a label table.

    In turn, each on what is left: the id as the label file has it; both sides as absolute paths
    (`source_root` and the table's root in front); either in another spelling (Unicode NFC, backslashes read
    as slashes); the base name, where only one image and one label row has it. Of the first two the one that
    fits more images goes first, should they contradict each other.

    Parameters
    ----------
    ids : sequence of str, length N
        POSIX paths relative to `source_root`.
    table : LabelTable
        The labels.
    source_root : Path or None
        The folder the ids are relative to; None if it is not known.

    Raises
    ------
    LabelError
        Nothing matches; the message shows an id of either side.
    """
    join = _Join(ids, table.ids)
    ways: list[tuple[str, Key, Key]] = [(BY_SOURCE, _same, _same)]
    fits = join.count(_same, _same)
    if source_root is not None and fits < len(ids):
        by_table = (BY_TABLE, _under(source_root), _under(table.root))
        ways.insert(0 if join.count(*by_table[1:]) > fits else 1, by_table)
    for way, image_key, label_key in ways:
        join.take(way, image_key, label_key)
    if join.has_spellings():
        for _, image_key, label_key in ways:
            join.take(BY_SPELLING, _respelled(image_key), _respelled(label_key))
    ambiguous = join.take_names()
    if not join.rows:
        raise LabelError(_nothing(ids, table))
    store_rows = np.array(sorted(join.rows), dtype=np.intp)
    how = {way: join.how[way] for way in (BY_SOURCE, BY_TABLE, BY_SPELLING, BY_NAME)}
    return LabelMatch(
        store_rows=store_rows,
        table_rows=np.array([join.rows[row] for row in store_rows.tolist()], dtype=np.intp),
        unlabelled_images=tuple(ids[row] for row in join.images),
        missing_images=tuple(table.ids[row] for row in join.labels),
        how=how,
        ambiguous_names=ambiguous,
    )


class _Join:
    """What is matched (`rows`, image to label row) and what is left of both sides (`images`, `labels`)."""

    def __init__(self, ids: Sequence[str], label_ids: Sequence[str]) -> None:
        self.ids, self.label_ids = ids, label_ids
        self.images: list[int] = list(range(len(ids)))
        self.labels: list[int] = list(range(len(label_ids)))
        self.rows: dict[int, int] = {}
        self.how: Counter[str] = Counter()

    def count(self, image_key: Key, label_key: Key) -> int:
        """Return how many images have a label row of equal key."""
        keys = set(map(label_key, self.label_ids))
        return sum(image_key(image) in keys for image in self.ids)

    def take(self, way: str, image_key: Key, label_key: Key) -> None:
        """Match what is left on equal keys."""
        if not self.images or not self.labels:
            return
        lookup: dict[str, int] = {}
        for row in self.labels:
            lookup.setdefault(label_key(self.label_ids[row]), row)
        found = {row: lookup.get(image_key(self.ids[row])) for row in self.images}
        self._keep(way, {row: label for row, label in found.items() if label is not None})

    def has_spellings(self) -> bool:
        """Tell whether another spelling could match anything that is left."""
        images = (self.ids[row] for row in self.images)
        labels = (self.label_ids[row] for row in self.labels)
        return any(not image.isascii() or "\\" in image for image in chain(images, labels))

    def take_names(self) -> tuple[str, ...]:
        """Match what is left on base names that are unique on both sides; return those that are not."""
        if not self.images or not self.labels:
            return ()
        image_names = list(map(_base_name, self.ids))
        label_names = list(map(_base_name, self.label_ids))
        images, labels = Counter(image_names), Counter(label_names)
        lookup = {label_names[row]: row for row in self.labels}
        found: dict[int, int] = {}
        ambiguous: dict[str, None] = {}
        for row in self.images:
            name = image_names[row]
            if name in lookup and images[name] == labels[name] == 1:
                found[row] = lookup[name]
            elif name in lookup:
                ambiguous[name] = None
        self._keep(BY_NAME, found)
        return tuple(ambiguous)

    def _keep(self, way: str, found: dict[int, int]) -> None:
        used = set(found.values())
        self.rows.update(found)
        self.how[way] += len(found)
        self.images = [row for row in self.images if row not in found]
        self.labels = [row for row in self.labels if row not in used]


def _same(image: str) -> str:
    return image


def _under(root: Path) -> Key:
    """Return the key that makes an id absolute; resolving the root alone makes linked roots meet."""
    prefix = root.resolve().as_posix().rstrip("/")

    def key(image: str) -> str:
        if "./" in image or image.startswith("/"):
            return posixpath.normpath(posixpath.join(prefix, image))
        return f"{prefix}/{image}"

    return key


def _respelled(key: Key) -> Key:
    return lambda image: nfc(key(image.replace("\\", "/")))


def _base_name(image: str) -> str:
    return nfc(image.replace("\\", "/").rpartition("/")[2])


def _nothing(ids: Sequence[str], table: LabelTable) -> str:
    if not len(ids):
        return f"there are no images to match with the labels of {table.source}"
    return (
        f"no image matches a label of {table.source}: an image is {ids[0]!r}, a label row is for "
        f"{table.ids[0]!r}; give the label file of these images, or write its paths relative to itself"
    )
