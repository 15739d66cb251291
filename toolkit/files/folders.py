"""Finished folders that are replaced as a whole, and readers that never mix two of them.

A folder is replaced by two renames: the old one to ``.<name>.previous``, the new one into its place. A reader
takes the one that is there, also between the two renames, and reads again if it was replaced meanwhile.
"""

import contextlib
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal, TypeVar

from toolkit.errors import ChangedError

R = TypeVar("R")

Role = Literal["partial", "next", "previous", "trash"]
ROLES: tuple[Role, ...] = ("partial", "next", "previous", "trash")
ATTEMPTS = 20  # a folder that is replaced as often while it is read is refused


def beside(target: Path, role: Role) -> Path:
    """Return the folder of that role beside `target`.

    ``partial`` is work in progress and ``next`` its copy, ``previous`` the finished folder while it is
    replaced, ``trash`` a folder being deleted: renamed first, so that a kill leaves nothing that looks
    complete.
    """
    return target.with_name(f".{target.name}.{role}")


# ---------------------------------------------------------------------- writers


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


def restore(target: Path) -> None:
    """Repair what a kill left of `replace` or `discard`; only for the one who may write `target`."""
    previous = beside(target, "previous")
    if previous.exists() and not target.exists():
        previous.rename(target)
    discard(previous, target)
    discard(beside(target, "trash"), target)


def discard(folder: Path, target: Path) -> None:
    """Delete a folder beside `target`; if that is not possible, it is still renamed."""
    trash = beside(target, "trash")
    _delete(trash)
    if os.path.lexists(folder) and folder != trash:
        folder.rename(trash)
        _delete(trash)


def _delete(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink()
    else:
        shutil.rmtree(path, ignore_errors=True)


def copied(folder: Path, target: Path) -> None:
    """Make `target` a copy of `folder` whose files are the same ones, where the disk has hard links."""
    shutil.copytree(folder, target, copy_function=_link)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # a disk without hard links
        shutil.copy2(source, target)


# ---------------------------------------------------------------------- readers


def names_of(parent: Path, marker: str) -> list[str]:
    """Return the names of the finished folders in `parent`: those with a file `marker`."""
    names = {path.parent.name for path in parent.glob(f"[!.]*/{marker}")}
    moved = (path.parent.name for path in parent.glob(f".*.previous/{marker}"))
    return sorted(names | {name.removeprefix(".").removesuffix(".previous") for name in moved})


def standing(target: Path) -> Path:
    """Return where the finished folder `target` is now: there or, between two renames, beside it."""
    previous = beside(target, "previous")
    return previous if not os.path.lexists(target) and previous.exists() else target


def read_steadily(target: Path, read: Callable[[Path], R]) -> R:
    """Return ``read(folder)`` of the finished folder `target`, all of it read from one and the same folder.

    `read` is called again if the folder was replaced meanwhile. It may keep files open: they stay those of
    that folder. `ChangedError` if the folder does not stay long enough.
    """
    for _ in range(ATTEMPTS):
        folder = standing(target)
        with _held(folder) as same:
            try:
                result = read(folder)
            except Exception:  # of a folder that was replaced it means nothing, whatever it is
                if same() and folder == standing(target):
                    raise
                continue
            if same():
                return result
    raise changed(target)


def changed(target: Path) -> ChangedError:
    """Return the error of a folder that was replaced while it was in use."""
    return ChangedError(f"{target} changed meanwhile; run the same command again")


def digest_of(folder: Path, names: Sequence[str]) -> str:
    """Return a digest of some files of a folder; one that is missing counts too."""
    digest = hashlib.blake2b(digest_size=16)
    for name in names:
        path = folder / name
        if path.is_file():
            with path.open("rb") as file:
                content = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).digest()
        else:
            content = bytes(16)
        digest.update(content)
    return digest.hexdigest()


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[Callable[[], bool]]:
    """Yield a function that tells whether the path still names the folder that it named at first.

    The folder is held open meanwhile, so that its number is not given to another one.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        yield lambda: not os.path.lexists(folder)
        return
    except PermissionError:  # Windows cannot open folders, nor rename them while files in them are open
        yield lambda: True
        return
    try:
        yield lambda: _is(folder, descriptor)
    finally:
        os.close(descriptor)


def _is(folder: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(folder.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
