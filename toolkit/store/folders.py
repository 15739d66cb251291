"""The folders beside a store while a pass into it is on, and what a kill leaves of them."""

import shutil
from pathlib import Path
from typing import Literal

from toolkit.store.records import StoreMeta


def beside(target: Path, role: Literal["partial", "next", "previous"]) -> Path:
    """Return the folder beside `target` that has that role."""
    return target.with_name(f".{target.name}.{role}")


def described(target: Path) -> StoreMeta | None:
    """Return what the store at `target`, or else the pass into it that was cut off, says of itself."""
    for folder in (target, beside(target, "partial")):
        if (folder / "meta.json").is_file():
            return StoreMeta.read(folder / "meta.json")
    return None


def interrupted(target: Path) -> bool:
    """Tell whether a pass into `target` was cut off and can be resumed."""
    return any((beside(target, role) / "journal.csv").is_file() for role in ("partial", "next"))


def recover(target: Path) -> None:
    """Undo what a kill left between two renames: no store and no pass is lost."""
    partial, fresh, previous = (beside(target, role) for role in ("partial", "next", "previous"))
    if previous.exists() and not target.exists():
        previous.rename(target)
    shutil.rmtree(previous, ignore_errors=True)
    if not partial.exists() and (fresh / "journal.csv").is_file():
        fresh.rename(partial)


def replace(folder: Path, target: Path) -> None:
    """Put `folder` in the place of `target`; in between, what was there is kept beside it."""
    previous = beside(target, "previous")
    if target.exists():
        target.rename(previous)
    folder.rename(target)
    shutil.rmtree(previous, ignore_errors=True)
