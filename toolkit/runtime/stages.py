"""Where the time of a command goes."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stages(dict[str, float]):
    """Seconds by stage, in the order in which stages were begun; a stage may be entered several times."""

    @contextmanager
    def timing(self, stage: str) -> Iterator[None]:
        """Add the time the block takes to `stage`."""
        self.setdefault(stage, 0.0)
        start = time.perf_counter()
        try:
            yield
        finally:
            self[stage] += time.perf_counter() - start
