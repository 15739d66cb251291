"""Runners of a pass: one device in this process, or several devices with a child process each.

Several devices share one list of images. A child asks for the next lot when it is about to run out, so a
faster device embeds more, and sends rows back; only the parent writes the store.
"""

import weakref
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Protocol

from toolkit.backbones.base import Backbone
from toolkit.backbones.frozen import load_backbone
from toolkit.backbones.options import NetworkOptions
from toolkit.embedding.forward import Embedded, embed_entries
from toolkit.embedding.options import ReadOptions
from toolkit.errors import OptionError
from toolkit.images.manifest import Entry
from toolkit.runtime.children import Channel, Child, ChildError, Inbox
from toolkit.runtime.progress import Progress, silent
from toolkit.store.spec import EmbeddingSpec

LOT = 64  # images: small, so that all devices end together
ROWS = 32  # rows sent back at a time
MORE = "more"
REMEDY = "name --engine and --precision yourself, or devices of one kind"


class Runner(Protocol):
    """Embeds images for `toolkit.embedding.run.run_pass`.

    `made_with` is the device and the choice of precision, for people to read.
    """

    spec: EmbeddingSpec
    options: ReadOptions
    made_with: dict[str, str]

    def embed(self, entries: Iterable[tuple[int, Entry]]) -> Iterator[Embedded]:
        """Embed images (slot, entry), in no particular order."""

    def close(self) -> None:
        """End child processes, if the runner has any; may be called more than once."""


class OneDevice:
    """The pass in this process."""

    def __init__(self, backbone: Backbone, options: ReadOptions) -> None:
        self.spec = backbone.spec
        self.options = options
        self.made_with = _made_with(backbone)
        self._backbone = backbone

    def embed(self, entries: Iterable[tuple[int, Entry]]) -> Iterator[Embedded]:
        """See `Runner`."""
        return embed_entries(entries, self._backbone, self.options)

    def close(self) -> None:
        """Do nothing."""


def _made_with(backbone: Backbone) -> dict[str, str]:
    """Return device and choice of precision if the backbone has them."""
    return {name: str(getattr(backbone, name)) for name in ("device", "why") if hasattr(backbone, name)}


class ManyDevices:
    """The pass on several devices, a child process each, for one call of `embed`.

    The children end with `embed`, with `close`, or when the object is deleted. The decoding threads of
    `options` are divided among them; `graphs` is that of `load_backbone`.

    Raises
    ------
    ToolkitError
        The error of loading the backbone in a child; or two devices would make different rows.
    """

    def __init__(
        self,
        devices: Sequence[str],
        network: NetworkOptions,
        options: ReadOptions,
        *,
        graphs: Path | None = None,
        progress: Progress = silent,
    ) -> None:
        self.options = options
        each = replace(options.part(ReadOptions), num_workers=max(options.threads // len(devices), 1))
        self._progress = progress
        self._inbox: Inbox = SimpleQueue()
        self._children: dict[Child, str] = {}
        self._loaded = False
        self._ending = weakref.finalize(self, _end, self._children)
        self._ending.atexit = False  # at exit closed pipes end them, and a forked process must not
        try:
            for device in devices:
                arguments = (replace(network.part(NetworkOptions), device=device), each, graphs)
                child = Child("toolkit.embedding.runners:serve", *arguments, inbox=self._inbox)
                self._children[child] = device
            loaded: dict[Child, tuple[EmbeddingSpec, dict[str, str]]] = {}
            while len(loaded) < len(devices):
                child, answer = self._receive(set(self._children))
                loaded[child] = answer
            self.spec, made_with = loaded[next(iter(self._children))]
            for child, device in self._children.items():
                loaded[child][0].require(self.spec, have=device, want=devices[0], remedy=REMEDY)
        except BaseException:
            self.close()
            raise
        self.made_with = made_with | {"device": ",".join(devices)}
        self._loaded = True

    def embed(self, entries: Iterable[tuple[int, Entry]]) -> Iterator[Embedded]:
        """See `Runner`; a second call is an error."""
        if not self._ending.alive:
            raise RuntimeError("the processes of this runner have ended; make another one")
        stream = iter(entries)
        working = set(self._children)
        try:
            for child in working:
                self._send(child, list(islice(stream, LOT)))
            while working:
                child, answer = self._receive(working)
                if answer is None:
                    working.discard(child)
                elif answer == MORE:
                    self._send(child, list(islice(stream, LOT)))
                else:
                    yield from answer
        finally:
            self.close()

    def close(self) -> None:
        """End the children."""
        self._ending()

    def _send(self, child: Child, lot: list[tuple[int, Entry]]) -> None:
        try:
            child.send(lot)
        except ChildError as error:
            raise self._failure(child, error) from error

    def _receive(self, children: set[Child]) -> tuple[Child, Any]:
        """Return the next of `children` that sends or returns an object, and the object."""
        while True:
            child, message = self._inbox.get()
            if child not in children:
                continue
            try:
                answer = child.handle(message, self._progress)
            except ChildError as error:
                raise self._failure(child, error) from error
            if answer is not None:
                return child, answer[1]

    def _failure(self, child: Child, error: ChildError) -> OptionError:
        failure = f"the process for {self._children[child]} {error}"
        if self._loaded:
            return OptionError(f"{failure}; what is embedded is kept, run the same command to resume")
        return OptionError(f"while starting, {failure}")


def _end(children: dict[Child, str]) -> None:
    for child in children:
        child.terminate()  # all of them, before waiting for one
    for child in children:
        child.close()


def serve(channel: Channel, network: NetworkOptions, options: ReadOptions, graphs: Path | None) -> None:
    """Run in the child of a device: load the network, then embed lots until an empty one."""
    backbone = load_backbone(network, graphs=graphs, progress=channel)
    channel.send((backbone.spec, _made_with(backbone)))
    rows: list[Embedded] = []
    for embedded in embed_entries(_lots(channel), backbone, options):
        rows.append(embedded)
        if len(rows) >= ROWS:
            channel.send(rows)
            rows = []
    channel.send(rows)


def _lots(channel: Channel) -> Iterator[tuple[int, Entry]]:
    lot: list[tuple[int, Entry]]
    while lot := channel.receive():
        yield from lot
        channel.send(MORE)
