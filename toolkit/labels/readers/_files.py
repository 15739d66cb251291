"""Walking a folder of labels."""

from collections.abc import Iterator
from pathlib import Path

from toolkit.errors import LabelError
from toolkit.images.hints import NOT_IMAGES, is_litter


def need_folder(path: Path, kind: str) -> None:
    """Raise `LabelError` unless `path` is a folder."""
    if not path.is_dir():
        raise LabelError(f"{path} is not a folder; the label format {kind!r} reads one")


def walk(folder: Path) -> Iterator[str]:
    """Yield the files under `folder` as sorted POSIX paths relative to it.

    Hidden files and folders, and what systems leave behind (``__MACOSX``), are passed over. Links to folders
    are followed, except into a folder that is being walked already.
    """
    yield from _walk(folder, "", frozenset({folder.resolve()}))


def _walk(folder: Path, prefix: str, above: frozenset[Path]) -> Iterator[str]:
    try:
        entries = sorted(folder.iterdir(), key=lambda entry: entry.name)
        folders = {entry for entry in entries if entry.is_dir()}
        files = {entry for entry in entries if entry.is_file()}
    except OSError as reason:
        raise LabelError(f"{folder} cannot be listed ({reason.strerror or reason})") from reason
    for entry in entries:
        if entry.name.startswith(".") or is_litter(entry.name):
            continue
        if entry in folders:
            real = entry.resolve()
            if real not in above:
                yield from _walk(entry, f"{prefix}{entry.name}/", above | {real})
        elif entry in files:
            yield prefix + entry.name


def may_be_image(name: str) -> bool:
    """Tell whether a file of that name is not plainly something else."""
    return Path(name).suffix.lower() not in NOT_IMAGES
