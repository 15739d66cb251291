"""The folders beside a store while a pass writes it, and their repair after a kill.

``.<name>.partial``
    A pass in progress. Its journal lists the rows it has.
``.<name>.next``
    The next partial folder, or a store without the slots of failed images. It holds only copies of rows.
``.<name>.previous``
    The finished store, between the two renames that replace it.
``.<name>.trash``
    A folder being deleted: renamed first, so that a kill leaves nothing that looks complete.
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
    """Return the folder of that role beside `target`."""
    return target.with_name(f".{target.name}.{role}")


def earlier(target: Path) -> list[StoreMeta]:
    """Return the descriptions of the finished store and an interrupted pass, if any; `recover` first."""
    metas = []
    for folder in (target, beside(target, "partial")):
        with contextlib.suppress(StoreError):
            metas.append(StoreMeta.read(folder / "meta.json"))
    return metas


def recover(target: Path) -> None:
    """Repair the folders after a kill between two renames or during a deletion."""
    with writing(target):
        partial, fresh, previous = (beside(target, role) for role in ("partial", "next", "previous"))
        if previous.exists() and not target.exists():
            previous.rename(target)
        discard(previous, target)
        if not holds_rows(partial):
            if holds_rows(fresh):
                discard(partial, target)
                fresh.rename(partial)
            elif _size(partial / "journal.csv"):
                logger.warning("the interrupted pass of %s is damaged: starting it again", target)
        discard(beside(target, "trash"), target)


def replace(folder: Path, target: Path) -> None:
    """Rename `folder` to `target`; an earlier `target` is kept beside it until that has succeeded."""
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
    """Delete a folder beside `target`; if that is not possible, it is still renamed."""
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


def holds_rows(folder: Path) -> bool:
    """Return whether the pass in `folder` has all its arrays and a journal."""
    try:
        meta = StoreMeta.read(folder / "meta.json")
        shapes = {open_array(folder / name).shape for name in array_names(meta.views)}
    except StoreError:
        return False
    return len(shapes) == 1 and shapes.pop()[1:] == (meta.spec.dim,) and _size(folder / "journal.csv") > 0


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
