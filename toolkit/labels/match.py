"""Images matched with label rows by their ids."""

import posixpath
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from toolkit.arrays.types import RowNumbers
from toolkit.errors import LabelError
from toolkit.labels.ends import (
    LIKENESSES,
    Likeness,
    base_name,
    in_other_part,
    overlap,
    reversed_parts,
    unique_ends,
)
from toolkit.labels.space import nfc
from toolkit.labels.table import LabelTable
from toolkit.runtime.messages import counted, listed, quoted

Key = Callable[[str], str]

BY_SOURCE = "path relative to the images"
BY_TABLE = "path relative to the label file"
BY_SPELLING = "path in another spelling"
_WAYS = (
    BY_SOURCE,
    BY_TABLE,
    BY_SPELLING,
    *dict.fromkeys(way for each in LIKENESSES for way in (each.way_with_folders, each.way)),
)


@dataclass(frozen=True, eq=False)
class LabelMatch:
    """The M images with labels, and what did not match.

    Attributes
    ----------
    store_rows : ndarray (M,) intp
        Positions in the images' ids, ascending.
    table_rows : ndarray (M,) intp
        Their rows in the label table.
    unlabelled_images : tuple of str
        Ids of images without labels.
    missing_images : tuple of str
        Ids of label rows without an image.
    how : dict of str to int
        Number of images matched in each way.
    ambiguous_names : tuple of str
        Base names of images that did not match because several images or label rows share their name or stem.
    """

    store_rows: RowNumbers
    table_rows: RowNumbers
    unlabelled_images: tuple[str, ...]
    missing_images: tuple[str, ...]
    how: dict[str, int]
    ambiguous_names: tuple[str, ...] = ()

    def summary(self) -> str:
        """Return one line for the user."""
        matched = len(self.store_rows)
        ways = ", ".join(f"{number:,} by {way}" for way, number in self.how.items() if number)
        parts = [
            f"{matched:,} of {counted(matched + len(self.unlabelled_images), 'image')} matched ({ways})",
            f"{counted(len(self.unlabelled_images), 'image')} without labels",
            f"{counted(len(self.missing_images), 'label row')} without an image",
        ]
        if self.ambiguous_names:
            names = listed(self.ambiguous_names, 3)
            parts.append(f"{counted(len(self.ambiguous_names), 'base name')} ambiguous ({names})")
        return "; ".join(parts)


def match_labels(ids: Sequence[str], table: LabelTable, *, source_root: Path | None) -> LabelMatch:
    """Match image ids with the rows of a label table.

    Ids are POSIX paths relative to `source_root`, None if that is unknown. They are matched in these ways,
    each for the images and rows that are left: the same id; the same absolute path, below `source_root` and
    the table's root; either of these in another spelling (Unicode NFC, backslashes read as slashes); the same
    end of the absolute path, as far as only one image and one label row have it: some folders and the name,
    or the name alone; the same with capitals ignored; the same with the ending ignored too (``train_0`` for
    ``train_0.jpg``); the name without the prefix that Label Studio gives it. Of the first two ways the one
    that matches more images comes first. Nothing matches a folder named as one part of a split with one named
    as another. `LabelError` if nothing matches.
    """
    join = _Join(ids, table.ids)
    ways: list[tuple[str, Key, Key]] = [(BY_SOURCE, str, str)]
    matches = join.count(str, str)
    if source_root is not None and matches < len(ids):
        keys = _below(source_root), _below(table.root)
        ways.insert(0 if join.count(*keys) > matches else 1, (BY_TABLE, *keys))
    ways += [(BY_SPELLING, _respelled(image_key), _respelled(label_key)) for _, image_key, label_key in ways]
    for way, image_key, label_key in ways:
        join.match(way, image_key, label_key)
    join.match_ends(source_root)
    if not join.rows:
        raise LabelError(_nothing_matches(join, table))
    store_rows = np.array(sorted(join.rows), dtype=np.intp)
    return LabelMatch(
        store_rows=store_rows,
        table_rows=np.array([join.rows[row] for row in store_rows.tolist()], dtype=np.intp),
        unlabelled_images=tuple(ids[row] for row in join.images),
        missing_images=tuple(table.ids[row] for row in join.labels),
        how={way: join.how[way] for way in _WAYS},
        ambiguous_names=join.ambiguous(),
    )


class _Join:
    """The label row of each matched image (`rows`), and the `images` and `labels` not matched yet."""

    def __init__(self, ids: Sequence[str], label_ids: Sequence[str]) -> None:
        self.ids, self.label_ids = ids, label_ids
        self.images: list[int] = list(range(len(ids)))
        self.labels: list[int] = list(range(len(label_ids)))
        self.rows: dict[int, int] = {}
        self.how: Counter[str] = Counter()
        self.rivals: set[int] = set()
        self.other_part: tuple[int, int] | None = None  # an image and a label row of two parts of a split

    def count(self, image_key: Key, label_key: Key) -> int:
        """Return how many images have a label row of equal key."""
        keys = set(map(label_key, self.label_ids))
        return sum(image_key(image) in keys for image in self.ids)

    def match(self, way: str, image_key: Key, label_key: Key) -> None:
        """Match the remaining rows on equal keys."""
        if not self.images or not self.labels:
            return
        lookup: dict[str, int] = {}
        for row in self.labels:
            lookup.setdefault(label_key(self.label_ids[row]), row)
        keys = ((row, image_key(self.ids[row])) for row in self.images)
        self._keep(way, {row: lookup[key] for row, key in keys if key in lookup})

    @cached_property
    def image_names(self) -> list[str]:
        """The base name of each image."""
        return list(map(base_name, self.ids))

    @cached_property
    def label_names(self) -> list[str]:
        """The base name of each label row."""
        return list(map(base_name, self.label_ids))

    def match_ends(self, root: Path | None) -> None:
        """Match the remaining rows on ends of paths that only one image and one label row have."""
        above = [] if root is None else reversed_parts(root.resolve().as_posix())
        for likeness in LIKENESSES:
            if self.images and self.labels:
                self._match_alike(likeness, above)

    def _match_alike(self, likeness: Likeness, above: Sequence[str]) -> None:
        shared = self._shared(likeness)
        if not shared:
            return
        # rows that are matched compete too: their names are taken
        folder = likeness.of_folder
        images = _keyed(self.ids, self.image_names, likeness.of_image, folder, shared, above)
        labels = _keyed(self.label_ids, self.label_names, likeness.of_label, folder, shared, ())
        free_images, free_labels = set(self.images), set(self.labels)
        self.rivals.update(free_images.intersection(images))
        found: dict[str, dict[int, int]] = {likeness.way: {}, likeness.way_with_folders: {}}
        for row, label in unique_ends(images, labels):
            if row not in free_images or label not in free_labels:
                continue
            equal = overlap(images[row], labels[label])
            if in_other_part(images[row], labels[label], equal):
                self.other_part = self.other_part or (row, label)
                continue
            found[likeness.way if equal == 1 else likeness.way_with_folders][row] = label
        for way, matches in found.items():
            self._keep(way, matches)

    def _shared(self, likeness: Likeness) -> set[str]:
        """Return the keys of names that a remaining image and a remaining label have."""
        images = {likeness.of_image(self.image_names[row]) for row in self.images}
        return images & {likeness.of_label(self.label_names[row]) for row in self.labels}

    def ambiguous(self) -> tuple[str, ...]:
        """Return the base names of the images left over that share their name with label rows."""
        rivals = (row for row in self.images if row in self.rivals)
        return tuple(dict.fromkeys(self.image_names[row] for row in rivals))

    def _keep(self, way: str, matches: dict[int, int]) -> None:
        used = set(matches.values())
        self.rows.update(matches)
        self.how[way] += len(matches)
        self.images = [row for row in self.images if row not in matches]
        self.labels = [row for row in self.labels if row not in used]


def _below(root: Path) -> Key:
    """Return the key that makes an id absolute; the root is resolved, so links to one folder agree."""
    prefix = root.resolve().as_posix().rstrip("/")

    def key(image: str) -> str:
        if "./" in image or image.startswith("/"):
            return posixpath.normpath(posixpath.join(prefix, image))
        return f"{prefix}/{image}"

    return key


def _respelled(key: Key) -> Key:
    return lambda image: nfc(key(image.replace("\\", "/")))


def _keyed(
    ids: Sequence[str],
    names: Sequence[str],
    of_name: Key,
    of_folder: Key,
    wanted: set[str],
    above: Sequence[str],
) -> dict[int, list[str]]:
    """Return the keys of the reversed parts of the ids whose name has a wanted key."""
    above = list(map(of_folder, above))
    keyed = {}
    for row, name in enumerate(map(of_name, names)):
        if name in wanted:
            keyed[row] = [name, *map(of_folder, reversed_parts(ids[row])[1:]), *above]
    return keyed


def _nothing_matches(join: _Join, table: LabelTable) -> str:
    ids = join.ids
    if not len(ids):
        return f"there are no images to match with the labels of {table.source}"
    image, label = ids[0], table.ids[0]
    remedy = "give the label file of these images, or write its paths relative to itself"
    if join.other_part is not None:
        image, label = ids[join.other_part[0]], table.ids[join.other_part[1]]
        remedy = "their folders are two parts of a split: give the label file of these images"
    elif names := join.ambiguous():
        remedy = (
            f"{listed(names, 3)} could be several of these images or label rows; write more of their folders"
        )
    return (
        f"no image matches a label of {table.source}: an image is {quoted(image)}, a label row is for "
        f"{quoted(label)}; {remedy}"
    )
