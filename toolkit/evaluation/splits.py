"""Splits of rows into train (to learn from), val (to tune on) and test (to measure on)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from toolkit.arrays.sampling import group_numbers
from toolkit.arrays.types import Float64Array, RowNumbers
from toolkit.errors import OptionError, SplitError
from toolkit.evaluation.options import TEST_FRACTION, VAL_FRACTION
from toolkit.files.csv import IMAGE_COLUMNS, column_mark, find_column, need_column, read_csv, write_csv
from toolkit.runtime.messages import counted, quoted

PARTS = ("train", "val", "test")
_ALIASES = {"training": "train", "valid": "val", "validation": "val", "dev": "val", "testing": "test"}
_PART_COLUMNS = ("split", "part", "subset", "fold", "set")


def part_named(name: str) -> str | None:
    """Return ``train``, ``val`` or ``test`` for a name of that part, such as ``valid``; None for another.

    Examples
    --------
    >>> part_named("Validation"), part_named("cat")
    ('val', None)
    """
    name = name.strip().casefold()
    name = _ALIASES.get(name, name)
    return name if name in PARTS else None


@dataclass(frozen=True, eq=False)
class Split:
    """Row numbers of each part, ascending, (n,) intp; `source` describes how the split was made.

    `test` may be empty: no rows are then held out to measure on.
    """

    train: RowNumbers
    val: RowNumbers
    test: RowNumbers
    source: str = ""

    def parts(self) -> dict[int, str]:
        """Return the part of every row that has one."""
        return {int(row): part for part in PARTS for row in getattr(self, part)}


def stratified_split(
    Y: sp.csr_array,
    fractions: Sequence[float] = (1 - VAL_FRACTION - TEST_FRACTION, VAL_FRACTION, TEST_FRACTION),
    *,
    seed: int = 0,
    groups: RowNumbers | None = None,
) -> list[RowNumbers]:
    """Split rows into parts so that every tag, the rarest first, is spread by `fractions`.

    Iterative stratification (Sechidis, Tsoumakas and Vlahavas, ECML PKDD 2011) on sparse labels. 35,000 rows
    with 27 of 6,941 tags each take a few seconds.

    Parameters
    ----------
    Y : csr_array (N, L) bool
    fractions : sequence of float
        Share of rows of each part; the sum is 1.
    seed : int
        Breaks ties and orders rows; equal seeds give equal splits.
    groups : ndarray (N,), optional
        Rows with the same number, such as near-duplicates, stay together.

    Returns
    -------
    list of ndarray
        Ascending row numbers of each part. A part is empty only if there are fewer groups than parts.

    Examples
    --------
    >>> import numpy as np
    >>> import scipy.sparse as sp
    >>> Y = sp.csr_array(np.random.default_rng(0).random((200, 5)) < 0.3)
    >>> train, val, test = stratified_split(Y)
    >>> len(train), len(val), len(test)
    (140, 30, 30)
    """
    random = np.random.default_rng(seed)
    member, n_units = group_numbers(Y.shape[0], groups)
    unit = random.permutation(n_units)[member]
    gather = sp.csr_array(
        (np.ones(len(unit), np.int64), (unit, np.arange(len(unit)))), shape=(n_units, len(unit))
    )
    units = sp.csr_array(gather @ Y.astype(np.int64))  # how many rows of each unit have each tag
    part_of = _deal(units, np.bincount(unit, minlength=n_units), np.asarray(fractions, float), random)[unit]
    return [np.flatnonzero(part_of == part) for part in range(len(fractions))]


def _deal(
    units: sp.csr_array, sizes: RowNumbers, fractions: Float64Array, random: np.random.Generator
) -> RowNumbers:
    """Return the part of each unit: `sizes` rows that stay together, `units` (n_units, L) with each tag."""
    n_units, L = units.shape
    wanted_rows = fractions * sizes.sum()
    wanted = fractions[:, None] * np.asarray(units.sum(axis=0), float)
    left = np.bincount(units.indices, minlength=L)  # unassigned units that have each tag
    columns = units.tocsc()
    part_of = np.full(n_units, -1, np.intp)

    def assign(unit: int, part: int) -> None:
        held = slice(units.indptr[unit], units.indptr[unit + 1])
        tags = units.indices[held]
        wanted[part, tags] -= units.data[held]
        left[tags] -= 1
        wanted_rows[part] -= sizes[unit]
        part_of[unit] = part

    while left.any():
        tag = int(np.argmin(np.where(left > 0, left, n_units + 1)))
        having = columns.indices[columns.indptr[tag] : columns.indptr[tag + 1]]
        for unit in having[part_of[having] < 0]:
            assign(int(unit), _most_wanting(wanted[:, tag], wanted_rows, random))
    for unit in np.flatnonzero(part_of < 0):
        assign(int(unit), _most_wanting(wanted_rows, wanted_rows, random))
    # an empty part that should have rows takes one unit of the part with most, if that has several
    for part in np.flatnonzero(fractions > 0):
        have = np.bincount(part_of, minlength=len(fractions))
        if not have[part] and have.max(initial=0) > 1:
            part_of[np.flatnonzero(part_of == have.argmax())[-1]] = part
    return part_of


def _most_wanting(wanted: Float64Array, wanted_rows: Float64Array, random: np.random.Generator) -> int:
    best = np.flatnonzero(wanted >= wanted.max() - 1e-9)
    if len(best) > 1:
        best = best[wanted_rows[best] >= wanted_rows[best].max() - 1e-9]
    return int(best[0] if len(best) == 1 else random.choice(best))


def default_split(
    Y: sp.csr_array,
    val_fraction: float = VAL_FRACTION,
    test_fraction: float = TEST_FRACTION,
    *,
    seed: int = 0,
    groups: RowNumbers | None = None,
) -> Split:
    """Return a stratified split, by default 70/15/15. `test_fraction` may be 0.

    `OptionError` if the fractions leave nothing to train or tune on, `SplitError` if there are too few rows
    or groups for the parts.
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
    parts: Sequence[str], Y: sp.csr_array, *, source: str, seed: int = 0, groups: RowNumbers | None = None
) -> Split:
    """Return the user's split; if it has no val rows, 15 % of ``train`` become ``val``.

    `parts` has ``train``, ``val`` or ``test`` for each row of Y (N, L); empty for rows that are left out.
    `SplitError` if no row is ``train``, or too few are to hold some out as val.
    """
    named = np.array(parts, dtype=object)
    train, val, test = (np.flatnonzero(named == part) for part in PARTS)
    if not len(train):
        raise SplitError(f"{source} names no labelled image as train; at least some must be")
    if not len(val):
        fractions = 1 - VAL_FRACTION, VAL_FRACTION
        train_groups = None if groups is None else groups[train]
        kept, held_out = stratified_split(Y[train], fractions, seed=seed, groups=train_groups)
        if not (len(kept) and len(held_out)):
            raise SplitError(
                f"{source} has {counted(len(train), 'train row')}, too few to hold 15 % out as val; add some"
            )
        train, val = train[kept], train[held_out]
        source = f"{source}, 15 % of train held out as val, seed {seed}"
    return Split(train, val, test, source)


def read_split(path: Path) -> tuple[list[str], list[str]]:
    """Read a csv ``img_path,split`` and return ids and parts.

    Other names of the parts, such as ``dev``, are accepted, see `_ALIASES`. `SplitError` if the file cannot
    be read, has no such columns, another part, or one image in two parts.
    """
    rows = read_csv(path, error=SplitError, escape=True, mark=column_mark(path, error=SplitError))
    _, header = next(rows)
    image = need_column(header, IMAGE_COLUMNS, what="image", path=path, error=SplitError)
    column = find_column(header, _PART_COLUMNS)
    if column is None:
        raise SplitError(f"{path} has no split column; name one split, with train, val or test in each row")
    seen: dict[str, tuple[int, str]] = {}
    for line, cells in rows:
        part = part_named(cells[column])
        if part is None:
            raise SplitError(
                f"{path} line {line}: split is {quoted(cells[column])}; allowed are train, val and test"
            )
        first, before = seen.setdefault(cells[image], (line, part))
        if before != part:
            raise SplitError(
                f"{path}: {quoted(cells[image])} is {before} in line {first} and {part} in line {line}; "
                "keep one"
            )
    if not seen:
        raise SplitError(f"{path} lists no images; write one img_path,split a row")
    return list(seen), [part for _, part in seen.values()]


def write_split(path: Path, ids: Sequence[str], split: Split) -> None:
    """Write ``img_path,split`` for every row that has a part, in row order."""
    write_csv(path, ("img_path", "split"), ((ids[row], part) for row, part in sorted(split.parts().items())))
