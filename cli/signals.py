"""Signals that end a command: Ctrl-C, a request to terminate, a closed terminal."""

import contextlib
import os
import signal
import sys
import threading
from types import FrameType
from typing import NoReturn

WORDS = {
    "SIGINT": "interrupted",
    "SIGTERM": "terminated",
    "SIGHUP": "the terminal was closed",
    "SIGBREAK": "interrupted",
}
"""The signals that end a command, by name, and what is said of them."""
PATIENCE = 20.0  # seconds a command gets to put away its work; a decoder that hangs cannot be ended otherwise


class Stopped(BaseException):
    """A signal asked the command to end. Not an `Exception`, so that nothing handles it by mistake."""


class Signals:
    """Turns signals into `Stopped`, and remembers the first one.

    Whatever exception comes out in the end (an import that is interrupted may turn it into another one),
    `number` says that it was a signal.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self.working = False

    def listen(self) -> None:
        """Handle the signals in `WORDS`, but those that are ignored, as under nohup, stay so."""
        for name in WORDS:
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._received)

    def _received(self, number: int, frame: FrameType | None) -> None:
        first, self.number = self.number is None, self.number or number
        if not self.working:  # nothing is begun, so there is nothing to put away
            self.leave()
        if first:
            timer = threading.Timer(PATIENCE, self.leave)
            timer.daemon = True
            timer.start()
        raise Stopped

    def leave(self) -> NoReturn:
        """Say what happened in one line, and end with 128 plus the number of the signal."""
        assert self.number is not None
        kept = "finished work is kept, run the same command to resume"
        word = WORDS[signal.Signals(self.number).name]
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError, AttributeError):  # nobody reads it any more
                stream.flush()
        begin = "\n" if sys.stderr is not None and sys.stderr.isatty() else ""  # after the terminal's ^C
        with contextlib.suppress(OSError):  # the terminal is gone
            os.write(2, f"{begin}{word}; {kept}\n".encode())
        # not sys.exit: it would wait for threads that may never end
        os._exit(128 + self.number)
