"""From a store, a label file and a split to the rows a head is fitted, tuned and measured on."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from toolkit.arrays.types import RowNumbers
from toolkit.errors import LabelError, OptionError, SplitError, StoreError
from toolkit.evaluation.duplicates import near_duplicate_groups
from toolkit.evaluation.splits import (
    PARTS,
    Split,
    complete_split,
    default_split,
    read_split,
)
from toolkit.experiment.options import DataOptions
from toolkit.experiment.stores import StoreSet
from toolkit.files.folders import names_of
from toolkit.labels.detect import detect_format
from toolkit.labels.find import find_label_file
from toolkit.labels.match import LabelMatch, match_labels
from toolkit.labels.read import read_label_file
from toolkit.labels.space import LabelSpace
from toolkit.labels.table import LabelTable
from toolkit.runtime.messages import counted
from toolkit.runtime.stages import Stages
from toolkit.store.reading import EmbeddingStore

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled images, split.

    Attributes
    ----------
    store_set : StoreSet
        Their features.
    Y : csr_array (N, L) bool
    space : LabelSpace
    split : Split
        In rows of `store_set` and `Y`.
    groups : ndarray (N,) intp
        Near-duplicates have equal numbers.
    notes : tuple of str
        What was read and matched, for the user.
    """

    store_set: StoreSet
    Y: sp.csr_array
    space: LabelSpace
    split: Split
    groups: RowNumbers
    notes: tuple[str, ...]

    @property
    def ids(self) -> tuple[str, ...]:
        """The images' ids, one a row."""
        return self.store_set.ids


def load_dataset(options: DataOptions, stages: Stages | None = None) -> Dataset:
    """Open the store or stores, read and match their labels, and split; add the times to `stages`."""
    stages = Stages() if stages is None else stages
    with stages.timing("read and match"):
        every = choose_stores(options)
        store, options = every.stores[0], _with_remembered_files(every.stores, options)
        path = _label_file(store, options)
        if path is None:
            raise LabelError(
                f"no label file for the store {store.name!r}: none was given to embed and none lies beside "
                f"or in {store.meta.root or 'what was imported'}; give --labels {_labels_hint(store)}"
            )
        table = read_label_file(path, options)
        match = match_labels(every.ids, table, source_root=_root(store))
        store_set = every.take(match.store_rows)
        Y = sp.csr_array(table.Y[match.table_rows])
    if not Y.nnz:
        raise LabelError(f"{path} gives the images of the store no tag at all; there is nothing to learn")
    with stages.timing("near-duplicates"):
        digests = [store.rows[row].digest for row in store_set.rows[0]]
        groups = near_duplicate_groups(store_set.features(), digests=digests)
    with stages.timing("split"):
        parts = [table.parts[row] for row in match.table_rows] if table.parts else []
        split = _split(store, store_set.ids, Y, groups, options, parts)
    notes = (
        *_about_stores(every),
        f"labels from {_relative(path)}: {match.summary()}",
        *table.notes,
        *_unmatched(match),
        f"split: {split.source}",
        *_about_duplicates(groups),
    )
    return Dataset(store_set, Y, table.space, split, groups, notes)


# ---------------------------------------------------------------------- stores


def store_names(artifacts: Path) -> list[str]:
    """Return the names of all finished stores."""
    return names_of(artifacts / "embeddings", "meta.json")


def choose_stores(options: DataOptions) -> StoreSet:
    """Open the stores named, or the only one, or the only one whose labels are known."""
    artifacts = Path(options.artifacts)
    folder, names, asked = artifacts / "embeddings", store_names(artifacts), options.stores
    for name in asked:
        if name not in names:
            there = f"there are {', '.join(names)}" if names else "make one first with: toolkit embed"
            raise StoreError(f"there is no store {name!r} in {folder}; {there}")
    if len(set(asked)) != len(asked):
        raise OptionError(f"a store is named twice among {', '.join(asked)}; name each once")
    if asked:
        return StoreSet.of([EmbeddingStore(folder / name) for name in asked])
    if not names:
        raise StoreError(f"there is no embedding store in {folder}; make one with: toolkit embed FOLDER")
    stores = [EmbeddingStore(folder / name) for name in names]
    stores = [store for store in stores if not store.meta.for_prediction] or stores
    if len(stores) > 1:
        labelled = [store for store in stores if _has_labels(store, options)]
        stores = labelled if len(labelled) == 1 else stores
    if len(stores) > 1:
        choices = ", ".join(store.name for store in stores)
        raise OptionError(f"there are {len(stores)} stores; choose one with --store: {choices}")
    return StoreSet.of(stores[:1])


def _has_labels(store: EmbeddingStore, options: DataOptions) -> bool:
    options = _with_remembered_files([store], options)
    path = _label_file(store, options)
    if path is None:
        return False
    try:
        match_labels(store.ids, read_label_file(path, options), source_root=_root(store))
    except LabelError:
        return False
    return True


def _with_remembered_files(stores: Sequence[EmbeddingStore], options: DataOptions) -> DataOptions:
    """Return the options with the files that were given to ``embed`` filled in."""
    remembered: dict[str, str] = {}
    for role in ("labels", "tags", "split"):
        files = {store.meta.files[role]: store.name for store in stores if role in store.meta.files}
        if getattr(options, role) is not None or not files:
            continue
        if len(files) > 1:
            each = ", ".join(f"{name} {path}" for path, name in files.items())
            raise OptionError(f"the stores remember different {role} files ({each}); choose with --{role}")
        remembered[role] = next(iter(files))
    return replace(options, **remembered)  # type: ignore[arg-type]


def _about_stores(store_set: StoreSet) -> list[str]:
    if len(store_set.stores) == 1:
        return []
    scales = ", ".join(f"{record.store} x {record.scale:.3g}" for record in store_set.records)
    left_out = store_set.n_left_out
    missing = f"; {counted(left_out, 'image')} only some of them have" if left_out else ""
    views = {store.meta.views for store in store_set.stores}
    unused = "; their augmented views are not used: the numbers differ" if len(views) > 1 else ""
    images = counted(len(store_set.ids), "image")
    return [f"{len(store_set.stores)} stores, {images} ({scales}){missing}{unused}"]


# ---------------------------------------------------------------------- labels


def _label_file(store: EmbeddingStore, options: DataOptions) -> Path | None:
    if options.labels is not None:
        return Path(options.labels)
    root = _root(store)
    return None if root is None else find_label_file(root, name=store.name)


def _labels_hint(store: EmbeddingStore) -> str:
    """Return what to give as labels: the folder of the images if it holds labels too."""
    root = _root(store)
    try:
        if root is not None and root.is_dir():
            return f"{root} if its {detect_format(root)} are the labels, or a FILE"
    except LabelError:  # the folder has none
        pass
    return "FILE"


def _root(store: EmbeddingStore) -> Path | None:
    return Path(store.meta.root) if store.meta.root else None


def _relative(path: Path) -> str:
    """Return a path as a user in the working folder would write it."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _unmatched(match: LabelMatch) -> list[str]:
    unmatched = {
        "images without labels": match.unlabelled_images,
        "labels without an image": match.missing_images,
    }
    return [
        f"{what}: {', '.join(names[:3])}{', …' if len(names) > 3 else ''}"
        for what, names in unmatched.items()
        if names
    ]


# ---------------------------------------------------------------------- split


def _about_duplicates(groups: RowNumbers) -> list[str]:
    sizes = np.bincount(groups)
    several = int(sizes[sizes > 1].sum())
    return [f"{several:,} images are near-duplicates of others: such are kept together"] if several else []


def _split(
    store: EmbeddingStore,
    ids: Sequence[str],
    Y: sp.csr_array,
    groups: RowNumbers,
    options: DataOptions,
    parts_of_labels: Sequence[str],
) -> Split:
    """Return the split of the user's file, else that of the labels, else one made here."""
    if options.split is None and len(set(parts_of_labels)) > 1:
        return complete_split(
            parts_of_labels, Y, source="the folders of the labels", seed=options.seed, groups=groups
        )
    if options.split is None:
        fractions = (options.val_fraction, options.test_fraction)
        return default_split(Y, *fractions, seed=options.seed, groups=groups)
    path = Path(options.split)
    names, parts = read_split(path)
    part_of = _match_split(store, ids, names, parts, path)
    return complete_split(part_of, Y, source=str(path), seed=options.seed, groups=groups)


def _match_split(
    store: EmbeddingStore, ids: Sequence[str], names: Sequence[str], parts: Sequence[str], path: Path
) -> list[str]:
    """Return the part of each id, matched as labels are; empty where the split does not name it."""
    space = LabelSpace(PARTS)
    source = path.absolute()
    table = LabelTable(tuple(names), space, space.encode([part] for part in parts), path, source.parent)
    try:
        match = match_labels(ids, table, source_root=_root(store))
    except LabelError as error:
        raise SplitError(
            f"no labelled image is in the split {path}: it names {names[0]!r}, an image is {ids[0]!r}"
        ) from error
    out = [""] * len(ids)
    for row, place in zip(match.store_rows.tolist(), match.table_rows.tolist(), strict=True):
        out[row] = parts[place]
    if match.unlabelled_images:
        logger.warning(
            "%s not in the split %s: left out",
            counted(len(match.unlabelled_images), "labelled image is", "labelled images are"),
            path,
        )
    return out
