"""Translate errors of the disk into `StoreError` with a remedy."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from toolkit.errors import StoreError

_AGAIN = "then run the same command again: what is embedded is kept"
_PERMISSIONS = "fix the permissions, or give another --artifacts"
_NOT_A_FOLDER = "a file is where a folder is needed; give another --artifacts"
_REMEDIES = {
    errno.ENOSPC: f"free some space, {_AGAIN}",
    errno.EDQUOT: f"free some of your quota, {_AGAIN}",
    errno.EFBIG: f"raise the limit (ulimit -f) or use another disk with --artifacts, {_AGAIN}",
    errno.ENAMETOOLONG: "give a shorter --name",
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), _PERMISSIONS),
    **dict.fromkeys((errno.ENOTDIR, errno.EEXIST), _NOT_A_FOLDER),
}


@contextmanager
def writing(target: Path) -> Iterator[None]:
    """Raise an `OSError` of the block, which writes the store `target`, as a `StoreError`."""
    try:
        yield
    except OSError as error:
        path = error.filename if isinstance(error.filename, str | Path) else target
        remedy = _REMEDIES.get(error.errno or 0, f"fix that, {_AGAIN}")
        raise StoreError(f"{path} cannot be written ({error.strerror or error}); {remedy}") from error
