"""Locks of the operating system: it releases them itself when a process ends, however it ends."""

import errno
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import filelock

from toolkit.errors import StoreError
from toolkit.files.disk import writing

try:
    import fcntl
except ImportError:  # Windows: there a file that is open cannot be deleted or replaced
    fcntl = None  # type: ignore[assignment]

logger = logging.getLogger(__name__)

PATIENCE = 0.5  # seconds: a command that sweeps leftovers holds the lock for a moment
_UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


class StoreLock:
    """Keeps other passes from writing a store, until it is released or this process ends.

    The lock is on the file ``.<name>.lock``. The file stays, but blocks nobody: the operating system releases
    the lock when the process ends. On a file system without locking, only a warning is logged.
    """

    def __init__(self, target: Path) -> None:
        """Lock the store `target`; `StoreError` if another pass holds it for longer than `PATIENCE`."""
        path = target.with_name(f".{target.name}.lock")
        self._lock = filelock.FileLock(path, timeout=PATIENCE, thread_local=False)
        with writing(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._lock.acquire()
            except filelock.Timeout as error:
                raise StoreError(
                    f"another pass is writing the store {target}; wait for it or give another --name"
                ) from error
            except (NotImplementedError, OSError) as error:
                if isinstance(error, OSError) and error.errno not in _UNSUPPORTED:
                    raise
                logger.warning(
                    "%s: this disk does not support locks; do not let two passes write one store", path
                )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Let others write the store; a second call does nothing."""
        self._lock.release()


@contextmanager
def try_lock(path: Path, *, own: bool = False) -> Iterator[bool]:
    """Hold the lock of a file or folder for the block, and yield whether this process got it; do not wait.

    `own` says that this process has just made the path: then it is not got only if another process took it
    for a leftover meanwhile. Where the system or the disk has no such locks, a path of its own is got and any
    other is not, so that nothing in use is taken for a leftover.
    """
    descriptor = None
    try:
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            pass
        except PermissionError:  # another user's, or a folder on Windows
            if own and fcntl is not None:
                raise
        if descriptor is None:
            yield own and fcntl is None
        else:
            yield _lock(descriptor, own) and (not own or _is_still(path, descriptor))
    finally:
        if descriptor is not None:
            os.close(descriptor)


@contextmanager
def holding(folder: Path) -> Iterator[None]:
    """Wait for the lock of a folder, and hold it for the block: a few renames inside the folder."""
    if fcntl is None:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError as error:
            if not _is_unsupported(error):
                raise
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, own: bool) -> bool:
    if fcntl is None:
        return own
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if not _is_unsupported(error):
            raise
        return own
    return True


def _is_unsupported(error: OSError) -> bool:
    return error.errno in (*_UNSUPPORTED, errno.EBADF)  # NFS locks only files that are open for writing


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
