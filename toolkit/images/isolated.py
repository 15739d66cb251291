"""Decoding in a process that can be ended: one that hangs or dies costs one image.

The child opens, reads and decodes a file, and sends its RGB pixels; resizing is left to the parent, as
networks differ in it, so pixels are the same with and without isolation. Before it decodes, the child asks
for the memory it will hold, which the parent takes from its own budget, and for the side to shrink to. The
child imports no network library, and may address no more memory than decoding may hold.
"""

import contextlib
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

import psutil
from PIL import Image

from toolkit.errors import ImageError, OptionError
from toolkit.images.decode import DecodedImage, LeastSide, configure_pillow, counted_lines
from toolkit.images.memory import BUDGET, Reserve, held_already
from toolkit.images.options import ImagePolicy
from toolkit.images.reading import ReadFile, read_picture
from toolkit.runtime.children import Channel, Child, ChildError, Inbox

logger = logging.getLogger(__name__)

START_SECONDS = 120.0  # that importing the decoders may take, on a busy machine
BAND_BYTES = 2**22  # of pixels sent at a time
SPARE_BYTES = 2**30  # of address space beyond the budget: stacks and arenas of a codec's threads
PRINTED_BYTES = 2**20  # that codecs may print


class Facts(NamedTuple):
    """What a file's record says, and the size of the pixels that follow."""

    file: ReadFile
    width: int
    height: int
    mode: str
    size: tuple[int, int]


class IsolatedDecoder:
    """Decodes one image at a time in a process of its own, which starts with the first image.

    It is for one thread, except for `close`.
    """

    def __init__(self, policy: ImagePolicy) -> None:
        self._policy = policy.part(ImagePolicy)
        self._inbox: Inbox = SimpleQueue()
        self._child: Child | None = None
        self._closed = False
        self._lock = threading.Lock()

    def read(
        self,
        source: Path | bytes,
        *,
        name: str = "",
        least_side: LeastSide | None = None,
        reserve: Reserve | None = None,
    ) -> tuple[ReadFile, DecodedImage]:
        """Read and decode a file, or the bytes of one; arguments as in `toolkit.images.reading.read_picture`.

        Raises
        ------
        ImageError
            The reason why it cannot be read, as without isolation; or its decoder died, or took too long.
        OptionError
            The process cannot be started.
        """
        child = self._started()
        done = False
        try:
            child.send((source, name, least_side is not None))
            answer = self._answer(child, least_side, reserve or self._reserve)
            done = True
        except ChildError as error:
            raise ImageError(f"the process that decoded it {error}") from error
        except Empty as error:
            limit = f"{self._policy.image_timeout:g} s"
            raise ImageError(
                f"takes longer than {limit} to decode; its process was ended (--image-timeout)"
            ) from error
        finally:
            if not done:
                self._end()  # what it would send next is not awaited any more
        if isinstance(answer, str):
            raise ImageError(answer)
        return answer

    def _reserve(self, amount: int) -> contextlib.AbstractContextManager[None]:
        return BUDGET.hold(amount, self._policy.memory_bytes)

    def close(self) -> None:
        """End the process, whatever it does, for good; a `read` in another thread fails then."""
        self._closed = True
        self._end()

    def _started(self) -> Child:
        with self._lock:
            if self._closed:
                raise ImageError("not decoded: the work was stopped")
            if self._child is not None:
                return self._child
            self._inbox = SimpleQueue()
            child = self._child = Child(
                "toolkit.images.isolated:serve",
                self._policy,
                environment={"MALLOC_ARENA_MAX": "2"},  # each thread's would take address space
                quiet=True,
                inbox=self._inbox,
            )
        try:
            self._receive(child, time.monotonic() + START_SECONDS)
        except (ChildError, Empty) as error:
            self._end()
            how = "does not start" if isinstance(error, Empty) else str(error)
            raise OptionError(f"--isolate: the decoding process {how}; leave --isolate out") from error
        return child

    def _answer(
        self, child: Child, least_side: LeastSide | None, reserve: Reserve
    ) -> tuple[ReadFile, DecodedImage] | str:
        """Return what the child sends in the end, a picture or the reason why there is none."""
        deadline = time.monotonic() + self._policy.image_timeout
        with contextlib.ExitStack() as held:
            while True:
                kind, content = self._receive(child, deadline)
                if kind == "failed":
                    return str(content)
                if kind == "image":
                    return self._picture(child, content, deadline)
                if kind == "size":
                    child.send(None if least_side is None else least_side(*content))
                else:
                    waiting = time.monotonic()
                    held.enter_context(reserve(content))
                    deadline += time.monotonic() - waiting
                    child.send(True)

    def _picture(self, child: Child, facts: Facts, deadline: float) -> tuple[ReadFile, DecodedImage]:
        rgb = Image.new("RGB", facts.size)
        for box in _bands(facts.size):
            _, pixels = self._receive(child, deadline)
            rgb.paste(Image.frombytes("RGB", (box[2], box[3] - box[1]), pixels), box)
        return facts.file, DecodedImage(rgb, facts.width, facts.height, facts.mode)

    def _receive(self, child: Child, deadline: float) -> Any:
        """Return the next object that the child sends; `Empty` if there is none in time."""
        while True:
            message = self._inbox.get(timeout=max(deadline - time.monotonic(), 0.0))[1]
            answer = child.handle(message)
            if answer is not None:
                return answer[1]

    def _end(self) -> None:
        with self._lock:
            child, self._child = self._child, None
        if child is not None:
            child.kill()  # a codec that hangs does not hear a gentler signal
            child.close()


class IsolatedDecoders:
    """As many `IsolatedDecoder` as there are threads; each `borrowed` is one that is free."""

    def __init__(self, n: int, policy: ImagePolicy) -> None:
        self._all = [IsolatedDecoder(policy) for _ in range(n)]
        self._free: SimpleQueue[IsolatedDecoder] = SimpleQueue()
        for decoder in self._all:
            self._free.put(decoder)

    @contextlib.contextmanager
    def borrowed(self) -> Iterator[IsolatedDecoder]:
        """Give a decoder that nobody else uses meanwhile; wait for one."""
        decoder = self._free.get()
        try:
            yield decoder
        finally:
            self._free.put(decoder)

    def close(self) -> None:
        """End all processes."""
        for decoder in self._all:
            decoder.close()


def _bands(size: tuple[int, int]) -> Iterator[tuple[int, int, int, int]]:
    """Yield boxes of full width that cover a picture: one copy of it is all that is held."""
    width, height = size
    rows = max(BAND_BYTES // (3 * width), 1)
    return ((0, top, width, min(top + rows, height)) for top in range(0, height, rows))


# ---------------------------------------------------------------------- child


def serve(channel: Channel, policy: ImagePolicy) -> None:
    """Run in the child: decode what the parent names, until it ends."""
    configure_pillow(policy)
    _limit(policy.memory_bytes + SPARE_BYTES)
    channel.send("ready")
    while True:
        try:
            source, name, shrinks = channel.receive()
        except EOFError:  # the parent has ended
            return
        try:
            file, decoded = _read(channel, source, name, shrinks, policy)
        except ImageError as error:
            _warn_of_printed(name)
            channel.send(("failed", str(error)))
            continue
        _warn_of_printed(name)
        _send(channel, file, decoded)


def _read(
    channel: Channel, source: Path | bytes, name: str, shrinks: bool, policy: ImagePolicy
) -> tuple[ReadFile, DecodedImage]:
    def asked(kind: str, content: object) -> Any:
        channel.send((kind, content))
        return channel.receive()

    def reserve(amount: int) -> contextlib.AbstractContextManager[None]:
        asked("memory", amount)  # the parent holds it, until it has the picture
        return held_already(amount)

    least_side = (lambda *size: asked("size", size)) if shrinks else None
    return read_picture(source, policy, name=name, least_side=least_side, reserve=reserve)


def _send(channel: Channel, file: ReadFile, decoded: DecodedImage) -> None:
    rgb = decoded.rgb
    channel.send(("image", Facts(file, decoded.width, decoded.height, decoded.mode, rgb.size)))
    for box in _bands(rgb.size):
        channel.send(("pixels", rgb.crop(box).tobytes()))


def _warn_of_printed(name: str) -> None:
    """Warn of what codecs have printed; before the answer, as nobody listens after it."""
    if lines := _printed():
        logger.warning("%s: %s", name or "an image", counted_lines(lines))


def _limit(more: int) -> None:
    """Limit this process's address space to `more` than it has, and what it writes; not on Windows."""
    if sys.platform == "win32":
        return
    import resource

    limits = {
        resource.RLIMIT_AS: psutil.Process().memory_info().vms + more,
        resource.RLIMIT_FSIZE: PRINTED_BYTES,
        resource.RLIMIT_CORE: 0,
    }
    for kind, limit in limits.items():
        _, hard = resource.getrlimit(kind)
        value = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        try:
            resource.setrlimit(kind, (value, hard))
        except (OSError, ValueError) as error:  # macOS refuses some
            logger.debug("limit %s is not set: %s", kind, error)


def _printed() -> list[str]:
    """Take what was printed since the last call: standard error is a file of this process's own."""
    size = os.fstat(2).st_size
    if not size:
        return []
    os.lseek(2, 0, os.SEEK_SET)
    lines = os.read(2, 2**16).decode("utf-8", "replace").splitlines()
    os.lseek(2, 0, os.SEEK_SET)
    os.ftruncate(2, 0)
    return [line for line in lines if line.strip()]
