"""Opening files that somebody else wrote: regular files only, and no larger than asked.

A named pipe without a writer blocks its reader for ever, and ``/dev/zero`` never ends.
"""

import os
import stat
from io import BufferedReader
from pathlib import Path

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_PIECE_BYTES = 2**20
# O_NONBLOCK: a pipe may take the file's place between stat and open; O_NOCTTY: a terminal must not become
# this process's
_FLAGS = sum(getattr(os, name, 0) for name in ("O_NONBLOCK", "O_NOCTTY"))


class NotRegularError(OSError):
    """What is opened is no regular file; the message, without the path, says what it is and what to do.

    `kind` is what it is, such as ``a device``.
    """

    def __init__(self, kind: str) -> None:
        super().__init__(f"it is {kind}; give a regular file")
        self.kind = kind


def special_kind(mode: int) -> str:
    """Return what a mode of `os.stat_result` is, such as ``a device``; empty for a regular file."""
    return "" if stat.S_ISREG(mode) else _KINDS.get(stat.S_IFMT(mode), "a special file")


class FileTooLargeError(OSError):
    """A file has more bytes than its reader takes; the message, without the path, says both numbers."""


def open_regular(path: Path) -> BufferedReader:
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
    descriptor = os.open(path, flags | _FLAGS)
    try:
        _refuse(os.fstat(descriptor).st_mode)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _refuse(mode: int) -> None:
    if kind := special_kind(mode):
        raise NotRegularError(kind)
