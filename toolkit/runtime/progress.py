"""Progress of work: reported by the library, shown by whoever calls it."""

from typing import Protocol


class Progress(Protocol):
    """Receives the state of one stage of work, many times a second at most."""

    def __call__(self, stage: str, done: int, total: int | None, note: str = "") -> None:
        """Note that `done` of `total` units of `stage` are finished; `note` adds a detail, such as an F1."""


def silent(stage: str, done: int, total: int | None, note: str = "") -> None:
    """Ignore all progress: the default everywhere."""
