"""A folder of images, each with its tags in a ``.txt`` beside it, as wd-tagger writes them."""

from pathlib import Path, PurePosixPath

from toolkit.errors import LabelError
from toolkit.files.text import read_text, split_lines
from toolkit.labels.raw import RawLabels, ReaderOptions, RowCollector, split_tags
from toolkit.labels.readers._files import may_be_image, need_folder, walk
from toolkit.runtime.messages import counted


def read(path: Path, options: ReaderOptions) -> RawLabels:
    """Read ``a.txt`` as the tags of ``a.jpg``, separated by the separator, one a line, or both.

    An image without a ``.txt`` has no row: it is not labelled, which is not the same as having no tags. An
    empty ``.txt`` says there are none. Images whose names differ in the suffix alone share a ``.txt``.

    Raises
    ------
    LabelError
        `path` is no folder, no image in it has a ``.txt``, or a ``.txt`` cannot be decoded.
    """
    need_folder(path, "sidecar")
    names = list(walk(path))
    texts = {_stem(name): name for name in names if PurePosixPath(name).suffix.lower() == ".txt"}
    found = RowCollector()
    unlabelled = 0
    used = set()
    for name in filter(may_be_image, names):
        text = texts.get(_stem(name))
        if text is None:
            unlabelled += 1
            continue
        used.add(text)
        found.add(name, _tags(path / text, options), text)
    if not found.ids:
        raise LabelError(f"{path} has no image with a .txt of the same name beside it; a sidecar folder has")
    notes = []
    if unlabelled:
        notes.append(f"{counted(unlabelled, 'image')} without a .txt beside, left unlabelled")
    if len(used) < len(texts):
        notes.append(f"{counted(len(texts) - len(used), '.txt file')} without an image beside, ignored")
    return found.finish(path, unit="file", notes=tuple(notes))


def present(names: list[str]) -> bool:
    """Tell whether a folder of these files has an image with a ``.txt`` beside it."""
    texts = {_stem(name) for name in names if PurePosixPath(name).suffix.lower() == ".txt"}
    return any(_stem(name) in texts for name in names if may_be_image(name))


def _stem(name: str) -> str:
    return str(PurePosixPath(name).with_suffix(""))


def _tags(path: Path, options: ReaderOptions) -> list[str]:
    lines = split_lines(read_text(path, error=LabelError, encoding=options.encoding))
    return [tag for line in lines for tag in split_tags(line, options.separator)]
