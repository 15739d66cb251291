"""Who does the pass: one device in this process, or several, each in a process of its own.

Several devices share one plan. A process asks for the next lot of images when it is about to run dry, so a
faster device does more, and it sends rows back; the parent alone writes the store.
"""

import multiprocessing
import multiprocessing.connection
import os
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any, Protocol

from toolkit.backbones import Backbone, load_backbone
from toolkit.embedding.forward import Embedded, embed_entries
from toolkit.embedding.read import ReadOptions
from toolkit.errors import OptionError, ToolkitError
from toolkit.manifest import Entry
from toolkit.spec import EmbeddingSpec

LOT = 64  # images handed out at a time: small, so that all devices end together
ROWS = 32  # rows sent back at a time
MORE = "more"


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


def _made_with(backbone: Backbone) -> dict[str, str]:
    """Return device and choice of precision where the backbone knows them."""
    return {name: str(getattr(backbone, name)) for name in ("device", "why") if hasattr(backbone, name)}


@dataclass(frozen=True)
class _Job:
    """All a process of a device has to know."""

    backbone: Mapping[str, Any]
    options: ReadOptions


class ManyDevices:
    """The pass on several devices, one process each.

    Raises
    ------
    ToolkitError
        Whatever loading the backbone raises in one of the processes, or two of them differ in what they make.
    """

    def __init__(self, devices: Sequence[str], backbone: Mapping[str, Any], options: ReadOptions) -> None:
        """Start a process a device and load the backbone with its options in each."""
        self.options = options
        cores = options.num_workers or os.cpu_count() or 1
        each = replace(options, num_workers=max(cores // len(devices), 1))
        context = multiprocessing.get_context("spawn")  # a forked process cannot use CUDA
        self._devices: dict[Connection, tuple[str, SpawnProcess]] = {}
        for device in devices:
            here, there = context.Pipe()
            job = _Job({**backbone, "device": device}, each)
            process = context.Process(target=_work, args=(there, job), name=f"embed {device}", daemon=True)
            process.start()
            there.close()
            self._devices[here] = (device, process)
        try:
            ready = [self._receive(connection) for connection in self._devices]
            self.spec, self.made_with = ready[0][1], {**ready[0][2], "device": ",".join(devices)}
            for device, (_, spec, _) in zip(devices, ready, strict=True):
                spec.require(self.spec, have=device, want=devices[0], remedy="name --precision yourself")
        except BaseException:
            self._end()
            raise

    def embed(self, entries: Iterable[tuple[int, Entry]]) -> Iterator[Embedded]:
        """Embed images (slot, entry), in no certain order."""
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
            self._end()

    def _send(self, connection: Connection, lot: list[tuple[int, Entry]]) -> None:
        try:
            connection.send(lot)
        except OSError as error:
            raise self._ended(connection) from error

    def _ended(self, connection: Connection) -> OptionError:
        device, process = self._devices[connection]
        process.join(5)
        return OptionError(
            f"the process for {device} ended (exit status {process.exitcode}); what is embedded is kept, "
            "the same command goes on"
        )

    def _receive(self, connection: Connection) -> tuple[Any, ...]:
        try:
            message: tuple[Any, ...] = connection.recv()
        except (EOFError, OSError) as error:
            raise self._ended(connection) from error
        if message[0] == "error":
            raise message[1] from RuntimeError(message[2])
        return message

    def _end(self) -> None:
        for connection, (_, process) in self._devices.items():
            connection.close()
            if process.is_alive():
                process.terminate()
            process.join()


def _work(connection: Connection, job: _Job) -> None:
    """Be the process of one device: load, then embed lot after lot until an empty one comes."""
    try:
        backbone = load_backbone(**job.backbone)
        connection.send(("ready", backbone.spec, _made_with(backbone)))
        rows: list[Embedded] = []
        for embedded in embed_entries(_lots(connection), backbone, job.options):
            rows.append(embedded)
            if len(rows) >= ROWS:
                connection.send(("rows", rows))
                rows = []
        connection.send(("rows", rows))
        connection.send(("end",))
    except ToolkitError as error:
        connection.send(("error", error, traceback.format_exc()))
    except (KeyboardInterrupt, BrokenPipeError, EOFError):
        return  # the parent has been interrupted too, or has gone


def _lots(connection: Connection) -> Iterator[tuple[int, Entry]]:
    while True:
        connection.send((MORE,))
        lot: list[tuple[int, Entry]] = connection.recv()
        if not lot:
            return
        yield from lot
