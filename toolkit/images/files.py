"""Image files on disk: regular files only, read up to the size they had when opened."""

import hashlib
import os
from pathlib import Path
from typing import BinaryIO, NamedTuple

from toolkit.files.regular import NotRegularError, open_regular

DIGEST_BYTES = 16


class FileContent(NamedTuple):
    """The bytes of a file, and its size and time when it was opened."""

    data: bytes
    size: int
    mtime_ns: int


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
        return f"is {error.kind}, not a regular file"
    if isinstance(error, FileNotFoundError):
        return "file not found"
    if isinstance(error, PermissionError):
        return "permission denied"
    return f"cannot be read: {error.strerror or error}"
