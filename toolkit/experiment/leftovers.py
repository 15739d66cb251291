"""What killed commands left in an artifacts folder: it is named by ``info`` and swept by the next command."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from toolkit.errors import StoreError
from toolkit.evaluation.scorestore import SCORES_SUFFIX, csv_path, scores_path
from toolkit.files.atomic import partials, settle, sweep_partials, unsettled
from toolkit.files.folders import beside, discard, restore
from toolkit.files.locks import StoreLock, holding, try_lock
from toolkit.store.folders import holds_rows, recover

WORK = ".work-"
_PLACES = ("heads", "comparisons", "predictions")


@dataclass(frozen=True)
class Leftover:
    """A file or folder that a killed command left, or a running one uses.

    Attributes
    ----------
    path : Path
    what : str
        In words.
    in_use : bool
        Whether a running command holds it.
    """

    path: Path
    what: str
    in_use: bool


def leftovers(artifacts: Path) -> list[Leftover]:
    """List what is neither a store nor a head, comparison or prediction; nothing is changed."""
    return sorted((*_of_stores(artifacts), *_of_others(artifacts)), key=lambda each: each.path)


def _of_stores(artifacts: Path) -> Iterator[Leftover]:
    for target in _targets(artifacts / "embeddings"):
        lock = target.with_name(f".{target.name}.lock")
        with try_lock(lock) as free:
            in_use = lock.exists() and not free
        partial = beside(target, "partial")
        if partial.exists():
            resumable = "the same embed command resumes it" if holds_rows(partial) else "it holds no rows"
            yield Leftover(partial, f"an unfinished pass; {resumable}", in_use)
        yield from _replaced(target, in_use)


def _of_others(artifacts: Path) -> Iterator[Leftover]:
    for target in _targets(artifacts / "heads"):
        yield from _replaced(target, in_use=False)
    for folder in artifacts.glob(f"{WORK}*"):
        with try_lock(folder) as free:
            yield Leftover(folder, "the work of a command", not free)
    for place in _PLACES:
        for path in partials(artifacts / place):
            with try_lock(path) as free:
                yield Leftover(path, "a file half written", not free)
    for path in unsettled(artifacts / "predictions"):
        yield Leftover(path, "a prediction about to be replaced", in_use=False)


def _replaced(target: Path, in_use: bool) -> Iterator[Leftover]:
    if (previous := beside(target, "previous")).exists():
        what = "an earlier version" if target.exists() else f"{target.name}, while it was being replaced"
        yield Leftover(previous, what, in_use)
    if (fresh := beside(target, "next")).exists():
        yield Leftover(fresh, "a copy not yet in place", in_use)
    if (trash := beside(target, "trash")).exists():
        yield Leftover(trash, "a folder half deleted", in_use)


def _targets(parent: Path) -> list[Path]:
    """Return the folders in `parent`, there or not, that have a folder of some role beside them."""
    names = {path.name.removeprefix(".").rpartition(".")[0] for path in parent.glob(".*.*") if path.is_dir()}
    return [parent / name for name in sorted(names)]


def sweep(artifacts: Path) -> None:
    """Delete or put back what killed commands left; what a running command holds, or resumes, stays."""
    for folder in artifacts.glob(f"{WORK}*"):
        with try_lock(folder) as free:
            if free:
                shutil.rmtree(folder, ignore_errors=True)
    for target in _targets(artifacts / "embeddings"):
        _sweep_store(target)
    if targets := _targets(artifacts / "heads"):
        with holding(artifacts / "heads"):
            for target in targets:
                restore(target)
                discard(beside(target, "next"), target)
    for place in _PLACES:
        sweep_partials(artifacts / place)
    for path in unsettled(artifacts / "predictions"):
        csv = csv_path(path) if path.name.endswith(SCORES_SUFFIX) else path
        settle(csv, scores_path(csv))


def _sweep_store(target: Path) -> None:
    try:
        lock = StoreLock(target)
    except StoreError:
        return  # a running pass writes this store
    with lock:
        recover(target)
        if not holds_rows(beside(target, "partial")):
            discard(beside(target, "next"), target)
