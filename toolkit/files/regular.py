"""Opening files that somebody else wrote: regular files only, and no larger than asked.

A named pipe without a writer blocks its reader for ever, and ``/dev/zero`` never ends.
"""

import os
import stat
from pathlib import Path
from typing import BinaryIO

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
_PIECE_BYTES = 1 << 20
_NO_WAIT = getattr(os, "O_NONBLOCK", 0)  # a pipe that takes the file's place between stat and open


class NotRegularError(OSError):
    """What is opened is no regular file; the message, without the path, says what it is and what to do."""


class FileTooLargeError(OSError):
    """A file has more bytes than its reader takes; the message, without the path, says both numbers."""


def open_regular(path: Path) -> BinaryIO:
    """Open `path` for reading bytes; `NotRegularError` if it is a folder, pipe, socket or device.

    Links are followed. Nothing blocks: neither the opening nor a read.
    """
    _refuse(path.stat().st_mode)  # before opening: that alone may act on a device
    return open(path, "rb", opener=_opener)  # pathlib has no opener


def read_regular(path: Path, *, most: int) -> bytes:
    """Return the bytes of the regular file `path`; `FileTooLargeError` if they are more than `most`."""
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        pieces = [file.read(size)] if size <= most else []
        # some files, such as those of /proc, have more than their size says; one growing has no end
        while pieces and size <= most and (piece := file.read(_PIECE_BYTES)):
            pieces.append(piece)
            size = sum(map(len, pieces))
    if size > most:
        raise FileTooLargeError(f"it has {size:,} bytes, more than the {most:,} allowed")
    return b"".join(pieces)


def _opener(path: str, flags: int) -> int:
    descriptor = os.open(path, flags | _NO_WAIT)
    try:
        _refuse(os.fstat(descriptor).st_mode)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _refuse(mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = next((kind for is_kind, kind in _KINDS if is_kind(mode)), "no regular file")
        raise NotRegularError(f"it is {kind}; give a regular file")
