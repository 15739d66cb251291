"""Who does the pass: one device in this process, or several, each in a process of its own.

Several devices share one plan. A process asks for the next lot of images when it is about to run dry, so a
faster device does more, and it sends rows back; the parent alone writes the store.
"""

import multiprocessing
import multiprocessing.connection
import signal
import sys
import traceback
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import islice
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any, Protocol

from toolkit.backbones.base import Backbone
from toolkit.backbones.frozen import load_backbone
from toolkit.embedding.forward import Embedded, embed_entries
from toolkit.embedding.read import ReadOptions
from toolkit.errors import OptionError, ToolkitError
from toolkit.images.manifest import Entry
from toolkit.store.spec import EmbeddingSpec

LOT = 64  # images handed out at a time: small, so that all devices end together
ROWS = 32  # rows sent back at a time
MORE = "more"
REMEDY = "name --engine and --precision yourself, or devices of one kind"
PATIENCE = 5.0  # seconds a process gets to end by itself

_Processes = dict[Connection, tuple[str, SpawnProcess]]


class Runner(Protocol):
    """What `toolkit.embedding.run.run_pass` needs: the spec of the rows, and the rows.

    Attributes
    ----------
    spec : EmbeddingSpec
    options : ReadOptions
    made_with : dict of str
        Device and choice of precision, for people to read.
    """

    spec: EmbeddingSpec
    options: ReadOptions
    made_with: dict[str, str]

    def embed(self, entries: Iterable[tuple[int, Entry]]) -> Iterator[Embedded]:
        """Embed images (slot, entry), in no certain order."""

    def close(self) -> None:
        """Give back what the runner holds beside this process; may be called more than once."""


class OneDevice:
    """The pass in this process."""

    def __init__(self, backbone: Backbone, options: ReadOptions) -> None:
        self.spec = backbone.spec
        self.options = options
        self.made_with = _made_with(backbone)
        self._backbone = backbone

    def embed(self, entries: Iterable[tuple[int, Entry]]) -> Iterator[Embedded]:
        """Embed images (slot, entry), in no certain order."""
        return embed_entries(entries, self._backbone, self.options)

    def close(self) -> None:
        """Do nothing: there is no other process."""


def _made_with(backbone: Backbone) -> dict[str, str]:
    """Return device and choice of precision where the backbone knows them."""
    return {name: str(getattr(backbone, name)) for name in ("device", "why") if hasattr(backbone, name)}


@dataclass(frozen=True)
class _Job:
    """All a process of a device has to know."""

    backbone: Mapping[str, Any]
    options: ReadOptions


class ManyDevices:
    """The pass on several devices, one process each, for one call of `embed`.

    The processes end with `embed`, with `close`, or at the latest when nobody holds the object any more.

    Raises
    ------
    ToolkitError
        Whatever loading the backbone raises in one of the processes, or two of them differ in what they make.
    """

    def __init__(self, devices: Sequence[str], backbone: Mapping[str, Any], options: ReadOptions) -> None:
        """Start a process a device and load the backbone with its options in each."""
        self.options = options
        each = replace(options, num_workers=max(options.threads // len(devices), 1))
        self._loaded = False
        self._devices: _Processes = {}
        self._ending = weakref.finalize(self, _end, self._devices)
        self._ending.atexit = False  # multiprocessing ends them then, and a forked child must not
        try:
            with _no_interrupts():
                for device in devices:
                    connection, process = _start(_Job({**backbone, "device": device}, each))
                    self._devices[connection] = (device, process)
            ready = [self._receive(connection) for connection in self._devices]
            self.spec, self.made_with = ready[0][1], {**ready[0][2], "device": ",".join(devices)}
            for device, (_, spec, _) in zip(devices, ready, strict=True):
                spec.require(self.spec, have=device, want=devices[0], remedy=REMEDY)
        except BaseException:
            self.close()
            raise
        self._loaded = True

    def embed(self, entries: Iterable[tuple[int, Entry]]) -> Iterator[Embedded]:
        """Embed images (slot, entry), in no certain order; a second call is an error."""
        if not self._ending.alive:
            raise RuntimeError("the processes of this runner have ended; make another one")
        stream = iter(entries)
        live = set(self._devices)
        try:
            while live:
                for ready in multiprocessing.connection.wait(list(live)):
                    assert isinstance(ready, Connection)
                    message = self._receive(ready)
                    if message[0] == MORE:
                        self._send(ready, list(islice(stream, LOT)))
                    elif message[0] == "rows":
                        yield from message[1]
                    else:
                        live.discard(ready)
        finally:
            self.close()

    def close(self) -> None:
        """End the processes, whatever they do."""
        self._ending()

    def _send(self, connection: Connection, lot: list[tuple[int, Entry]]) -> None:
        try:
            connection.send(lot)
        except OSError as error:
            raise self._ended(connection) from error

    def _receive(self, connection: Connection) -> tuple[Any, ...]:
        try:
            message: tuple[Any, ...] = connection.recv()
        except (EOFError, OSError) as error:
            raise self._ended(connection) from error
        if message[0] == "error":
            raise message[1] from RuntimeError(message[2])
        if message[0] == "failed":
            raise self._failure(connection, f"failed: {message[1]}") from RuntimeError(message[2])
        return message

    def _ended(self, connection: Connection) -> OptionError:
        """Return what to say of a process that went without a word, but for what it printed."""
        process = self._devices[connection][1]
        process.join(PATIENCE)
        status = f"ended (exit status {process.exitcode})"
        if self._loaded:
            return self._failure(connection, status)
        hint = 'a script that calls embed has to do that below if __name__ == "__main__":'
        return self._failure(connection, f"{status}; what it printed says why; {hint}")

    def _failure(self, connection: Connection, what: str) -> OptionError:
        device = self._devices[connection][0]
        if self._loaded:
            return OptionError(
                f"the process for {device} {what}; what is embedded is kept, the same command goes on"
            )
        return OptionError(f"while starting, the process for {device} {what}")


def _start(job: _Job) -> tuple[Connection, SpawnProcess]:
    context = multiprocessing.get_context("spawn")  # a forked process cannot use CUDA
    here, there = context.Pipe()
    process = context.Process(
        target=_work, args=(there, job), name=f"embed {job.backbone['device']}", daemon=True
    )
    try:
        process.start()
    except BaseException:
        here.close()
        raise
    finally:
        there.close()
    return here, process


@contextmanager
def _no_interrupts() -> Iterator[None]:
    """Hold Ctrl-C back: a process started meanwhile never sees it, this one as soon as it is over.

    A terminal sends Ctrl-C to all processes; in the second in which one imports its libraries, nothing in it
    could be said against a traceback.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # else it is started meanwhile, and lets Ctrl-C through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end(devices: _Processes) -> None:
    for _, process in devices.values():
        process.terminate()
    for connection, (_, process) in devices.items():
        process.join(PATIENCE)
        if process.exitcode is None:
            process.kill()
            process.join()
        connection.close()


def _work(connection: Connection, job: _Job) -> None:
    """Be the process of one device: load, then embed lot after lot until an empty one comes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends its processes
    # while it loads a conversion may run in yet another process, which has to end with this one
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        backbone = load_backbone(**job.backbone)
    except Exception as error:
        _tell(connection, error)
        return
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        _serve(connection, backbone, job.options)
    except (ConnectionError, EOFError):
        return  # the parent has gone
    except Exception as error:
        _tell(connection, error)


def _serve(connection: Connection, backbone: Backbone, options: ReadOptions) -> None:
    connection.send(("ready", backbone.spec, _made_with(backbone)))
    rows: list[Embedded] = []
    for embedded in embed_entries(_lots(connection), backbone, options):
        rows.append(embedded)
        if len(rows) >= ROWS:
            connection.send(("rows", rows))
            rows = []
    connection.send(("rows", rows))
    connection.send(("end",))


def _tell(connection: Connection, error: Exception) -> None:
    """Send an error to the parent, which may have gone; one of the user's is raised there as it is."""
    text = traceback.format_exc()
    words = " ".join(f"{type(error).__name__}: {error}".split())
    message = ("error", error, text) if isinstance(error, ToolkitError) else ("failed", words, text)
    with suppress(ConnectionError):
        connection.send(message)


def _lots(connection: Connection) -> Iterator[tuple[int, Entry]]:
    while True:
        connection.send((MORE,))
        lot: list[tuple[int, Entry]] = connection.recv()
        if not lot:
            return
        yield from lot
