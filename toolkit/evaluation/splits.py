"""Splits: which rows a head learns from (train), is tuned on (val) and is measured on (test)."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

from toolkit.arrays.features import blocks, loaded, unit_rows
from toolkit.errors import OptionError, SplitError
from toolkit.evaluation.options import TEST_FRACTION, VAL_FRACTION
from toolkit.files.text import IMAGE_COLUMNS, find_column, need_column, read_csv, write_csv
from toolkit.runtime.messages import counted

logger = logging.getLogger(__name__)

Rows = NDArray[np.intp]
Floats = NDArray[np.float32]

PARTS = ("train", "val", "test")
_ALIASES = {
    "training": "train",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "testing": "test",
}
_PART_COLUMNS = ("split", "part", "subset", "fold", "set")

DUPLICATE_COSINE = 0.97
"""Centred cosine from which on two rows count as one picture.

Of 2,100 aerial tiles (UC Merced) 28 are grouped at .97 and 275 at .90, where whole kinds of field run
together.
"""
IMPLAUSIBLE_GROUP = 0.05  # share of all rows; a larger "duplicate" group says the features tell nothing apart
_SKETCH = 256  # dimensions of the random projection that proposes pairs
_SKETCH_SLACK = 0.05  # five standard deviations of its error at the cosine above
_BLOCK = 2048
_WIDE_BLOCK = 16 * _BLOCK  # rows compared with a block at a time: their products take 256 MB


@dataclass(frozen=True, eq=False)
class Split:
    """Row numbers of each part, ascending, (n,) intp.

    `test` may be empty: then nothing was set aside to measure on. `source` says in words where the split
    comes from.
    """

    train: Rows
    val: Rows
    test: Rows
    source: str = ""

    def parts(self) -> dict[int, str]:
        """Return the part of every row that has one."""
        return {int(row): part for part in PARTS for row in getattr(self, part)}


def stratified_split(
    Y: sp.csr_array,
    fractions: Sequence[float] = (1 - VAL_FRACTION - TEST_FRACTION, VAL_FRACTION, TEST_FRACTION),
    *,
    seed: int = 0,
    groups: Rows | None = None,
) -> list[Rows]:
    """Deal rows to parts so that every tag, the rarest first, is spread by `fractions`.

    Iterative stratification (Sechidis, Tsoumakas and Vlahavas, ECML PKDD 2011) on sparse labels: 35,000 rows
    of 27 among 6,941 tags take a few seconds.

    Parameters
    ----------
    Y : csr_array (N, L) bool
    fractions : sequence of float
        One a part, summing to 1.
    seed : int
        Breaks ties and orders rows; equal seeds give equal splits.
    groups : ndarray (N,), optional
        Rows with the same number stay together.

    Returns
    -------
    list of ndarray
        Ascending row numbers of each part. A part is empty only if there are fewer groups than parts.
    """
    random = np.random.default_rng(seed)
    member = np.arange(Y.shape[0]) if groups is None else np.unique(groups, return_inverse=True)[1]
    n_units = int(member.max(initial=-1)) + 1
    order = random.permutation(n_units)
    units = _by_unit(Y, order[member], n_units)
    sizes = np.bincount(order[member], minlength=n_units)
    dealt = _deal(units, sizes, np.asarray(fractions, float), random)
    of_row = dealt[order[member]]
    return [np.flatnonzero(of_row == part) for part in range(len(fractions))]


def _by_unit(Y: sp.csr_array, unit: Rows, n_units: int) -> sp.csr_array:
    """Return how many rows of each unit have each tag, (n_units, L) int64."""
    N = Y.shape[0]
    gather = sp.csr_array((np.ones(N, np.int64), (unit, np.arange(N))), shape=(n_units, N))
    return sp.csr_array(gather @ Y.astype(np.int64))


def _deal(
    units: sp.csr_array, sizes: Rows, fractions: NDArray[np.float64], random: np.random.Generator
) -> Rows:
    n_units, L = units.shape
    wanted_rows = fractions * sizes.sum()
    wanted = fractions[:, None] * np.asarray(units.sum(axis=0), float)
    left = np.bincount(units.indices, minlength=L)  # unassigned units that have each tag
    columns = units.tocsc()
    dealt = np.full(n_units, -1, np.intp)

    def give(unit: int, part: int) -> None:
        held = slice(units.indptr[unit], units.indptr[unit + 1])
        tags = units.indices[held]
        wanted[part, tags] -= units.data[held]
        left[tags] -= 1
        wanted_rows[part] -= sizes[unit]
        dealt[unit] = part

    while left.any():
        tag = int(np.argmin(np.where(left > 0, left, n_units + 1)))
        having = columns.indices[columns.indptr[tag] : columns.indptr[tag + 1]]
        for unit in having[dealt[having] < 0]:
            give(int(unit), _most_wanting(wanted[:, tag], wanted_rows, random))
    for unit in np.flatnonzero(dealt < 0):
        give(int(unit), _most_wanting(wanted_rows, wanted_rows, random))
    _fill_empty(dealt, fractions)
    return dealt


def _most_wanting(
    wanted: NDArray[np.float64], wanted_rows: NDArray[np.float64], random: np.random.Generator
) -> int:
    best = np.flatnonzero(wanted >= wanted.max() - 1e-9)
    if len(best) > 1:
        best = best[wanted_rows[best] >= wanted_rows[best].max() - 1e-9]
    return int(best[0] if len(best) == 1 else random.choice(best))


def _fill_empty(dealt: Rows, fractions: NDArray[np.float64]) -> None:
    """Give every part that is due some rows at least one unit, while there are enough."""
    for part in np.flatnonzero(fractions > 0):
        have = np.bincount(dealt, minlength=len(fractions))
        if not have[part] and have.max(initial=0) > 1:
            dealt[np.flatnonzero(dealt == have.argmax())[-1]] = part


def near_duplicate_groups(X: Any, *, digests: Sequence[str] | None = None) -> Rows:
    """Return group numbers: near-duplicates, which must not be split between parts, share one.

    Two rows are near-duplicates if their files are identical (`digests`, one a row, empty where unknown) or
    the cosine of their centred features is at least `DUPLICATE_COSINE`; groups are connected components.
    Where the features make a group of more than `IMPLAUSIBLE_GROUP` of all rows they tell nothing apart (an
    untrained network's): they are left out of it, with one warning.

    Parameters
    ----------
    X : array (N, D)

    Returns
    -------
    ndarray (N,) intp
        Equal numbers for rows of one group.
    """
    N = len(X)
    same = _same_digest(digests or [""] * N)
    pairs = np.vstack([same, _alike(X)])
    groups = _components(pairs, N)
    largest = int(np.bincount(groups).max(initial=0))
    if largest > max(IMPLAUSIBLE_GROUP * N, 10):
        logger.warning(
            "%d of %d images look alike to these features, so near-duplicates cannot be told from others: "
            "only identical files are kept on one side of the split",
            largest,
            N,
        )
        return _components(same, N)
    return groups


def _same_digest(digests: Sequence[str]) -> Rows:
    first: dict[str, int] = {}
    pairs = [(first.setdefault(digest, row), row) for row, digest in enumerate(digests) if digest]
    return np.array(pairs, dtype=np.intp).reshape(-1, 2)


def _alike(X: Any) -> Rows:
    """Return pairs of rows whose centred cosine is at least `DUPLICATE_COSINE`, (n, 2).

    A random projection proposes pairs (Johnson-Lindenstrauss: the error of a cosine c is about
    (1 - c^2) / sqrt(256)); the cosine itself confirms them.
    """
    X = loaded(X)
    N, D = X.shape
    total = sum((rows.sum(axis=0, dtype=np.float64) for _, rows in blocks(X)), np.zeros(D))
    mean = (total / max(N, 1)).astype(np.float32)
    random = np.random.default_rng(0)
    projection = random.standard_normal((D, _SKETCH), dtype=np.float32) if D > _SKETCH else None
    least = DUPLICATE_COSINE if projection is None else DUPLICATE_COSINE - _SKETCH_SLACK
    sketch = np.empty((N, min(D, _SKETCH)), np.float32)
    for part, rows in blocks(X):
        unit = unit_rows(rows - mean)
        sketch[part] = unit if projection is None else unit_rows(unit @ projection)
    found = [np.empty((0, 2), np.intp)]
    for one, other in _close(sketch, least):
        for first in range(0, len(one), _BLOCK):
            a, b = one[first : first + _BLOCK], other[first : first + _BLOCK]
            sure = np.einsum("nd,nd->n", unit_rows(X[a] - mean), unit_rows(X[b] - mean)) >= DUPLICATE_COSINE
            found.append(np.stack([a[sure], b[sure]], axis=1))
    return np.vstack(found)


def _close(sketch: Floats, least: float) -> Iterator[tuple[Rows, Rows]]:
    """Yield pairs of rows i < j whose product is at least `least`, a block of all pairs at a time."""
    for start in range(0, len(sketch), _BLOCK):
        here = sketch[start : start + _BLOCK]
        for beside in range(start, len(sketch), _WIDE_BLOCK):
            close = here @ sketch[beside : beside + _WIDE_BLOCK].T >= least
            one, other = np.nonzero(close)
            one, other = one + start, other + beside
            yield one[one < other], other[one < other]


def _components(pairs: Rows, N: int) -> Rows:
    graph = sp.csr_array((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), shape=(N, N))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.intp)


def default_split(
    Y: sp.csr_array,
    val_fraction: float = VAL_FRACTION,
    test_fraction: float = TEST_FRACTION,
    *,
    seed: int = 0,
    groups: Rows | None = None,
) -> Split:
    """Return the stratified split; 70/15/15 unless told otherwise. `test_fraction` may be 0.

    Raises
    ------
    OptionError
        The fractions leave nothing to train or to tune on.
    SplitError
        There are too few rows (or groups) for the parts.
    """
    rest = 1 - val_fraction - test_fraction
    if not (0 < val_fraction < 1 and 0 <= test_fraction < 1 and rest > 0):
        raise OptionError(
            f"--val-fraction {val_fraction:g} and --test-fraction {test_fraction:g} do not leave rows to "
            "train and tune on; the first must be above 0, the second may be 0, and their sum must be below 1"
        )
    train, val, test = stratified_split(Y, (rest, val_fraction, test_fraction), seed=seed, groups=groups)
    if not (len(train) and len(val) and (len(test) or not test_fraction)):
        raise SplitError(
            f"{counted(Y.shape[0], 'labelled image is', 'labelled images are')} too few to split into train, "
            "val and test; label more of them or give --split FILE"
        )
    shares = "/".join(f"{100 * share:.3g}" for share in (rest, val_fraction, test_fraction))
    return Split(train, val, test, f"stratified {shares}, seed {seed}")


def complete_split(
    parts: Sequence[str], Y: sp.csr_array, *, source: str, seed: int = 0, groups: Rows | None = None
) -> Split:
    """Return the user's split, with 15 % of ``train`` carved off as ``val`` where it names no val rows.

    Parameters
    ----------
    parts : sequence of str, length N
        ``train``, ``val`` or ``test`` of each row of Y; empty for rows that are left out.
    Y : csr_array (N, L)

    Raises
    ------
    SplitError
        No row is ``train``, or too few are to carve a val part off.
    """
    named = np.array(parts, dtype=object)
    train, val, test = (np.flatnonzero(named == part) for part in PARTS)
    if not len(train):
        raise SplitError(f"{source} names no labelled image as train; at least some must be")
    if not len(val):
        own = None if groups is None else groups[train]
        kept, held = stratified_split(Y[train], (1 - VAL_FRACTION, VAL_FRACTION), seed=seed, groups=own)
        if not (len(kept) and len(held)):
            raise SplitError(
                f"{source} has {counted(len(train), 'train row')}, too few to hold 15 % out as val; add some"
            )
        train, val = train[kept], train[held]
        source = f"{source}, 15 % of train held out as val, seed {seed}"
    return Split(train, val, test, source)


def read_split(path: Path) -> tuple[list[str], list[str]]:
    """Read a csv ``img_path,split`` and return ids and parts.

    Parts are ``train``, ``val``, ``test`` (also ``valid``, ``validation``, ``dev``, ``training``,
    ``testing``).

    Raises
    ------
    SplitError
        The file cannot be read, has no such columns, another part, or one image in two parts.
    """
    rows = read_csv(path, error=SplitError, escape=True)
    _, header = next(rows)
    image = need_column(header, IMAGE_COLUMNS, what="image", path=path, error=SplitError)
    column = find_column(header, _PART_COLUMNS)
    if column is None:
        raise SplitError(f"{path} has no split column; name one split, with train, val or test in each row")
    seen: dict[str, tuple[int, str]] = {}
    for line, cells in rows:
        part = cells[column].strip().lower()
        part = _ALIASES.get(part, part)
        if part not in PARTS:
            raise SplitError(
                f"{path} line {line}: split is {cells[column]!r}; allowed are train, val and test"
            )
        first, before = seen.setdefault(cells[image], (line, part))
        if before != part:
            raise SplitError(
                f"{path}: {cells[image]!r} is {before} in line {first} and {part} in line {line}; keep one"
            )
    if not seen:
        raise SplitError(f"{path} lists no images; write one img_path,split a row")
    return list(seen), [part for _, part in seen.values()]


def write_split(path: Path, ids: Sequence[str], split: Split) -> None:
    """Write ``img_path,split`` for every row that has a part, in row order."""
    write_csv(path, ("img_path", "split"), ((ids[row], part) for row, part in sorted(split.parts().items())))
