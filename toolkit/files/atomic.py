"""Atomic replacement of a file."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to, and rename it to `path` if the block succeeds.

    A reader sees the old file or the new one, never a part of it. If the block raises, the old file stays.

    Examples
    --------
    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "note.txt"
    >>> with replacing(target) as fresh:
    ...     _ = fresh.write_text("done")
    >>> target.read_text()
    'done'
    """
    fresh = path.with_name(f".{path.name}.partial")
    try:
        yield fresh
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
