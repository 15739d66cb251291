"""A folder with one folder a class: ``cat/1.jpg`` has the tag ``cat``."""

from pathlib import Path

from toolkit.errors import LabelError
from toolkit.labels.raw import RawLabels, ReaderOptions, RowCollector
from toolkit.labels.readers._files import may_be_image, need_folder, walk
from toolkit.runtime.messages import counted


def read(path: Path, options: ReaderOptions) -> RawLabels:
    """Read the name of the top folder as the tag, however deep the image lies, as torchvision does.

    Images in no folder have no row: they are not labelled.

    Raises
    ------
    LabelError
        `path` is no folder or has no images in folders.
    """
    need_folder(path, "folders")
    found = RowCollector()
    loose = 0
    for name in filter(may_be_image, walk(path)):
        top, slash, _ = name.partition("/")
        if slash:
            found.add(name, [top.strip()], name)
        else:
            loose += 1
    if not found.ids:
        raise LabelError(
            f"{path} has no images in folders; the label format 'folders' wants one folder a tag"
        )
    notes = (f"{counted(loose, 'image')} in no folder, left unlabelled",) if loose else ()
    return found.finish(path, unit="file", notes=notes)


def classes(names: list[str]) -> list[str]:
    """Return the top folders that hold images, of a folder with these files."""
    return sorted({name.partition("/")[0] for name in names if "/" in name and may_be_image(name)})
