"""From a store, a label file and a split to the rows a head is fitted, tuned and measured on."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from toolkit.errors import LabelError, OptionError, SplitError, StoreError
from toolkit.evaluation.duplicates import near_duplicate_groups
from toolkit.evaluation.options import TEST_FRACTION, VAL_FRACTION
from toolkit.evaluation.splits import (
    PARTS,
    Split,
    complete_split,
    default_split,
    read_split,
)
from toolkit.experiment.sources import Source
from toolkit.labels.find import find_label_file
from toolkit.labels.match import LabelMatch, match_labels
from toolkit.labels.read import read_labels
from toolkit.labels.space import LabelSpace
from toolkit.labels.table import LabelTable
from toolkit.runtime.messages import counted
from toolkit.runtime.stages import Stages
from toolkit.store.reading import EmbeddingStore

logger = logging.getLogger(__name__)

Rows = NDArray[np.intp]


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """Which stores, labels and split are meant, and how the label file is read.

    Everything but `artifacts` may be left out: the store if there is one only, or one only with labels;
    labels, tags and split if ``embed`` was given them, or (labels) if a label file lies beside or in what was
    embedded.

    Attributes
    ----------
    store : str, or sequence of str, optional
        Several stores are joined: the images all of them have, their features side by side.
    labels, tags, split : path, optional
    format, separator, encoding, ignore_unknown_tags
        As `toolkit.labels.read.read_labels` takes them.
    val_fraction, test_fraction : float
        Of the default split.
    seed : int
        Of the split and the heads.
    """

    artifacts: Path = Path("artifacts")
    store: str | Sequence[str] | None = None
    labels: Path | None = None
    tags: Path | None = None
    split: Path | None = None
    format: str = "auto"
    separator: str = ","
    encoding: str = "utf-8"
    ignore_unknown_tags: bool = False
    val_fraction: float = VAL_FRACTION
    test_fraction: float = TEST_FRACTION
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled images, split.

    Attributes
    ----------
    source : Source
        Their features.
    Y : csr_array (N, L) bool
    space : LabelSpace
    split : Split
        In rows of `source` and `Y`.
    groups : ndarray (N,) intp
        Near-duplicates have equal numbers.
    notes : tuple of str
        What was found and matched, for the user.
    """

    source: Source
    Y: sp.csr_array
    space: LabelSpace
    split: Split
    groups: Rows
    notes: tuple[str, ...]

    @property
    def ids(self) -> tuple[str, ...]:
        """The images' ids, one a row."""
        return self.source.ids


def load_dataset(options: DataOptions, stages: Stages | None = None) -> Dataset:
    """Open the store or stores, read and match their labels, and split; `stages` is told how long that took.

    Raises
    ------
    StoreError, LabelError, SplitError, OptionError
        Something is missing, contradicts something else or does not match; the message says which.
    """
    stages = Stages() if stages is None else stages
    with stages.timing("read and match"):
        every = choose_source(options)
        store, options = every.stores[0], _remembered(every.stores, options)
        path = _label_file(store, options)
        if path is None:
            raise LabelError(
                f"no label file for the store {store.name!r}: none was given to embed and none lies beside "
                f"or in {store.meta.root or 'what was imported'}; give --labels FILE"
            )
        table = _read(path, options)
        match = match_labels(every.ids, table, source_root=_root(store))
        source = every.take(match.store_rows)
        Y = sp.csr_array(table.Y[match.table_rows])
    if not Y.nnz:
        raise LabelError(f"{path} gives the images of the store no tag at all; there is nothing to learn")
    with stages.timing("near-duplicates"):
        digests = [store.rows[row].digest for row in source.rows[0]]
        groups = near_duplicate_groups(source.features(), digests=digests)
    with stages.timing("split"):
        split = _split(store, source.ids, Y, groups, options)
    notes = (
        *_joined(every),
        f"labels from {_shown(path)}: {match.summary()}",
        *table.notes,
        *_left_over(match),
        f"split: {split.source}",
        *_alike(groups),
    )
    return Dataset(source, Y, table.space, split, groups, notes)


def _joined(source: Source) -> list[str]:
    if len(source.stores) == 1:
        return []
    scales = ", ".join(f"{part.store} x {part.scale:.3g}" for part in source.parts)
    missing = f"; {counted(source.left_out, 'image')} only some of them have" if source.left_out else ""
    views = {store.meta.views for store in source.stores}
    unused = "; their augmented views are not used: the numbers differ" if len(views) > 1 else ""
    return [f"{len(source.stores)} stores, {counted(len(source.ids), 'image')} ({scales}){missing}{unused}"]


def _shown(path: Path) -> str:
    """Return a path as a user in the working folder would write it."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def store_names(artifacts: Path) -> list[str]:
    """Return the names of all finished stores."""
    folder = artifacts / "embeddings"
    return sorted(path.parent.name for path in folder.glob("[!.]*/meta.json"))


def choose_source(options: DataOptions) -> Source:
    """Open the stores named, or the only one, or the only one whose labels are known.

    Raises
    ------
    StoreError
        There is none, or none of that name.
    OptionError
        There are several to choose from.
    """
    folder = options.artifacts / "embeddings"
    names = store_names(options.artifacts)
    asked = (options.store,) if isinstance(options.store, str) else tuple(options.store or ())
    for name in asked:
        if name not in names:
            there = (
                f"there are {', '.join(names)}"
                if names
                else "there are none yet; make one with: toolkit embed"
            )
            raise StoreError(f"there is no store {name!r} in {folder}; {there}")
    if len(set(asked)) != len(asked):
        raise OptionError(f"a store is named twice among {', '.join(asked)}; name each once")
    if asked:
        return Source.of([EmbeddingStore(folder / name) for name in asked])
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
    return Source.of(stores[:1])


def _has_labels(store: EmbeddingStore, options: DataOptions) -> bool:
    options = _remembered([store], options)
    path = _label_file(store, options)
    if path is None:
        return False
    try:
        match_labels(store.ids, _read(path, options), source_root=_root(store))
    except LabelError:
        return False
    return True


def _remembered(stores: Sequence[EmbeddingStore], options: DataOptions) -> DataOptions:
    """Return the options with the files that were given to ``embed`` filled in."""
    found: dict[str, Path] = {}
    for what in ("labels", "tags", "split"):
        files = {store.meta.files[what]: store.name for store in stores if what in store.meta.files}
        if getattr(options, what) is not None or not files:
            continue
        if len(files) > 1:
            each = ", ".join(f"{name} {path}" for path, name in files.items())
            raise OptionError(f"the stores remember different {what} files ({each}); choose with --{what}")
        found[what] = Path(next(iter(files)))
    return replace(options, **found)  # type: ignore[arg-type]


def _label_file(store: EmbeddingStore, options: DataOptions) -> Path | None:
    if options.labels is not None:
        return options.labels
    root = _root(store)
    return None if root is None else find_label_file(root, name=store.name)


def _read(path: Path, options: DataOptions) -> LabelTable:
    return read_labels(
        path,
        tags=options.tags,
        format=options.format,
        separator=options.separator,
        encoding=options.encoding,
        ignore_unknown_tags=options.ignore_unknown_tags,
    )


def _root(store: EmbeddingStore) -> Path | None:
    return Path(store.meta.root) if store.meta.root else None


def _left_over(match: LabelMatch) -> list[str]:
    found = []
    for what, names in (
        ("images without labels", match.unlabelled_images),
        ("labels without an image", match.missing_images),
    ):
        if names:
            more = ", …" if len(names) > 3 else ""
            found.append(f"{what}: {', '.join(names[:3])}{more}")
    return found


def _alike(groups: Rows) -> list[str]:
    sizes = np.bincount(groups)
    several = int(sizes[sizes > 1].sum())
    return [f"{several:,} images are near-duplicates of others: such are kept together"] if several else []


def _split(
    store: EmbeddingStore, ids: Sequence[str], Y: sp.csr_array, groups: Rows, options: DataOptions
) -> Split:
    if options.split is None:
        fractions = (options.val_fraction, options.test_fraction)
        return default_split(Y, *fractions, seed=options.seed, groups=groups)
    names, parts = read_split(options.split)
    part_of = _match_split(store, ids, names, parts, options.split)
    return complete_split(part_of, Y, source=str(options.split), seed=options.seed, groups=groups)


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
