"""Runners of a pass: one device in this process, or several devices with a child process each.

Several devices share one plan. A child asks for the next lot of images when it is about to run out, so a
faster device does more, and it sends rows back; the parent alone writes the store.
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

LOT = 64  # images of a lot: small, so that all devices end together
ROWS = 32  # rows sent back at a time
MORE = "more"
REMEDY = "name --engine and --precision yourself, or devices of one kind"


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
        """Embed images (slot, entry), in no particular order."""
        return embed_entries(entries, self._backbone, self.options)

    def close(self) -> None:
        """Do nothing."""


def _made_with(backbone: Backbone) -> dict[str, str]:
    """Return device and choice of precision if the backbone has them."""
    return {name: str(getattr(backbone, name)) for name in ("device", "why") if hasattr(backbone, name)}


class ManyDevices:
    """The pass on several devices, a child process each, for one call of `embed`.

    The children end with `embed`, with `close`, or when the object is deleted.

    Parameters
    ----------
    devices : sequence of str
    network : NetworkOptions
    options : ReadOptions
        The decoding threads are shared out among the children.
    graphs : Path, optional
        See `load_backbone`.

    Raises
    ------
    ToolkitError
        What loading the backbone raises in a child; or two devices would make different rows.
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
        self._ending.atexit = False  # then closed pipes end them, and a forked process must not
        try:
            for device in devices:
                arguments = (network.part(NetworkOptions), device, each, graphs)
                child = Child("toolkit.embedding.runners:serve", *arguments, inbox=self._inbox)
                self._children[child] = device
            specs: dict[Child, EmbeddingSpec] = {}
            made_with: dict[Child, dict[str, str]] = {}
            while len(specs) < len(devices):
                child, (specs[child], made_with[child]) = self._receive(set(self._children))
            first, *others = self._children
            for child in others:
                have = self._children[child]
                specs[child].require(specs[first], have=have, want=devices[0], remedy=REMEDY)
        except BaseException:
            self.close()
            raise
        self.spec, self.made_with = specs[first], made_with[first] | {"device": ",".join(devices)}
        self._loaded = True

    def embed(self, entries: Iterable[tuple[int, Entry]]) -> Iterator[Embedded]:
        """Embed images (slot, entry), in no particular order; a second call is an error."""
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
        """End the children, whatever they do."""
        self._ending()

    def _send(self, child: Child, lot: list[tuple[int, Entry]]) -> None:
        try:
            child.send(lot)
        except ChildError as error:
            raise self._failure(child, error) from error

    def _receive(self, children: set[Child]) -> tuple[Child, Any]:
        """Return the next child of `children` that sends or returns something, with that."""
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
        what = f"the process for {self._children[child]} {error}"
        if self._loaded:
            return OptionError(f"{what}; what is embedded is kept, run the same command to resume")
        return OptionError(f"while starting, {what}")


def _end(children: dict[Child, str]) -> None:
    for child in children:
        child.close()


def serve(
    channel: Channel, network: NetworkOptions, device: str, options: ReadOptions, graphs: Path | None
) -> None:
    """Run in the child for a device: load, then embed lot after lot until an empty one comes."""
    backbone = load_backbone(network, device=device, graphs=graphs, progress=channel)
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
