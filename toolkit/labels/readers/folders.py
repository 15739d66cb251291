"""A folder with one folder a class: ``cat/1.jpg`` has the tag ``cat``."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from toolkit.errors import LabelError
from toolkit.evaluation.splits import part_named
from toolkit.images.hints import may_be_image
from toolkit.labels.raw import RawLabels, ReaderOptions, RowCollector
from toolkit.labels.readers._files import files_of
from toolkit.runtime.messages import counted, listed

_NO_CLASSES = frozenset(("image", "images", "img", "imgs", "picture", "pictures", "photos", "jpegimages"))
"""Names of folders that hold pictures of every class."""


def read(path: Path, options: ReaderOptions) -> RawLabels:
    """Read the name of the top folder as the tag; below ``train/``, ``val/`` and ``test/``, of the next one.

    The image may lie deeper, as in torchvision's ImageFolder. Folders that are all named as parts of a split
    (``train``, ``valid``, ``test``, ...) are the split, never tags. Images in no class folder are not
    labelled and have no row. `LabelError` if `path` has no images in class folders.
    """
    names = list(filter(may_be_image, files_of(path, "folders")))
    parts = split_folders(names)
    depth = 1 if parts else 0
    labels = RowCollector()
    for name in names:
        folders = name.split("/")[:-1]
        if len(folders) > depth:
            labels.add(name, [folders[depth].strip()], name)
    if not labels.ids:
        raise LabelError(_no_classes(path, parts))
    raw = labels.finish(path, unit="file")
    if set(map(str.casefold, raw.tags)) <= _NO_CLASSES:
        raise LabelError(
            f"{path}: the only class would be the folder {listed(raw.tags)}, which holds pictures of "
            "any class; give the file or the folder of their labels"
        )
    notes = _notes(len(names) - len(labels.ids), raw.tags, parts)
    return replace(raw, notes=notes, parts=parts_of(labels.ids) if parts else ())


def split_folders(names: Iterable[str]) -> list[str]:
    """Return the top folders of `names` if all are named as parts of a split, else an empty list."""
    tops = {name.partition("/")[0] for name in names if "/" in name}
    return sorted(tops) if tops and None not in map(part_named, tops) else []


def parts_of(names: Iterable[str]) -> list[str]:
    """Return ``train``, ``val`` or ``test`` for each name, by its top folder."""
    return [part_named(name.partition("/")[0]) or "" for name in names]


def _no_classes(path: Path, parts: Sequence[str]) -> str:
    if parts:
        return (
            f"{path}: its folders {listed(parts)} are parts of a split, not tags, and have no class folders "
            "below; give the file of the labels"
        )
    return f"{path} has no images in folders; the label format 'folders' needs one folder a tag"


def _notes(loose: int, tags: Sequence[str], parts: Sequence[str]) -> tuple[str, ...]:
    notes = []
    if parts:
        notes.append(f"the folders {listed(parts)} are the split; the tags are the folders below them")
    if loose:
        where = "class folder" if parts else "folder"
        notes.append(f"{counted(loose, 'image')} in no {where}, left unlabelled")
    if named := [tag for tag in tags if part_named(tag)]:
        notes.append(
            f"{listed(named)} among the tags; if it is a part of a split, move the other folders away"
        )
    return tuple(notes)
