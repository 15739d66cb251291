"""One image of the plan: file to pixels, in a decoding thread."""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image

from toolkit.backbones.base import Pixels
from toolkit.embedding.augment import augmented
from toolkit.errors import ImageError
from toolkit.images import ImagePolicy, decode_image
from toolkit.manifest import Entry
from toolkit.store import Row

DIGEST_BYTES = 16


@dataclass(frozen=True)
class ReadImage:
    """Pixels (H, W, 3) uint8 of one image, the plain ones first, then its views; and who it is."""

    row: Row
    pixels: list[Pixels]


def digest_of(data: bytes) -> str:
    """Return BLAKE2b-128 of `data` in hex."""
    return hashlib.blake2b(data, digest_size=DIGEST_BYTES).hexdigest()


def read_image(
    entry: Entry,
    preprocess: Callable[[Image.Image], Pixels],
    *,
    policy: ImagePolicy,
    views: int,
    seed: int,
) -> ReadImage | str:
    """Read, decode and resize one image; what cannot be read gives the reason in plain words instead."""
    try:
        with entry.path.open("rb") as file:
            # of the open file, so that a file replaced meanwhile cannot pair old pixels with a new time
            stat = os.fstat(file.fileno())
            data = file.read()
        decoded = decode_image(data, policy, name=entry.id)
    except ImageError as error:
        return str(error)
    except OSError as error:
        return _reason(error)
    row = Row(
        img_path=entry.id,
        bytes=stat.st_size,
        mtime_ns=stat.st_mtime_ns,
        digest=digest_of(data),
        width=decoded.width,
        height=decoded.height,
        mode=decoded.mode,
    )
    plain = preprocess(decoded.rgb)
    return ReadImage(row, [plain, *(augmented(plain, entry.id, view, seed) for view in range(views))])


def unchanged(row: Row, entry: Entry) -> Row | None:
    """Return the row to keep for `entry`'s file as it is now, or None if its content changed or is gone.

    Size and time are compared first; only where they moved is the file read and its digest compared.
    """
    try:
        stat = entry.path.stat()
        if (stat.st_size, stat.st_mtime_ns) == (row.bytes, row.mtime_ns):
            return row
        if stat.st_size != row.bytes or digest_of(entry.path.read_bytes()) != row.digest:
            return None
    except OSError:
        return None  # the pass will meet the same error and write it into failed.csv
    return Row(row.img_path, row.bytes, stat.st_mtime_ns, row.digest, row.width, row.height, row.mode)


def _reason(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "file not found"
    if isinstance(error, PermissionError):
        return "permission denied"
    if isinstance(error, IsADirectoryError):
        return "is a folder, not a file"
    return f"cannot be read: {error.strerror or error}"
