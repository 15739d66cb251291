"""How the library tells a caller how far it is, without printing anything itself."""

from typing import Protocol


class Progress(Protocol):
    """Receives the state of one stage of work, many times a second at most."""

    def __call__(self, stage: str, done: int, total: int | None, note: str = "") -> None:
        """Tell that `done` of `total` units of `stage` are finished; `note` is a short extra (an F1, say)."""


def silent(stage: str, done: int, total: int | None, note: str = "") -> None:
    """Ignore all progress: the default everywhere."""
