"""Atomic replacement of one file, or of two that belong together."""

import contextlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from toolkit.files.locks import holding, try_lock

_PARTIAL = ".partial"  # being written
_READY = ".ready"  # complete: of two files that belong together


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to, and rename it to `path` if the block succeeds.

    A reader sees the old file or the new one, never a part of it. If the block raises, the old file stays.
    What killed processes left of earlier attempts is deleted.

    Examples
    --------
    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "note.txt"
    >>> with replacing(target) as fresh:
    ...     _ = fresh.write_text("done")
    >>> target.read_text()
    'done'
    """
    with _written(path) as fresh:
        yield fresh
        fresh.replace(path)


@contextmanager
def replacing_both(first: Path, second: Path) -> Iterator[tuple[Path, Path]]:
    """Replace two files of one folder together: yield the paths to write to.

    After a kill at any moment there are the two old files, the two new ones, or one file and no other:
    `settle`, which the next reader or writer of the two calls, then completes the pair.
    """
    with _written(first) as fresh, _written(second) as other:
        yield fresh, other
        with holding(first.parent):
            _settle(first, second)
            fresh.replace(_ready(first))
            other.replace(_ready(second))  # from here on both are complete and can only go forward
            _settle(first, second)


def settle(first: Path, second: Path) -> None:
    """Complete what a killed `replacing_both` began, or drop it if not both files were complete."""
    if _ready(first).exists() or _ready(second).exists():
        with holding(first.parent):
            _settle(first, second)


def _settle(first: Path, second: Path) -> None:
    if not _ready(second).exists():
        _ready(first).unlink(missing_ok=True)
        return
    if _ready(first).exists():
        second.unlink(missing_ok=True)  # it does not belong to the new first file
        _ready(first).replace(first)
    _ready(second).replace(second)


def _ready(path: Path) -> Path:
    return path.with_name(f".{path.name}{_READY}")


def partials(folder: Path, name: str = "") -> Iterator[Path]:
    """Yield the files in `folder` that are being written, or were when a process was killed."""
    begins = f".{name}." if name else "."
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as items:
        for item in items:
            if item.name.startswith(begins) and item.name.endswith(_PARTIAL) and not item.is_dir():
                yield Path(item.path)


def unsettled(folder: Path) -> Iterator[Path]:
    """Yield the paths in `folder` that a killed `replacing_both` has yet to replace: `settle` does it."""
    for ready in sorted(folder.glob(f".*{_READY}")):
        yield ready.with_name(ready.name.removeprefix(".").removesuffix(_READY))


def sweep_partials(folder: Path, name: str = "") -> None:
    """Delete the files of `partials` that no living process writes."""
    for path in partials(folder, name):
        with try_lock(path) as free:
            if free:
                path.unlink(missing_ok=True)


@contextmanager
def _written(path: Path) -> Iterator[Path]:
    """Yield a new file beside `path`, locked while it is written; delete it if it was not renamed."""
    try:
        sweep_partials(path.parent, path.name)
        with contextlib.ExitStack() as stack:
            yield _new(path, stack)
    except OSError as error:
        if error.filename is None or str(error.filename).endswith(_PARTIAL):  # name the file the user knows
            raise OSError(error.errno, error.strerror or str(error), str(path)) from error
        raise


def _new(path: Path, stack: contextlib.ExitStack) -> Path:
    while True:
        fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}{_PARTIAL}")
        stack.callback(fresh.unlink, missing_ok=True)
        fresh.touch(exist_ok=False)
        if stack.enter_context(try_lock(fresh, own=True)):
            return fresh
