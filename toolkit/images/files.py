"""Image files on disk: regular files only, read up to the size they had when opened."""

import hashlib
import os
import stat
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, NamedTuple

DIGEST_BYTES = 16

# O_NONBLOCK: opening a pipe would wait for a writer; O_NOCTTY: a terminal must not become this process's
_FLAGS = os.O_RDONLY | sum(getattr(os, name, 0) for name in ("O_NONBLOCK", "O_NOCTTY", "O_BINARY"))

_KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}


class NotRegularError(OSError):
    """A pipe, socket, device or folder where a file is needed; its text says which."""


class FileContent(NamedTuple):
    """The bytes of a file, and its size and time when it was opened."""

    data: bytes
    size: int
    mtime_ns: int


def special_kind(mode: int) -> str:
    """Return what a mode of `os.stat_result` is (``a pipe``, ``a device``, ...); empty for a regular file."""
    return "" if stat.S_ISREG(mode) else _KINDS.get(stat.S_IFMT(mode), "a special file")


def open_regular(path: Path) -> BufferedReader:
    """Open a file to read it; `NotRegularError` at once, and without reading, for anything but a file."""
    try:
        number = os.open(path, _FLAGS)
    except OSError as error:  # a socket cannot be opened, on Windows nor can a folder
        raise (_special(path) or error) from error
    try:
        # of the open file: what a name stands for may change
        if kind := special_kind(os.fstat(number).st_mode):
            raise NotRegularError(f"is {kind}, not a regular file")
        return os.fdopen(number, "rb")
    except BaseException:
        os.close(number)
        raise


def _special(path: Path) -> NotRegularError | None:
    try:
        kind = special_kind(path.stat().st_mode)
    except OSError:
        return None
    return NotRegularError(f"is {kind}, not a regular file") if kind else None


def read_content(file: BinaryIO) -> FileContent:
    """Read an open file up to its present size: one that grows meanwhile might never end."""
    # of the open file, so that a file replaced meanwhile cannot pair old pixels with a new time
    status = os.fstat(file.fileno())
    return FileContent(file.read(status.st_size), status.st_size, status.st_mtime_ns)


def digest_of(data: bytes) -> str:
    """Return the BLAKE2b-128 of `data` in hex."""
    return hashlib.blake2b(data, digest_size=DIGEST_BYTES).hexdigest()


def digest_of_file(path: Path) -> str:
    """Return the `digest_of` a file, read in parts."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=DIGEST_BYTES)).hexdigest()


def why_unreadable(error: OSError) -> str:
    """Return the reason for an image file that cannot be opened or read."""
    if isinstance(error, NotRegularError):
        return str(error)
    if isinstance(error, FileNotFoundError):
        return "file not found"
    if isinstance(error, PermissionError):
        return "permission denied"
    return f"cannot be read: {error.strerror or error}"
