"""Which fit a saved head is: what goes with the path of its folder to whoever opens it again."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from toolkit.files.folders import changed, digest_of, read_steadily
from toolkit.heads.base import Head
from toolkit.heads.registry import load_head

R = TypeVar("R")


def identity_of(folder: Path) -> str:
    """Return the identity of the head saved in `folder`; setting another decision rule does not change it."""
    time = (folder / "head.json").stat().st_mtime_ns
    return f"{digest_of(folder, ('head.json', 'tags.txt'))}-{time}"


def read_same(folder: Path, identity: str, read: Callable[[Path], R]) -> R:
    """Return ``read(place)`` of a saved head; `ChangedError` if it is no longer that of `identity`."""

    def checked(place: Path) -> R:
        if not (place / "head.json").is_file() or identity_of(place) != identity:
            raise changed(folder)
        return read(place)

    return read_steadily(folder, checked)


def load_same(folder: Path, identity: str, name: str) -> Head:
    """Load a saved head as `load_head` does; `ChangedError` if it is no longer that of `identity`."""
    return read_same(folder, identity, lambda place: load_head(place, name))
