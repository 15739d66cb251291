"""Predictions as a csv ``img_path,tags``."""

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from toolkit.errors import LabelError
from toolkit.files.csv import write_csv
from toolkit.runtime.messages import counted

HEADER = ("img_path", "tags")
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""With these a spreadsheet begins a formula: the list of OWASP's page on csv injection."""

logger = logging.getLogger(__name__)


def check_tags(tags: Sequence[str], separator: str) -> None:
    """Raise `LabelError` if a tag contains the separator: it could not be read back."""
    holding = [tag for tag in tags if separator in tag]
    if holding:
        raise LabelError(
            f"{counted(len(holding), 'tag holds', 'tags hold')} the separator {separator!r}, first "
            f"{holding[0]!r}; nothing was written: give another --separator, such as | or ;"
        )


def bare_names(ids: Sequence[str]) -> tuple[list[str], int]:
    """Return the ids without their folders, and how many rows share a name with another image."""
    names = [image.rpartition("/")[2] for image in ids]
    count = Counter(name for _, name in set(zip(ids, names, strict=True)))
    return names, sum(count[name] > 1 for name in names)


def write_predictions(
    path: Path,
    names: Sequence[str],
    tags: Sequence[Sequence[str]],
    *,
    separator: str = ",",
    bom: bool = False,
    excel_safe: bool = False,
) -> None:
    """Write one row an image, its tags joined in one cell.

    `bom` writes a byte order mark, for Excel. A name or tag that a spreadsheet takes for a formula is warned
    of; with `excel_safe` it is written with a single quote before it. Every tag counts, not only a cell's
    first: a spreadsheet may be set to split at any separator.
    """
    if excel_safe:
        names, tags = [_as_text(name) for name in names], [[_as_text(tag) for tag in row] for row in tags]
    else:
        _warn_of_formulas(names, tags)
    rows = ((name, separator.join(its_tags)) for name, its_tags in zip(names, tags, strict=True))
    write_csv(path, HEADER, rows, bom=bom)


def _as_text(word: str) -> str:
    return f"'{word}" if word.startswith(FORMULA_STARTS) else word


def _warn_of_formulas(names: Sequence[str], tags: Sequence[Sequence[str]]) -> None:
    """Count the cells that hold a formula, and show the first."""
    cells = ([name] for name in names), tags
    found = [word for column in cells for words in column if (word := _first_formula(words)) is not None]
    if found:
        logger.warning(
            "%s written: a name or tag begins with = + - @, a tab or a line break, first %r; a spreadsheet "
            "takes that for a formula: open the file as text, or write it with --excel-safe",
            counted(len(found), "cell"),
            found[0],
        )


def _first_formula(words: Sequence[str]) -> str | None:
    return next((word for word in words if word.startswith(FORMULA_STARTS)), None)
