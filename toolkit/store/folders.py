"""The folders beside a store while a pass into it is on, and what a kill leaves of them.

``.<name>.partial``
    A pass in progress. Its journal says which rows are there.
``.<name>.next``
    The partial folder to come, or a store with its rows closed up. Nothing but copies of rows.
``.<name>.previous``
    The finished store, between the two renames that replace it.
``.<name>.trash``
    What is being deleted: renamed first, so that a kill on the way leaves nothing that looks whole.
"""

import contextlib
import logging
import os
import shutil
from pathlib import Path
from typing import Literal

from toolkit.errors import StoreError
from toolkit.files.disk import writing
from toolkit.files.npy import open_array
from toolkit.store.records import StoreMeta, array_names

logger = logging.getLogger(__name__)


def beside(target: Path, role: Literal["partial", "next", "previous", "trash"]) -> Path:
    """Return the folder beside `target` that has that role."""
    return target.with_name(f".{target.name}.{role}")


def described(target: Path) -> StoreMeta | None:
    """Return what the store at `target`, or else the pass into it that was cut off, says of itself."""
    for folder in (target, beside(target, "previous"), beside(target, "partial"), beside(target, "next")):
        if (folder / "meta.json").is_file():
            return StoreMeta.read(folder / "meta.json")
    return None


def earlier(target: Path) -> list[StoreMeta]:
    """Return what the finished store and a pass that was cut off say of themselves, where readable."""
    found = []
    for folder in (target, beside(target, "partial")):
        with contextlib.suppress(StoreError):
            found.append(StoreMeta.read(folder / "meta.json"))
    return found


def interrupted(target: Path) -> bool:
    """Tell whether a pass into `target` was cut off and can be resumed; `recover` first."""
    return _holds_rows(beside(target, "partial"))


def recover(target: Path) -> None:
    """Undo what a kill left between two renames or of a deletion: no store and no pass is lost."""
    with writing(target):
        partial, fresh, previous = (beside(target, role) for role in ("partial", "next", "previous"))
        if previous.exists() and not target.exists():
            previous.rename(target)
        discard(previous, target)
        if not _holds_rows(partial):
            if _holds_rows(fresh):
                discard(partial, target)
                fresh.rename(partial)
            elif _size(partial / "journal.csv"):
                logger.warning("the pass into %s that was cut off is damaged: it is begun anew", target)
        discard(beside(target, "trash"), target)


def replace(folder: Path, target: Path) -> None:
    """Put `folder` in the place of `target`; in between, what was there is kept beside it."""
    previous = beside(target, "previous")
    if os.path.lexists(target):
        discard(previous, target)
        target.rename(previous)
    try:
        folder.rename(target)
    except OSError:
        if previous.exists():
            previous.rename(target)
        raise
    discard(previous, target)


def discard(folder: Path, target: Path) -> None:
    """Delete a folder beside `target`, or at least move it out of the way."""
    trash = beside(target, "trash")
    _delete(trash)
    if os.path.lexists(folder):
        folder.rename(trash)
        _delete(trash)


def _delete(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink()
    else:
        shutil.rmtree(path, ignore_errors=True)


def _holds_rows(folder: Path) -> bool:
    """Tell whether rows can be taken from the pass in `folder`: it has them all, and a journal of them."""
    try:
        meta = StoreMeta.read(folder / "meta.json")
        shapes = {open_array(folder / name).shape for name in array_names(meta.views)}
    except StoreError:
        return False
    return len(shapes) == 1 and shapes.pop()[1:] == (meta.spec.dim,) and _size(folder / "journal.csv") > 0


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
