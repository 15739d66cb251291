"""A folder with one folder a class: ``cat/1.jpg`` has the tag ``cat``."""

from pathlib import Path

from toolkit.errors import LabelError
from toolkit.images.hints import may_be_image
from toolkit.labels.raw import RawLabels, ReaderOptions, RowCollector
from toolkit.labels.readers._files import files_of
from toolkit.runtime.messages import counted


def read(path: Path, options: ReaderOptions) -> RawLabels:
    """Read the name of the top folder as the tag, however deep the image is, as torchvision does.

    Images in no folder are not labelled and have no row. `LabelError` if `path` has no images in folders.
    """
    labels = RowCollector()
    loose = 0
    for name in filter(may_be_image, files_of(path, "folders")):
        top, slash, _ = name.partition("/")
        if slash:
            labels.add(name, [top.strip()], name)
        else:
            loose += 1
    if not labels.ids:
        raise LabelError(
            f"{path} has no images in folders; the label format 'folders' needs one folder a tag"
        )
    notes = (f"{counted(loose, 'image')} in no folder, left unlabelled",) if loose else ()
    return labels.finish(path, unit="file", notes=notes)
