"""Progress on a terminal, by rich; on a pipe or with --quiet nothing is drawn."""

import sys
from types import TracebackType
from typing import Self

from .console import shown


class TerminalProgress:
    """A `toolkit.runtime.progress.Progress` that draws one bar a stage on stderr, with rate and time left."""

    def __init__(self, *, quiet: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}", markup=False),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=Console(stderr=True),
            disable=quiet or not sys.stderr.isatty(),
        )
        self._tasks: dict[str, int] = {}

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: object, trace: TracebackType | None) -> None:
        self._bars.stop()

    def __call__(self, stage: str, done: int, total: int | None, note: str = "") -> None:
        """Draw the state of `stage`."""
        from rich.progress import TaskID

        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(shown(stage, err=True), total=total, rate="", note="")
        task = TaskID(self._tasks[stage])
        speed = self._bars.tasks[task].speed
        rate = f"{speed:,.1f}/s" if speed else ""
        self._bars.update(task, completed=done, total=total, rate=rate, note=shown(note, err=True))
