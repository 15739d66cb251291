"""Predictions as a csv ``img_path,tags``."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from toolkit.errors import LabelError
from toolkit.files.text import write_csv
from toolkit.runtime.messages import counted

HEADER = ("img_path", "tags")


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
) -> None:
    """Write one row an image, its tags joined in one cell.

    `bom` writes a byte order mark, for Excel.
    """
    rows = ((name, separator.join(its_tags)) for name, its_tags in zip(names, tags, strict=True))
    write_csv(path, HEADER, rows, bom=bom)
