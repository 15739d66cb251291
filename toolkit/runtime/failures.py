"""What the operating system refuses, in one line: what failed, why, what to do."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from toolkit.errors import MachineError

_PERMISSIONS = "fix the permissions, or give another folder (--artifacts, --out)"
_NOT_A_FOLDER = "a file is where a folder is needed, or a folder where a file is; give another path"
_REMEDIES = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some of your quota",
    errno.EFBIG: "raise the limit (ulimit -f) or use another disk with --artifacts",
    errno.ENAMETOOLONG: "give a shorter name",
    errno.ENOENT: "something removed it meanwhile",
    errno.EMFILE: "close other files or raise the limit (ulimit -n)",
    errno.ENFILE: "close other programs: all files the system allows are open",
    errno.EIO: "check the disk",
    errno.ESTALE: "the file server replaced it",
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), _PERMISSIONS),
    **dict.fromkeys((errno.ENOTDIR, errno.EEXIST, errno.EISDIR), _NOT_A_FOLDER),
}


def remedy(error: OSError, otherwise: str = "fix that") -> str:
    """Return what to do about `error`, without a full stop."""
    return _REMEDIES.get(error.errno or 0, otherwise)


def path_of(error: OSError) -> str:
    """Return the path that `error` is about, or an empty text."""
    return os.fspath(error.filename) if isinstance(error.filename, str | Path) else ""


@contextmanager
def explained() -> Iterator[None]:
    """Raise an `OSError` or `MemoryError` of the block as a `MachineError` of one line.

    A broken pipe is passed on: nobody reads the output any more, which is no failure.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        where = path_of(error) or "a file"
        raise MachineError(
            f"{where}: {error.strerror or error}; {remedy(error)}, then run the same command again"
        ) from error
    except MemoryError as error:
        raise MachineError(
            f"memory ran out ({str(error) or 'MemoryError'}); close other programs or use a machine with more"
        ) from error
