"""Naming images that are still being decoded after a long time."""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0


class Watch:
    """Warns, once each, of images that have been decoding for `seconds`; a thread cannot be ended."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._since: dict[int, tuple[str, float]] = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._look, name="watch", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stopped.set()
        self._thread.join()

    @contextmanager
    def decoding(self, name: str) -> Iterator[None]:
        """Mark that this thread decodes an image."""
        thread = threading.get_ident()
        self._since[thread] = name, time.monotonic()
        try:
            yield
        finally:
            del self._since[thread]

    def _look(self) -> None:
        named: set[tuple[str, float]] = set()
        while not self._stopped.wait(min(self._seconds, LOOK_SECONDS)):
            latest = time.monotonic() - self._seconds
            late = {each for each in list(self._since.values()) if each[1] <= latest}
            for name, _ in late - named:
                logger.warning(
                    "%s has been decoding for %g s; --isolate ends such images", name, self._seconds
                )
            named = late
