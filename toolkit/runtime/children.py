"""Functions run in processes of their own, by one protocol.

A child process keeps libraries apart that must not share a process (torch and faiss each bring an OpenMP
runtime), makes its peak memory that of one piece of work, and can be ended at any moment. The parent names a
function; the child imports it and calls it with a `Channel`. Progress and log records of the child reach the
parent as if the work were done there. An exception is raised there as the exception it was. Ctrl-C reaches
the parent alone, which then ends the child.

Messages are pickles on the child's standard input and output. Both ends are this package on this machine;
nothing that a user hands in is read this way. What the child prints goes to standard error.
"""

import contextlib
import logging
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Mapping
from pkgutil import resolve_name
from queue import SimpleQueue
from typing import IO, Any, BinaryIO

from toolkit.errors import ToolkitError
from toolkit.runtime.failures import explained
from toolkit.runtime.progress import Progress, silent

PATIENCE = 5.0  # seconds a child gets to end by itself
ORPHAN_SECONDS = 0.5  # between two looks whether the parent still lives
REPORT_SECONDS = 0.1  # between two reports of progress of the same stage

Inbox = SimpleQueue[tuple["Child", tuple[Any, ...] | None]]


class ChildError(Exception):
    """A child process failed: an exception that is no `ToolkitError`, or an end without any.

    Attributes
    ----------
    status : int or None
        Exit status of the process; negative is the signal that ended it. None if it reported an exception.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


# ---------------------------------------------------------------------- parent


class Child:
    """One function running in a process of its own.

    Parameters
    ----------
    function : str
        Import string ``package.module:function``; it is called as ``function(channel, *arguments)``.
    *arguments
        Anything that can be pickled.
    environment : mapping of str, optional
        Environment variables to set in the child.
    quiet : bool
        Keep what the child prints to itself; its last line is part of the error if it fails.
    inbox : queue, optional
        Where ``(child, message)`` is put, so that several children can be waited for at once. The message
        None is put last, when the child has ended.
    """

    def __init__(
        self,
        function: str,
        *arguments: Any,
        environment: Mapping[str, str] | None = None,
        quiet: bool = False,
        inbox: Inbox | None = None,
    ) -> None:
        self._output: IO[bytes] | None = tempfile.TemporaryFile() if quiet else None  # noqa: SIM115 - closed by close()
        path = [str(folder) for folder in sys.path]  # the child imports what this process would
        code = f"import sys; sys.path[:] = {path!r}; from toolkit.runtime.children import main; main()"
        self._process = subprocess.Popen(  # noqa: S603 - this interpreter and this package
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._output,
            env=os.environ | dict(environment or {}),
            start_new_session=True,  # so that Ctrl-C reaches the parent alone
        )
        self._asked = False
        self._inbox: Inbox = SimpleQueue() if inbox is None else inbox
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            self.send((logging.getLogger().getEffectiveLevel(), function, arguments))
        except BaseException:
            self.close()
            raise

    def _read(self) -> None:
        """Put what the child sends into the inbox, until the child ends."""
        assert self._process.stdout is not None
        with contextlib.suppress(Exception):  # mostly EOFError; a waiting parent must see the end in any case
            while True:
                self._inbox.put((self, pickle.load(self._process.stdout)))  # noqa: S301 - our own child
        self._inbox.put((self, None))

    def send(self, message: Any) -> None:
        """Send an object to the child's `Channel`; `ChildError` if the child has ended."""
        assert self._process.stdin is not None
        data = pickle.dumps(message)
        try:
            self._process.stdin.write(data)
            self._process.stdin.flush()
        except (OSError, ValueError) as error:  # a broken pipe, or closed by `close`
            raise self.ended() from error

    def receive(self, progress: Progress = silent) -> tuple[str, Any]:
        """Return the next ``("sent", object)`` or, at the end, ``("returned", object)``.

        Progress and log records are passed on meanwhile.

        Raises
        ------
        ToolkitError
            The one the function raised.
        ChildError
            The function raised something else, or the process ended without an answer.
        """
        while True:
            answer = self.handle(self._inbox.get()[1], progress)
            if answer is not None:
                return answer

    def handle(self, message: tuple[Any, ...] | None, progress: Progress = silent) -> tuple[str, Any] | None:
        """Do what a message asks for; return it if it is for the caller, as `receive` does."""
        if message is None:
            raise self.ended()
        kind, *content = message
        if kind == "progress":
            progress(*content)
        elif kind == "log":
            name, level, text = content
            logging.getLogger(name).log(level, "%s", text)
        elif kind == "error":
            error, text = content
            raise error from RuntimeError(text)
        elif kind == "failed":
            words, text = content
            raise ChildError(f"failed: {words}") from RuntimeError(text)
        else:
            return kind, content[0]
        return None

    def ended(self) -> ChildError:
        """Return the error of a process that ended without an answer."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(PATIENCE)
        status = self._process.poll()
        if status is None:
            return ChildError("stopped answering")
        how = f"ended with exit status {status}" if status >= 0 else f"was killed by signal {-status}"
        if status == -signal.SIGKILL:
            how += ", as happens when memory runs out"
        printed = self._printed().strip().splitlines()
        return ChildError(f"{how} ({printed[-1]})" if printed else how, status)

    def _printed(self) -> str:
        if self._output is None or self._output.closed:
            return ""
        self._output.seek(0)
        return self._output.read().decode("utf-8", "replace")

    def terminate(self) -> None:
        """Ask the process to end, once; `close` waits for that."""
        if not self._asked and self._process.poll() is None:
            self._process.terminate()
            self._asked = True  # a second signal would interrupt what ends with the child

    def kill(self) -> None:
        """End the process at once, for one that would not hear `terminate`; `close` waits for that."""
        self._process.kill()
        self._asked = True

    def close(self) -> None:
        """End the process, whatever it does; may be called more than once."""
        if self._process.poll() is None:
            self.terminate()
            try:
                self._process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._reader.join()
        for stream in (self._process.stdin, self._process.stdout, self._output):
            if stream is not None:
                with contextlib.suppress(OSError):  # what was not sent yet has nobody to go to
                    stream.close()


def call_in_child(
    function: str,
    *arguments: Any,
    progress: Progress = silent,
    environment: Mapping[str, str] | None = None,
    quiet: bool = False,
) -> Any:
    """Call a function in a process of its own and return what it returns.

    The parameters are those of `Child`, the errors those of `Child.receive`.

    Examples
    --------
    >>> call_in_child("toolkit.runtime.children:echo", 3)
    3
    """
    with contextlib.closing(Child(function, *arguments, environment=environment, quiet=quiet)) as child:
        kind, answer = child.receive(progress)
        if kind != "returned":
            raise ChildError(f"{function} sent a message, and nobody receives it here")
        return answer


# ---------------------------------------------------------------------- child


class Channel:
    """The child's end: messages to and from the parent. It is a `Progress` too."""

    def __init__(self, source: BinaryIO, target: BinaryIO) -> None:
        self._source = source
        self._target = target
        self._lock = threading.Lock()
        self._reported: dict[str, float] = {}

    def __call__(self, stage: str, done: int, total: int | None, note: str = "") -> None:
        """Report progress, at most every `REPORT_SECONDS` of one stage but always its end."""
        now = time.monotonic()
        if done != total and now - self._reported.get(stage, 0) < REPORT_SECONDS:
            return
        self._reported[stage] = now
        self._put("progress", stage, done, total, note)

    def send(self, message: Any) -> None:
        """Send an object to the parent's `Child.receive`."""
        self._put("sent", message)

    def receive(self) -> Any:
        """Return the next object the parent sends; `EOFError` if the parent has ended."""
        return pickle.load(self._source)  # noqa: S301 - our own parent

    def _put(self, *message: Any) -> None:
        data = pickle.dumps(message)  # first: a message that cannot be pickled must not be sent in part
        with self._lock:
            self._target.write(data)
            self._target.flush()

    def run(self) -> None:
        """Receive a function and its arguments, call it, and send what it returns or raises."""
        try:
            level, function, arguments = self.receive()
            logging.basicConfig(handlers=[_Relay(self)], level=level)
            with explained():
                answer = resolve_name(function)(self, *arguments)
            self._put("returned", answer)
        except ToolkitError as error:
            self._put("error", error, traceback.format_exc())
        except Exception as error:
            words = " ".join(f"{type(error).__name__}: {error}".split())
            self._put("failed", words, traceback.format_exc())


class _Relay(logging.Handler):
    """Hands log records to the parent, which knows how to show them."""

    def __init__(self, channel: Channel) -> None:
        super().__init__()
        self._channel = channel

    def emit(self, record: logging.LogRecord) -> None:
        self._channel._put("log", record.name, record.levelno, record.getMessage())


def main() -> None:
    """Run in the child: receive a function, call it, send its result."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # as an exception, so that what the function started ends with it
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    source = os.fdopen(os.dup(0), "rb")
    target = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print must not get between messages
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    try:
        Channel(source, target).run()
    except BrokenPipeError:
        os._exit(0)  # the parent has ended: nobody is left to report to
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # no exception any more: the interpreter is on its way out


def _end_with(parent: int) -> None:
    """End this process soon after its parent, even if that was killed and could not end it."""
    while os.getppid() == parent:  # on Windows it never changes: there a broken pipe ends the process
        time.sleep(ORPHAN_SECONDS)
    os._exit(128 + signal.SIGTERM)


def echo(channel: Channel, value: Any) -> Any:
    """Return `value`: the smallest function to call."""
    return value
