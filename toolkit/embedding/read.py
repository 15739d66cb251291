"""Reading images: from file to pixels in a decoding thread, and whether a stored row is still valid."""

import contextlib
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

from toolkit.arrays.types import Pixels
from toolkit.backbones.base import Backbone, Decoded
from toolkit.embedding.augment import augmented
from toolkit.embedding.options import ReadOptions
from toolkit.embedding.watch import Watch
from toolkit.errors import ImageError
from toolkit.images.decode import DecodedImage, configure_pillow, decode_image
from toolkit.images.files import FileContent, digest_of_file
from toolkit.images.isolated import IsolatedDecoder, IsolatedDecoders
from toolkit.images.manifest import Entry
from toolkit.images.memory import BUDGET, Reserve, held_already
from toolkit.images.reading import LargeFileError, ReadFile, facts_of, read_file
from toolkit.store.records import Row

LOT_BYTES = 2**24  # files are held together up to this size


@dataclass(frozen=True)
class ReadImage:
    """One image: its record, and its pixels (H, W, 3), the plain ones first, then its views."""

    row: Row
    pixels: list[Pixels]


class Reader:
    """Reads, decodes and resizes the images of one pass; `read` may be called from many threads.

    It is a context manager: leaving it ends the processes of ``--isolate``, so a `read` that still runs in a
    thread fails soon.
    """

    def __init__(self, backbone: Backbone, options: ReadOptions) -> None:
        self._backbone = backbone
        self._options = options
        self._watch = Watch(options.image_timeout)
        self._isolated = IsolatedDecoders(options.threads, options) if options.isolate else None

    def __enter__(self) -> Self:
        configure_pillow(self._options)
        self._watch.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._watch.stop()
        if self._isolated is not None:
            self._isolated.close()

    def read(self, entries: Sequence[Entry]) -> list[ReadImage | str]:
        """Return the images; for one that cannot be read, the reason in plain words."""
        if self._isolated is not None:
            with self._isolated.borrowed() as decoder:
                return [self._in_its_process(entry, decoder) for entry in entries]
        images: list[ReadImage | str] = []
        waiting: list[tuple[Entry, FileContent | str]] = []
        for number, entry in enumerate(entries, start=1):
            file = self._file(entry)
            if isinstance(file, LargeFileError):
                images += self._decoded(waiting)
                waiting.clear()
                images.append(self._large(entry, file.memory))
                continue
            waiting.append((entry, file))
            held = sum(len(each.data) for _, each in waiting if not isinstance(each, str))
            if number == len(entries) or held >= LOT_BYTES:
                images += self._decoded(waiting)
                waiting.clear()
        return images + self._decoded(waiting)

    def _file(self, entry: Entry, *, large: bool = False) -> FileContent | LargeFileError | str:
        try:
            return read_file(
                entry.path,
                self._options,
                name=entry.id,
                least_side=self._backbone.least_side,
                large=large,
            )
        except LargeFileError as error:
            return error
        except ImageError as error:
            return str(error)

    def _large(self, entry: Entry, memory: int) -> ReadImage | str:
        """Read and decode a large file, once there is memory for both."""
        with BUDGET.hold(memory, self._options.memory_bytes):
            file = self._file(entry, large=True)
            assert not isinstance(file, LargeFileError)
            (image,) = self._decoded([(entry, file)], reserve=held_already)
            return image

    def _decoded(
        self, files: Sequence[tuple[Entry, FileContent | str]], reserve: Reserve | None = None
    ) -> list[ReadImage | str]:
        contents = [file.data for _, file in files if not isinstance(file, str)]
        on_device = iter(self._backbone.decode(contents, self._options.max_pixels) if contents else ())
        return [
            file if isinstance(file, str) else self._image(entry, file, next(on_device), reserve)
            for entry, file in files
        ]

    def _image(
        self, entry: Entry, file: FileContent, on_device: Decoded | None, reserve: Reserve | None
    ) -> ReadImage | str:
        if on_device is not None:
            return self._made(entry, facts_of(file), *on_device, "RGB")
        try:
            with self._held(entry, reserve) as hold:
                decoded = decode_image(
                    file.data,
                    self._options,
                    name=entry.id,
                    least_side=self._backbone.least_side,
                    reserve=hold,
                )
                pixels = self._resized(decoded)
        except ImageError as error:
            return str(error)
        return self._made(entry, facts_of(file), pixels, decoded.width, decoded.height, decoded.mode)

    def _in_its_process(self, entry: Entry, decoder: IsolatedDecoder) -> ReadImage | str:
        try:
            with self._held(entry) as hold:
                file, decoded = decoder.read(
                    entry.path, name=entry.id, least_side=self._backbone.least_side, reserve=hold
                )
                pixels = self._resized(decoded)
        except ImageError as error:
            return str(error)
        return self._made(entry, file, pixels, decoded.width, decoded.height, decoded.mode)

    @contextlib.contextmanager
    def _held(self, entry: Entry, reserve: Reserve | None = None) -> Iterator[Reserve]:
        """Give a function that waits for memory, which is held until the end, when the picture is resized."""
        with contextlib.ExitStack() as stack:

            def hold(amount: int) -> contextlib.AbstractContextManager[None]:
                budget = reserve(amount) if reserve else BUDGET.hold(amount, self._options.memory_bytes)
                stack.enter_context(budget)
                if self._isolated is None:
                    stack.enter_context(self._watch.decoding(entry.id))
                return held_already(amount)

            yield hold

    def _resized(self, decoded: DecodedImage) -> Pixels:
        try:
            return self._backbone.preprocess(decoded.rgb)
        except MemoryError as error:
            raise ImageError(
                f"not enough memory to resize {decoded.width} x {decoded.height} pixels"
            ) from error

    def _made(
        self, entry: Entry, file: ReadFile, plain: Pixels, width: int, height: int, mode: str
    ) -> ReadImage:
        row = Row(
            img_path=entry.id,
            bytes=file.bytes,
            mtime_ns=file.mtime_ns,
            digest=file.digest,
            width=width,
            height=height,
            mode=mode,
        )
        options = self._options
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
            status = path.stat()
            if not stat.S_ISREG(status.st_mode):
                return None
            row = rows.get(image)
            if row is not None and (row.bytes, row.mtime_ns) == (status.st_size, status.st_mtime_ns):
                return image, row
            candidates = self._candidates(rows, status.st_size) if row is None else [row]
            candidates = [each for each in candidates if each.bytes == status.st_size]
            digest = digest_of_file(path) if candidates else ""
        except OSError:
            return None  # the pass gets the same error and records it in failed.csv
        same = next((each for each in candidates if each.digest == digest), None)
        if same is None:
            return None
        if same.img_path not in self._entries:  # else it is a copy
            self.renamed[image] = same.img_path
        return same.img_path, replace(same, img_path=image, mtime_ns=status.st_mtime_ns)

    def _candidates(self, rows: Mapping[str, Row], size: int) -> Sequence[Row]:
        """Return the rows of files of that size."""
        if not self._by_content:
            return ()
        if self._rows is not rows:
            self._rows, self._by_size = rows, {}
            for row in rows.values():
                self._by_size.setdefault(row.bytes, []).append(row)
        return self._by_size.get(size, ())
