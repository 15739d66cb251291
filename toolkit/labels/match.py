"""Images matched with label rows by their ids."""

import posixpath
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from toolkit.arrays.types import RowNumbers
from toolkit.errors import LabelError
from toolkit.files.text import quoted
from toolkit.labels.space import nfc
from toolkit.labels.table import LabelTable
from toolkit.runtime.messages import counted

Key = Callable[[str], str]

BY_SOURCE = "path relative to the images"
BY_TABLE = "path relative to the label file"
BY_SPELLING = "path in another spelling"
BY_NAME = "base name"


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
        Base names that did not match because several images or label rows have them.
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
            parts.append(f"{counted(len(self.ambiguous_names), 'base name')} ambiguous")
        return "; ".join(parts)


def match_labels(ids: Sequence[str], table: LabelTable, *, source_root: Path | None) -> LabelMatch:
    """Match image ids with the rows of a label table.

    Ids are POSIX paths relative to `source_root`, None if that is unknown. They are matched in four ways,
    each for the images and rows that are left: the same id; the same absolute path, below `source_root` and
    the table's root; either of these in another spelling (Unicode NFC, backslashes read as slashes); the base
    name, if only one image and one label row have it. Of the first two ways the one that matches more images
    comes first. `LabelError` if nothing matches.
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
    ambiguous = join.match_names()
    if not join.rows:
        raise LabelError(_nothing_matches(ids, table))
    store_rows = np.array(sorted(join.rows), dtype=np.intp)
    return LabelMatch(
        store_rows=store_rows,
        table_rows=np.array([join.rows[row] for row in store_rows.tolist()], dtype=np.intp),
        unlabelled_images=tuple(ids[row] for row in join.images),
        missing_images=tuple(table.ids[row] for row in join.labels),
        how={way: join.how[way] for way in (BY_SOURCE, BY_TABLE, BY_SPELLING, BY_NAME)},
        ambiguous_names=ambiguous,
    )


class _Join:
    """The label row of each matched image (`rows`), and the `images` and `labels` not matched yet."""

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

    def match(self, way: str, image_key: Key, label_key: Key) -> None:
        """Match the remaining rows on equal keys."""
        if not self.images or not self.labels:
            return
        lookup: dict[str, int] = {}
        for row in self.labels:
            lookup.setdefault(label_key(self.label_ids[row]), row)
        keys = ((row, image_key(self.ids[row])) for row in self.images)
        self._keep(way, {row: lookup[key] for row, key in keys if key in lookup})

    def match_names(self) -> tuple[str, ...]:
        """Match the remaining rows on base names unique on both sides; return the ambiguous ones."""
        if not self.images or not self.labels:
            return ()
        image_names, label_names = (list(map(_base_name, ids)) for ids in (self.ids, self.label_ids))
        images, labels = Counter(image_names), Counter(label_names)
        lookup = {label_names[row]: row for row in self.labels}
        shared = {row: image_names[row] for row in self.images if image_names[row] in lookup}
        unique = {name for name in shared.values() if images[name] == labels[name] == 1}
        self._keep(BY_NAME, {row: lookup[name] for row, name in shared.items() if name in unique})
        return tuple(dict.fromkeys(name for name in shared.values() if name not in unique))

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


def _base_name(image: str) -> str:
    return nfc(image.replace("\\", "/").rpartition("/")[2])


def _nothing_matches(ids: Sequence[str], table: LabelTable) -> str:
    if not len(ids):
        return f"there are no images to match with the labels of {table.source}"
    return (
        f"no image matches a label of {table.source}: an image is {quoted(ids[0])}, a label row is for "
        f"{quoted(table.ids[0])}; give the label file of these images, or write its paths relative to itself"
    )
