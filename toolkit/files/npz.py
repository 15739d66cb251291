"""Archives of arrays (``.npz``): members whose sizes are checked before they are unpacked."""

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

from numpy.typing import NDArray

from toolkit.files.npy import Expected, Header, parse_array, read_header
from toolkit.files.regular import open_regular

MOST_BYTES = 2**32
"""Bytes that a compressed member may unpack to: a dense int64 matrix of 35,000 x 6,941 has 1.9 GB."""

_MOST_MEMBERS = 1000
_MOST_DEFLATED = 1100  # deflate shrinks at most 1,032 times
_STORED, _DEFLATED = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED


class Archive:
    """An open ``.npz``; `names` are those of its arrays, without ``.npy``."""

    def __init__(self, members: zipfile.ZipFile, size: int) -> None:
        self._members, self._size = members, size
        self.names = [name.removesuffix(".npy") for name in members.namelist() if name.endswith(".npy")]

    def read(self, name: str, expected: Expected, *, most: int = MOST_BYTES) -> NDArray[Any]:
        """Read one array; `ValueError` names it if it is missing, damaged or not what is expected.

        What the archive and the array's header say of its size must agree, and be `most` bytes at most
        unless it is stored without compression, before anything is unpacked.
        """
        try:
            info = self._members.getinfo(f"{name}.npy")
            self._check(info, most)
            with self._members.open(info) as file:
                array = parse_array(cast("Any", file), info.file_size, expected)
                _finish(file)
                return array
        except KeyError as error:
            raise ValueError(f"{name} is missing from it") from error
        except (ValueError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
            raise ValueError(f"{name}: {error}") from error
        except MemoryError as error:
            raise ValueError(f"{name}: its {info.file_size:,} bytes do not fit into memory") from error

    def header(self, name: str) -> Header:
        """Read the header of one array; `ValueError` as in `read`."""
        try:
            info = self._members.getinfo(f"{name}.npy")
            self._check(info, MOST_BYTES)
            with self._members.open(info) as file:
                return read_header(cast("Any", file), info.file_size)
        except KeyError as error:
            raise ValueError(f"{name} is missing from it") from error
        except (ValueError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
            raise ValueError(f"{name}: {error}") from error

    def _check(self, info: zipfile.ZipInfo, most: int) -> None:
        if info.flag_bits & 1:
            raise ValueError("it is encrypted")
        if info.compress_type not in (_STORED, _DEFLATED):
            raise ValueError(f"it is compressed by method {info.compress_type}; stored and deflated are read")
        allowed = self._size * (1 if info.compress_type == _STORED else _MOST_DEFLATED)
        if info.compress_size > self._size or info.file_size > allowed or info.header_offset < 0:
            raise ValueError(f"it announces {info.file_size:,} bytes, which cannot be in {self._size:,}")
        if info.compress_type == _DEFLATED and info.file_size > most:
            raise ValueError(f"it unpacks to {info.file_size:,} bytes; {most:,} are allowed")


def _finish(file: IO[bytes]) -> None:
    """Read to the end, where the checksum is compared; more bytes than announced are an error."""
    if file.read(1):
        raise ValueError("it has more bytes than it announces")


@contextmanager
def open_npz(path: Path) -> Iterator[Archive]:
    """Open the ``.npz`` at `path`; `OSError` or `ValueError` if it is no regular file or no archive."""
    with open_regular(path) as file:
        size = file.seek(0, 2)
        try:
            members = zipfile.ZipFile(file)
        except (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError, OverflowError) as error:
            raise ValueError(f"it is not an .npz archive ({error})") from error
        with members:
            if len(members.namelist()) > _MOST_MEMBERS:
                raise ValueError(f"it has {len(members.namelist()):,} members; {_MOST_MEMBERS:,} are allowed")
            yield Archive(members, size)
