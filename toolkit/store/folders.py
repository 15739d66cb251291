"""The folders beside a store while a pass writes it, and their repair after a kill.

``.<name>.partial``
    A pass in progress. Its journal lists the rows it has.
``.<name>.next``
    The next partial folder, or a store without the slots of failed images. It holds only copies of rows.

The others are those of `toolkit.files.folders`.
"""

import contextlib
import logging
from pathlib import Path

from toolkit.errors import StoreError
from toolkit.files.disk import writing
from toolkit.files.folders import beside, discard, restore
from toolkit.files.npy import open_array
from toolkit.store.records import StoreMeta, array_names

logger = logging.getLogger(__name__)


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
        restore(target)
        if target.is_dir():  # of a pass killed when it had just finished
            (target / "journal.csv").unlink(missing_ok=True)
        partial, fresh = beside(target, "partial"), beside(target, "next")
        if not holds_rows(partial):
            if holds_rows(fresh):
                discard(partial, target)
                fresh.rename(partial)
            elif _size(partial / "journal.csv"):
                logger.warning("the interrupted pass of %s is damaged: starting it again", target)


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
