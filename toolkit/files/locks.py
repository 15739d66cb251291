"""One writer at a time, by a lock of the operating system."""

import errno
import logging
from pathlib import Path
from typing import Self

import filelock

from toolkit.errors import StoreError
from toolkit.files.disk import writing

logger = logging.getLogger(__name__)

_UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


class StoreLock:
    """Keeps other passes from writing a store, until it is released or this process ends.

    The lock is on the file ``.<name>.lock``. The file stays, but blocks nobody: the operating system releases
    the lock when the process ends. On a file system without locking, only a warning is logged.
    """

    def __init__(self, target: Path) -> None:
        """Lock the store `target`; `StoreError` if another pass holds it."""
        path = target.with_name(f".{target.name}.lock")
        self._lock = filelock.FileLock(path, blocking=False, thread_local=False)
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
