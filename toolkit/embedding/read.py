"""Images from file to pixels, in a decoding thread; and which rows of a store are still theirs."""

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

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
    """One image, with its pixels (H, W, 3): the plain ones, then its views."""

    row: Row
    pixels: list[Pixels]


def digest_of(data: bytes) -> str:
    """Return the BLAKE2b-128 of `data` in hex."""
    return hashlib.blake2b(data, digest_size=DIGEST_BYTES).hexdigest()


def digest_of_file(path: Path) -> str:
    """Return the `digest_of` a file, without holding all of it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=DIGEST_BYTES)).hexdigest()


def read_images(entries: Sequence[Entry], backbone: Backbone, options: ReadOptions) -> list[ReadImage | str]:
    """Read, decode and resize images; for one that cannot be read, return the reason in plain words."""
    out: list[ReadImage | str] = []
    waiting: list[tuple[Entry, _File | str]] = []
    for place, entry in enumerate(entries, start=1):
        waiting.append((entry, _read_file(entry, options)))
        held = sum(len(file.data) for _, file in waiting if not isinstance(file, str))
        if place == len(entries) or held >= LARGE:
            out += _decoded(waiting, backbone, options)
            waiting.clear()
    return out


@dataclass(frozen=True)
class _File:
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


def _decoded(
    files: Sequence[tuple[Entry, _File | str]], backbone: Backbone, options: ReadOptions
) -> list[ReadImage | str]:
    contents = [file.data for _, file in files if not isinstance(file, str)]
    on_device = iter(backbone.decode(contents, options.max_pixels))
    return [
        file if isinstance(file, str) else _read_image(entry, file, next(on_device), backbone, options)
        for entry, file in files
    ]


def _read_image(
    entry: Entry, file: _File, on_device: Decoded | None, backbone: Backbone, options: ReadOptions
) -> ReadImage | str:
    if on_device is not None:
        plain, width, height = on_device
        mode = "RGB"
    else:
        try:
            decoded = decode_image(file.data, options, name=entry.id, least_side=backbone.least_side)
        except ImageError as error:
            return str(error)
        plain = backbone.preprocess(decoded.rgb)
        width, height, mode = decoded.width, decoded.height, decoded.mode
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

    An image keeps the row of its id if its file did not change. Else, if `by_content`, it takes the row of an
    image with the same content under another name: a rename costs reading the file, not embedding it.

    Attributes
    ----------
    renamed : dict of str
        By id, the earlier name of each image that was renamed.
    """

    def __init__(self, entries: Iterable[Entry], *, by_content: bool) -> None:
        self._entries = {entry.id: entry for entry in entries}
        self._by_content = by_content
        self._rows: Mapping[str, Row] | None = None
        self._by_size: dict[int, list[Row]] = {}
        self.renamed: dict[str, str] = {}

    def __call__(self, image: str, rows: Mapping[str, Row]) -> tuple[str, Row] | None:
        """Return the id of the row of `rows` to keep for `image` and its new record, or None."""
        entry = self._entries[image]
        row = rows.get(image)
        if row is not None:
            kept = unchanged(row, entry)
            return None if kept is None else (image, kept)
        twin = self._same_content(entry, rows) if self._by_content else None
        if twin is None:
            return None
        if twin.img_path not in self._entries:  # else it is a copy
            self.renamed[image] = twin.img_path
        return twin.img_path, replace(twin, img_path=image)

    def _same_content(self, entry: Entry, rows: Mapping[str, Row]) -> Row | None:
        if self._rows is not rows:
            self._rows, self._by_size = rows, {}
            for row in rows.values():
                self._by_size.setdefault(row.bytes, []).append(row)
        try:
            stat = entry.path.stat()
            candidates = self._by_size.get(stat.st_size, [])
            digest = digest_of_file(entry.path) if candidates else ""
        except OSError:
            return None  # the pass gets the same error and records it in failed.csv
        twin = next((row for row in candidates if row.digest == digest), None)
        return None if twin is None else replace(twin, mtime_ns=stat.st_mtime_ns)


def unchanged(row: Row, entry: Entry) -> Row | None:
    """Return the row with `entry`'s file as it is now, or None if its content changed or is gone.

    Size and time are compared first; only if one differs is the file read and its digest compared.
    """
    try:
        stat = entry.path.stat()
        if (stat.st_size, stat.st_mtime_ns) == (row.bytes, row.mtime_ns):
            return row
        if stat.st_size != row.bytes or digest_of_file(entry.path) != row.digest:
            return None
    except OSError:
        return None  # as above
    return replace(row, mtime_ns=stat.st_mtime_ns)


def _reason(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "file not found"
    if isinstance(error, PermissionError):
        return "permission denied"
    if isinstance(error, IsADirectoryError):
        return "is a folder, not a file"
    return f"cannot be read: {error.strerror or error}"
