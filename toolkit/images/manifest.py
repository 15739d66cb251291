"""Lists of images: ids and paths from a folder, a csv or one image file.

*Folder*: every file below it, as its content decides later whether it is an image. Hidden and system files
(``.git``, ``__MACOSX``, ``Thumbs.db``) are ignored. Label files, archives, code, video and sound (by their
ending, see `NOT_IMAGES`), pipes and devices are skipped and listed in `Manifest.skipped`. Links are followed.
A folder reached in several ways is listed once, under its real path if that is inside the source, so loops
end. A broken link is listed and fails when it is read.

*Csv* (or ``.tsv``): the column asked for or the first with a name in `toolkit.files.csv.IMAGE_COLUMNS`, one
path a row, relative to the csv's folder or to `root`. Paths written on another machine are repaired, in this
order:

1. backslashes become slashes if only that path exists (Windows);
2. if no path exists as written, leading folders common to all rows are removed, as few as make a file exist
   (``/visual_china/train/1.jpg`` beside ``train/1.jpg``, or beside ``1.jpg``). All rows lose the same
   folders, so two rows never become one image.

Rows without a file stay and fail later with a reason; if no row has a file the csv is refused.
"""

import difflib
import logging
import os
import posixpath
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from toolkit.errors import ManifestError, ToolkitError
from toolkit.files.csv import IMAGE_COLUMNS, chosen_column, column_mark, need_column, read_csv
from toolkit.files.regular import special_kind
from toolkit.images.hints import is_ignored, may_be_image
from toolkit.runtime.messages import listed, named

logger = logging.getLogger(__name__)

TABLE_SUFFIXES = (".csv", ".tsv")
"""Suffixes of a source that lists images."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One image: its id (a POSIX path relative to the root) and its path."""

    id: str
    path: Path


@dataclass(frozen=True)
class Manifest:
    """The images of one source.

    Attributes
    ----------
    kind : {"folder", "csv"}
        One image file counts as a folder with one file.
    root : Path
        The folder that ids are relative to. An image of a csv outside of it has its absolute path as id.
    entries : tuple of Entry
        Unique ids; a folder's sorted by code point, a csv's in order of first appearance.
    inputs : tuple of str
        The ids in the order of the input with repeats: one for each row of a csv.
    skipped : tuple of str
        Ids of the files of a folder that are not images.
    """

    source: Path
    kind: Literal["folder", "csv"]
    root: Path
    entries: tuple[Entry, ...]
    inputs: tuple[str, ...]
    skipped: tuple[str, ...]


def read_manifest(
    source: Path, *, root: Path | None = None, encoding: str = "utf-8", image_column: str | None = None
) -> Manifest:
    """List the images of `source`: a folder, a ``.csv`` file or one image file.

    The paths of a csv in `encoding`, in its `image_column` or one known by its name, are relative to `root`,
    by default its own folder. `ManifestError` if `source` does not exist, cannot be read in full, or lists no
    image; for a csv also if it has no image column, an empty cell in it, or only paths that do not exist.
    """
    try:
        mode = source.stat().st_mode if source.exists() else 0
    except OSError as reason:
        raise ManifestError(f"{source} cannot be reached ({reason.strerror or reason})") from reason
    if not mode:
        raise ManifestError(_missing(source))
    if stat.S_ISREG(mode) and source.suffix.lower() in TABLE_SUFFIXES:
        cells = list(_cells(source, encoding, image_column))
        return _read_csv(cells, source, source.parent if root is None else root)
    if not stat.S_ISDIR(mode) and (kind := special_kind(mode)):
        raise ManifestError(f"{source} is {kind}, not a regular file; give a folder, a csv or one image")
    if root is not None:
        raise ManifestError(
            f"--root is for a csv, and {source} is not one; leave it out: ids are relative to a folder"
        )
    if stat.S_ISDIR(mode):
        return _read_folder(source)
    if not may_be_image(source.name):
        raise ManifestError(
            f"{source} is not an image; give a folder of images, a .csv that lists them, or one image"
        )
    entry = Entry(source.name, source)
    return Manifest(source, "folder", source.parent, (entry,), (entry.id,), ())


def _missing(source: Path) -> str:
    parent = source.parent
    try:
        near = difflib.get_close_matches(source.name, [item.name for item in parent.iterdir()], n=3)
    except OSError:
        return f"{source} does not exist, and neither does the folder {parent}; check the path"
    hint = f"did you mean {' or '.join(str(parent / name) for name in near)}?" if near else "check the path"
    return f"{source} does not exist; {hint}"


def _read_folder(source: Path) -> Manifest:
    images: list[str] = []
    skipped: list[str] = []
    for file_id, mode in walk(source, error=ManifestError):
        # a pipe or device is never read, as that might not end
        is_image = may_be_image(file_id) and (stat.S_ISREG(mode) or not mode)
        (images if is_image else skipped).append(file_id)
    images.sort()
    skipped.sort()
    if not images:
        raise ManifestError(_no_images(source, skipped))
    entries = tuple(Entry(file_id, source / file_id) for file_id in images)
    return Manifest(source, "folder", source, entries, tuple(images), tuple(skipped))


def _no_images(source: Path, skipped: list[str]) -> str:
    others = f"; skipped: {listed(skipped, 3)}" if skipped else ""
    table = next((name for name in skipped if name.endswith(".csv")), None)
    hint = "give the folder the images are in"
    if table is not None:
        hint = f"to read a list of images, give the csv itself: {source / table}"
    looked = "looked in all subfolders, at every file that is not hidden"
    return f"{source} holds no images ({looked}{others}); {hint}"


def walk(source: Path, *, error: type[ToolkitError]) -> Iterator[tuple[str, int]]:
    """Yield (id, mode) of the files below `source` in no particular order.

    The mode is that of `os.stat_result`, 0 for a broken link. Hidden and system files are ignored. `error` is
    raised for a folder that cannot be listed.
    """
    seen = {_identity(folder) for folder in source.resolve().parents}  # a link to one of these is a loop too
    real: list[str] = [""]
    linked: list[str] = []  # after the real ones, so that a folder is listed under its real path
    while real or linked:
        prefix = real.pop() if real else linked.pop()
        for item in _scan(source, prefix, seen, error):
            if is_ignored(item.name):
                continue
            mode = _mode(item)
            if stat.S_ISDIR(mode):
                (linked if item.is_symlink() else real).append(f"{prefix}{item.name}/")
            else:
                yield f"{prefix}{item.name}", mode
        if not real:
            linked.sort(reverse=True)  # the order of a listing depends on the disk


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _scan(
    source: Path, prefix: str, seen: set[tuple[int, int]], error: type[ToolkitError]
) -> list[os.DirEntry[str]]:
    """Return the contents of the folder `prefix` and add it to `seen`; nothing if it is there already."""
    try:
        identity = _identity(source / prefix)
        if identity in seen:
            logger.info("%s links to a folder that is listed already, or contains it; skipped", prefix[:-1])
            return []
        seen.add(identity)
        with os.scandir(source / prefix) as items:
            return list(items)
    except OSError as reason:
        raise error(
            f"folder {source / prefix} cannot be listed ({reason.strerror or reason}); "
            "fix its permissions or move it away"
        ) from reason


def _mode(item: os.DirEntry[str]) -> int:
    try:
        return item.stat().st_mode
    except OSError:  # a broken link or a file just deleted: reading it fails with a reason
        return 0


def _read_csv(cells: list[str], source: Path, root: Path) -> Manifest:
    if not root.is_dir():
        raise ManifestError(
            f"--root {root} is not a folder; give the folder the paths in {source} are relative to"
        )
    if not cells:
        raise ManifestError(f"{source} lists no images: it has a header and no rows")
    repair = _find_repair(cells, source, root)
    homes = (root.absolute(), root.resolve())
    paths: dict[str, Path] = {}
    inputs = []
    for cell in cells:
        name = repair(cell)
        file_id = _id_of(name, homes)
        paths.setdefault(file_id, root / name)
        inputs.append(file_id)
    entries = tuple(Entry(file_id, path) for file_id, path in paths.items())
    return Manifest(source, "csv", root, entries, tuple(inputs), ())


def _cells(source: Path, encoding: str, image_column: str | None) -> Iterator[str]:
    """Yield the cells of the image column of a csv as written; an empty one is an error."""
    names = IMAGE_COLUMNS if image_column is None else (image_column,)
    mark = column_mark(source, error=ManifestError, encoding=encoding, columns=names)
    rows = read_csv(source, error=ManifestError, encoding=encoding, mark=mark)
    _, header = next(rows)
    option = "--image-column"
    if image_column is not None:
        column = chosen_column(header, image_column, path=source, error=ManifestError, option=option)
    else:
        column = need_column(header, names, what="image", path=source, error=ManifestError, option=option)
    for line, row in rows:
        if not row[column].strip():
            raise ManifestError(
                f"{source} line {line}: the cell of column {header[column]!r} is empty; "
                "name an image there or delete the row"
            )
        yield row[column]


def _find_repair(cells: list[str], source: Path, root: Path) -> Callable[[str], str]:
    """Return the function from a cell to a path below `root`, see the docstring of this module.

    If the first row exists no other is checked: there may be millions.
    """

    def with_slashes(cell: str) -> str:
        slashed = cell.replace("\\", "/")
        return slashed if slashed != cell and not _exists(root, cell) and _exists(root, slashed) else cell

    if any(_exists(root, with_slashes(cell)) for cell in cells):
        return with_slashes
    slashed = [cell.replace("\\", "/") for cell in cells]
    common = os.path.commonprefix(slashed)  # noqa: RUF071 - whole folders are picked below
    for cut in [place + 1 for place, character in enumerate(common) if character == "/"]:
        if any(_exists(root, cell[cut:]) for cell in slashed):
            logger.info("%s: no path exists as written; %r is removed from all", source, common[:cut])
            return lambda cell: cell.replace("\\", "/")[cut:]
    first = named(str(root / cells[0])[:300])
    raise ManifestError(
        f"{source}: none of the images it lists exists; the first one tried is {first}; "
        "name the folder its paths are relative to with --root"
    )


def _exists(root: Path, name: str) -> bool:
    return bool(name) and os.path.lexists(root / name)


def _id_of(name: str, homes: Iterable[Path]) -> str:
    """Return the id of a path in a csv: normalised, and relative to a home that contains it."""
    if not Path(name).is_absolute():
        return posixpath.normpath(name)
    path = Path(os.path.normpath(name))
    return next((path.relative_to(home) for home in homes if path.is_relative_to(home)), path).as_posix()
