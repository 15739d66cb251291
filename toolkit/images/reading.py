"""From an image file to its picture and the facts of its record."""

from pathlib import Path
from typing import BinaryIO, NamedTuple

from toolkit.errors import ImageError
from toolkit.files.regular import open_regular
from toolkit.images.decode import DecodedImage, LeastSide, check_header, decode_image
from toolkit.images.files import FileContent, digest_of, read_content, why_unreadable
from toolkit.images.memory import BUDGET, Reserve, held_already
from toolkit.images.options import ImagePolicy

LARGE = 2**24  # bytes: of a larger file the header is checked, and its memory waited for, before it is read


class ReadFile(NamedTuple):
    """What the record of an image says of its file."""

    bytes: int
    mtime_ns: int
    digest: str


class LargeFileError(Exception):
    """A file of more than `LARGE` bytes was not read.

    Attributes
    ----------
    memory : int
        Bytes that reading and decoding it will hold.
    """

    def __init__(self, memory: int) -> None:
        super().__init__(f"{memory:,} bytes will be held")
        self.memory = memory


def read_file(
    path: Path,
    policy: ImagePolicy,
    *,
    name: str,
    least_side: LeastSide | None = None,
    large: bool = False,
) -> FileContent:
    """Read a file; a `LargeFileError` instead of reading a large one unless `large` says so.

    Raises
    ------
    ImageError
        The reason why it cannot be read, or need not be.
    """
    size = 0
    try:
        with open_regular(path) as file:
            size = _size(file)
            if size > LARGE and not large:
                raise LargeFileError(check_header(file, policy, name=name, least_side=least_side))
            return read_content(file)
    except OSError as error:
        raise ImageError(why_unreadable(error)) from error
    except MemoryError as error:
        raise ImageError(f"not enough memory to read it ({size:,} bytes)") from error


def _size(file: BinaryIO) -> int:
    size = file.seek(0, 2)
    file.seek(0)
    return size


def facts_of(file: FileContent) -> ReadFile:
    """Return what the record says of a file."""
    return ReadFile(file.size, file.mtime_ns, digest_of(file.data))


def read_picture(
    source: Path | bytes,
    policy: ImagePolicy,
    *,
    name: str = "",
    least_side: LeastSide | None = None,
    reserve: Reserve | None = None,
) -> tuple[ReadFile, DecodedImage]:
    """Read and decode a file, or the bytes of one (whose time is 0); arguments as in `decode_image`.

    Raises
    ------
    ImageError
        The reason why it cannot be read or decoded.
    """
    reserve = reserve or (lambda amount: BUDGET.hold(amount, policy.memory_bytes))
    if isinstance(source, bytes):
        file = FileContent(source, len(source), 0)
    else:
        try:
            file = read_file(source, policy, name=name, least_side=least_side)
        except LargeFileError as error:
            with reserve(error.memory):
                file = read_file(source, policy, name=name, large=True)
                return facts_of(file), decode_image(
                    file.data, policy, name=name, least_side=least_side, reserve=held_already
                )
    return facts_of(file), decode_image(file.data, policy, name=name, least_side=least_side, reserve=reserve)
