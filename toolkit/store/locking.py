"""One pass at a time into a store."""

import contextlib
import errno
import logging
import os
import sys
from pathlib import Path
from typing import BinaryIO, Self

from toolkit.errors import StoreError
from toolkit.store.disk import writing

logger = logging.getLogger(__name__)

_TAKEN = (errno.EAGAIN, errno.EACCES, errno.EDEADLK)
_UNKNOWN = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


class StoreLock:
    """Keeps other passes from writing a store, until it is released or this process ends, however it ends.

    The operating system holds the lock, on the file ``.<name>.lock``, and lets go of it with the process: a
    file that a kill left behind keeps nobody out. A disk that knows no locks gives none; a warning says so.
    """

    def __init__(self, target: Path) -> None:
        """Lock the store `target`; `StoreError` if another pass holds it."""
        self._path = target.with_name(f".{target.name}.lock")
        self._file: BinaryIO | None = None
        with writing(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            while self._file is None:
                self._file = self._try(target)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Let others write the store; a second call does nothing."""
        file, self._file = self._file, None
        if file is None:
            return
        with contextlib.suppress(OSError):
            if sys.platform != "win32" and self._is_still(file):  # there, an open file cannot be removed
                self._path.unlink()
        file.close()
        if sys.platform == "win32":
            with contextlib.suppress(OSError):  # another pass has opened it
                self._path.unlink()

    def _try(self, target: Path) -> BinaryIO | None:
        """Return the locked file, or None if its last owner has removed it in the meantime."""
        file = self._path.open("ab")
        try:
            _lock(file)
        except OSError as error:
            if error.errno not in _UNKNOWN:
                file.close()
            if error.errno in _TAKEN:
                raise StoreError(
                    f"another pass is writing the store {target}; wait for it or give another --name"
                ) from error
            if error.errno not in _UNKNOWN:
                raise
            logger.warning("%s: this disk knows no locks; let no two passes write one store", target)
        if self._is_still(file):
            return file
        file.close()
        return None

    def _is_still(self, file: BinaryIO) -> bool:
        try:
            return os.path.samestat(os.fstat(file.fileno()), self._path.stat())
        except FileNotFoundError:
            return False


if sys.platform == "win32":
    import msvcrt

    def _lock(file: BinaryIO) -> None:
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(file: BinaryIO) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
