"""A layer between Python and the disk: it sees every operation inside a folder before it is done.

Opening, renaming, deleting and making folders are seen through Python's audit events, writing through files
that `open` returns. What is not seen (numpy and zipfile write through these files too) is the time between.
"""

import builtins
import contextlib
import io
import os
import sys
from collections.abc import Callable
from pathlib import Path

EVENTS = {
    "open": "open",
    "os.rename": "rename",
    "os.remove": "remove",
    "os.mkdir": "mkdir",
    "os.rmdir": "rmdir",
    "os.link": "link",
    "os.truncate": "truncate",
    "os.scandir": "list",
    "os.listdir": "list",
    "os.chmod": "chmod",
}
WRITING = {"create", "write", "rename", "remove", "mkdir", "rmdir", "link", "truncate", "chmod"}
_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

Before = Callable[[int, str, str], None]


class Disk:
    """Calls `before` with the number, kind and path of each operation of this process inside `folder`."""

    def __init__(self) -> None:
        self._before: Before | None = None
        self._folder = ""
        self._number = 0
        self._inside = False

    def watch(self, folder: Path, before: Before) -> None:
        """Begin to count from 0; an earlier watch ends."""
        self._folder, self._before, self._number = f"{folder.resolve()}{os.sep}", before, 0
        if self not in _installed:
            _installed.append(self)
            sys.addaudithook(self._audit)
            builtins.open = io.open = self._open(io.open)

    def rest(self) -> None:
        """Watch no more."""
        self._before = None

    def _audit(self, event: str, arguments: tuple[object, ...]) -> None:
        if self._before is not None and event in EVENTS:
            kind = EVENTS[event]
            if kind == "open" and isinstance(arguments[2], int) and arguments[2] & _FLAGS:
                kind = "create"
            directory = arguments[1] if event in ("os.remove", "os.rmdir") else -1
            if event == "os.mkdir":
                directory = arguments[2]
            self._happens(kind, arguments[0], directory)

    def _happens(self, kind: str, path: object, directory: object = -1) -> None:
        if self._before is None or self._inside or not isinstance(path, str | bytes | os.PathLike):
            return
        self._inside = True
        try:
            name = os.fsdecode(path)
            if isinstance(directory, int) and directory >= 0:
                name = str(Path(f"/proc/self/fd/{directory}").readlink() / name)
            name = str(Path(name).absolute())
            if name.startswith(self._folder):
                number, self._number = self._number, self._number + 1
                self._before(number, kind, name)
        finally:
            self._inside = False

    def _open(self, real):
        disk = self

        def opened(file, mode="r", buffering=-1, *rest, **options):
            if disk._before is None or not set(mode) & set("wa+x") or not isinstance(file, str | os.PathLike):
                return real(file, mode, buffering, *rest, **options)
            if "b" in mode:
                return _File(real(file, mode, buffering, *rest, **options), os.fspath(file), disk)
            raw = real(file, mode.replace("t", "") + "b")
            encoding, errors, newline = (*rest, None, None, None)[:3]
            options.pop("closefd", None)
            options.pop("opener", None)
            settings = {"encoding": encoding, "errors": errors, "newline": newline} | options
            return io.TextIOWrapper(_File(raw, os.fspath(file), disk), **settings)

        return opened


class _File(io.BufferedIOBase):
    """A binary file whose writes are seen; numpy does not take it for a file it may write to by itself."""

    def __init__(self, file, path, disk):
        self._file, self._path, self._disk = file, path, disk

    def write(self, data):
        self._disk._happens("write", self._path)
        return self._file.write(data)

    def flush(self):
        if not self._file.closed:
            self._file.flush()

    def close(self):
        with contextlib.suppress(AttributeError):
            self._file.close()

    @property
    def closed(self):
        return self._file.closed

    @property
    def name(self):
        return self._path

    def __getattr__(self, name):
        if name == "_file":
            raise AttributeError(name)
        return getattr(self._file, name)

    def read(self, size=-1):
        return self._file.read(size)

    def readinto(self, buffer):
        return self._file.readinto(buffer)

    def seek(self, offset, whence=0):
        return self._file.seek(offset, whence)

    def tell(self):
        return self._file.tell()

    def truncate(self, size=None):
        self._disk._happens("truncate", self._path)
        return self._file.truncate(size)

    def fileno(self):
        return self._file.fileno()

    def readable(self):
        return self._file.readable()

    def writable(self):
        return self._file.writable()

    def seekable(self):
        return self._file.seekable()


_installed: list[Disk] = []
DISK = Disk()
