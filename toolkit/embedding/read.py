"""Reading images: from file to pixels in a decoding thread, and whether a stored row is still valid."""

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from toolkit.arrays.types import Pixels
from toolkit.backbones.base import Backbone, Decoded
from toolkit.embedding.augment import augmented
from toolkit.embedding.options import ReadOptions
from toolkit.errors import ImageError
from toolkit.images.decode import check_header, decode_image
from toolkit.images.manifest import Entry
from toolkit.images.options import ImagePolicy
from toolkit.store.records import Row

DIGEST_BYTES = 16
LARGE = 2**24  # bytes: of a larger file the header is checked first; files are held together up to this size


@dataclass(frozen=True)
class ReadImage:
    """One image: its record, and its pixels (H, W, 3), the plain ones first, then its views."""

    row: Row
    pixels: list[Pixels]


def digest_of(data: bytes) -> str:
    """Return the BLAKE2b-128 of `data` in hex."""
    return hashlib.blake2b(data, digest_size=DIGEST_BYTES).hexdigest()


def digest_of_file(path: Path) -> str:
    """Return the `digest_of` a file, read in parts."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=DIGEST_BYTES)).hexdigest()


def read_images(entries: Sequence[Entry], backbone: Backbone, options: ReadOptions) -> list[ReadImage | str]:
    """Read, decode and resize images; for one that cannot be read, return the reason in plain words."""
    images: list[ReadImage | str] = []
    waiting: list[tuple[Entry, _File | str]] = []
    for number, entry in enumerate(entries, start=1):
        waiting.append((entry, _read_file(entry, options)))
        contents = [file.data for _, file in waiting if not isinstance(file, str)]
        if number == len(entries) or sum(map(len, contents)) >= LARGE:
            on_device = iter(backbone.decode(contents, options.max_pixels))
            images += [
                file if isinstance(file, str) else _read_image(one, file, next(on_device), backbone, options)
                for one, file in waiting
            ]
            waiting.clear()
    return images


class _File(NamedTuple):
    data: bytes
    stat: os.stat_result


def _read_file(entry: Entry, policy: ImagePolicy) -> _File | str:
    try:
        with entry.path.open("rb") as file:
            # of the open file, so that a file replaced meanwhile cannot pair old pixels with a new time
            stat = os.fstat(file.fileno())
            if stat.st_size > LARGE:
                check_header(file, policy, name=entry.id)
                file.seek(0)
            return _File(file.read(), stat)
    except OSError as error:
        return _reason(error)
    except ImageError as error:
        return str(error)
    except MemoryError:
        return f"not enough memory to read it ({stat.st_size:,} bytes)"


def _read_image(
    entry: Entry, file: _File, on_device: Decoded | None, backbone: Backbone, options: ReadOptions
) -> ReadImage | str:
    if on_device is not None:
        (plain, width, height), mode = on_device, "RGB"
    else:
        try:
            decoded = decode_image(file.data, options, name=entry.id, least_side=backbone.least_side)
        except ImageError as error:
            return str(error)
        plain, width, height = backbone.preprocess(decoded.rgb), decoded.width, decoded.height
        mode = decoded.mode
    row = Row(
        img_path=entry.id,
        bytes=file.stat.st_size,
        mtime_ns=file.stat.st_mtime_ns,
        digest=digest_of(file.data),
        width=width,
        height=height,
        mode=mode,
    )
    views = (augmented(plain, entry.id, view, options.seed) for view in range(options.views))
    return ReadImage(row, [plain, *views])


class Known:
    """Decides which stored rows can be kept; the `keep` of a `toolkit.store.writing.StoreWriter`.

    An image keeps the row of its id if its file did not change. A new id takes, if `by_content`, the row of
    an image with the same content: a rename costs reading the file, not embedding it.

    Attributes
    ----------
    renamed : dict of str
        Earlier names of renamed images, by id.
    """

    def __init__(self, entries: Iterable[Entry], *, by_content: bool) -> None:
        self._entries = {entry.id: entry for entry in entries}
        self._by_content = by_content
        self._rows: Mapping[str, Row] | None = None
        self._by_size: dict[int, list[Row]] = {}
        self.renamed: dict[str, str] = {}

    def __call__(self, image: str, rows: Mapping[str, Row]) -> tuple[str, Row] | None:
        """Return the id of the row of `rows` to keep for `image` and its new record, or None.

        A file of the recorded size and time is taken as unchanged; else the digests are compared.
        """
        path = self._entries[image].path
        try:
            stat = path.stat()
            row = rows.get(image)
            if row is not None and (row.bytes, row.mtime_ns) == (stat.st_size, stat.st_mtime_ns):
                return image, row
            candidates = self._candidates(rows, stat.st_size) if row is None else [row]
            candidates = [each for each in candidates if each.bytes == stat.st_size]
            digest = digest_of_file(path) if candidates else ""
        except OSError:
            return None  # the pass gets the same error and records it in failed.csv
        same = next((each for each in candidates if each.digest == digest), None)
        if same is None:
            return None
        if same.img_path not in self._entries:  # else it is a copy
            self.renamed[image] = same.img_path
        return same.img_path, replace(same, img_path=image, mtime_ns=stat.st_mtime_ns)

    def _candidates(self, rows: Mapping[str, Row], size: int) -> Sequence[Row]:
        """Return the rows of files of that size."""
        if not self._by_content:
            return ()
        if self._rows is not rows:
            self._rows, self._by_size = rows, {}
            for row in rows.values():
                self._by_size.setdefault(row.bytes, []).append(row)
        return self._by_size.get(size, ())


def _reason(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "file not found"
    if isinstance(error, PermissionError):
        return "permission denied"
    if isinstance(error, IsADirectoryError):
        return "is a folder, not a file"
    return f"cannot be read: {error.strerror or error}"
