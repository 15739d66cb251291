"""Translate errors of the disk into `StoreError` with a remedy."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from toolkit.errors import StoreError
from toolkit.runtime.failures import path_of, remedy

_AGAIN = "then run the same command again: what is embedded is kept"


@contextmanager
def writing(target: Path) -> Iterator[None]:
    """Raise an `OSError` of the block, which writes the store `target`, as a `StoreError`."""
    try:
        yield
    except OSError as error:
        path = path_of(error) or target
        raise StoreError(
            f"{path} cannot be written ({error.strerror or error}); {remedy(error)}, {_AGAIN}"
        ) from error
