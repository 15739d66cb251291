"""Images of the plan: file to pixels, in a decoding thread."""

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from toolkit.backbones.base import Backbone, Decoded, Pixels
from toolkit.embedding.augment import augmented
from toolkit.errors import ImageError, OptionError
from toolkit.images.decode import check_header, decode_image
from toolkit.images.manifest import Entry
from toolkit.images.options import ImagePolicy
from toolkit.runtime.devices import usable_cores
from toolkit.store.records import Row

DIGEST_BYTES = 16
MOST_AT_ONCE = 4096  # images a forward pass: beyond, a GPU gains nothing and memory runs out
MOST_THREADS = 1024
LARGE = 2**24  # bytes: a larger file is looked at before it is read, and files are held up to here together


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """How images are read and batched.

    Attributes
    ----------
    batch_size : int or None
        Images a forward pass, at most 4,096; None is the backbone's choice.
    num_workers : int
        Decoding threads, at most 1,024; 0 means one a processor core that this process may use.
    views : int
        Augmented views beside the plain embedding.
    seed : int
        What views are drawn with.
    policy : ImagePolicy
    """

    batch_size: int | None = None
    num_workers: int = 0
    views: int = 0
    seed: int = 0
    policy: ImagePolicy = field(default_factory=ImagePolicy)

    def __post_init__(self) -> None:
        for name, least, most in (
            ("batch_size", 1, MOST_AT_ONCE),
            ("num_workers", 0, MOST_THREADS),
            ("views", 0, None),
        ):
            value = getattr(self, name)
            option = f"--{name.replace('_', '-')} got {value}"
            if value is not None and value < least:
                raise OptionError(f"{option}; give {least} or more")
            if value is not None and most is not None and value > most:
                raise OptionError(f"{option}; give {most:,} or less")

    @property
    def threads(self) -> int:
        """Decoding threads there are to be."""
        return self.num_workers or usable_cores()


@dataclass(frozen=True)
class ReadImage:
    """Pixels (H, W, 3) uint8 of one image, the plain ones first, then its views; and who it is."""

    row: Row
    pixels: list[Pixels]


def digest_of(data: bytes) -> str:
    """Return BLAKE2b-128 of `data` in hex."""
    return hashlib.blake2b(data, digest_size=DIGEST_BYTES).hexdigest()


def digest_of_file(path: Path) -> str:
    """Return `digest_of` what is in a file, without holding all of it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=DIGEST_BYTES)).hexdigest()


def read_images(entries: Sequence[Entry], backbone: Backbone, options: ReadOptions) -> list[ReadImage | str]:
    """Read, decode and resize images; one that cannot be read gives the reason in plain words instead."""
    out: list[ReadImage | str] = []
    waiting: list[tuple[Entry, _File | str]] = []
    for place, entry in enumerate(entries, start=1):
        waiting.append((entry, _read_file(entry, options.policy)))
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
    whole = [file.data for _, file in files if not isinstance(file, str)]
    on_device = iter(backbone.decode(whole, options.policy.max_pixels))
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
            decoded = decode_image(file.data, options.policy, name=entry.id, least_side=backbone.least_side)
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
    """Which rows of a store are still right for the images of a plan.

    An image has the row of its own id if its file did not change, or else, where `by_content`, that of an
    image with the same content under another name: a rename costs reading the file, not embedding it.
    """

    def __init__(self, entries: Iterable[Entry], *, by_content: bool) -> None:
        self._entries = {entry.id: entry for entry in entries}
        self._by_content = by_content
        self._rows: Mapping[str, Row] | None = None
        self._by_size: dict[int, list[Row]] = {}
        self.renamed: dict[str, str] = {}

    def __call__(self, image: str, rows: Mapping[str, Row]) -> tuple[str, Row] | None:
        """Return the id `image` has among `rows` and the row to enter for it now, or None."""
        entry = self._entries[image]
        row = rows.get(image)
        if row is not None:
            kept = unchanged(row, entry)
            return None if kept is None else (image, kept)
        if not self._by_content:
            return None
        found = self._same_content(entry, rows)
        if found is not None and found.img_path not in self._entries:  # else it is a copy
            self.renamed[image] = found.img_path
        return None if found is None else (found.img_path, replace(found, img_path=image))

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
            return None  # the pass will meet the same error and write it into failed.csv
        found = next((row for row in candidates if row.digest == digest), None)
        return None if found is None else replace(found, mtime_ns=stat.st_mtime_ns)


def unchanged(row: Row, entry: Entry) -> Row | None:
    """Return the row to keep for `entry`'s file as it is now, or None if its content changed or is gone.

    Size and time are compared first; only where they moved is the file read and its digest compared.
    """
    try:
        stat = entry.path.stat()
        if (stat.st_size, stat.st_mtime_ns) == (row.bytes, row.mtime_ns):
            return row
        if stat.st_size != row.bytes or digest_of_file(entry.path) != row.digest:
            return None
    except OSError:
        return None  # the pass will meet the same error and write it into failed.csv
    return replace(row, mtime_ns=stat.st_mtime_ns)


def _reason(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "file not found"
    if isinstance(error, PermissionError):
        return "permission denied"
    if isinstance(error, IsADirectoryError):
        return "is a folder, not a file"
    return f"cannot be read: {error.strerror or error}"
