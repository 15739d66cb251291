"""A folder of images, each with its tags in a ``.txt`` beside it, as wd-tagger writes them."""

from pathlib import Path
from posixpath import splitext

from toolkit.errors import LabelError
from toolkit.files.text import read_text, split_lines
from toolkit.images.hints import may_be_image
from toolkit.labels.raw import RawLabels, ReaderOptions, RowCollector, split_tags
from toolkit.labels.readers._files import files_of
from toolkit.runtime.messages import counted

MOST_BYTES = 1 << 20
"""Most bytes of a ``.txt``: 7,000 tags have less than a quarter of that."""


def read(path: Path, options: ReaderOptions) -> RawLabels:
    """Read ``a.txt`` as the tags of ``a.jpg``, separated by the separator, one a line, or both.

    An image without a ``.txt`` is not labelled and has no row; an empty ``.txt`` means that it has no tags.
    Images whose names differ only in the ending share a ``.txt``. `LabelError` if no image has a ``.txt``, or
    one cannot be decoded.
    """
    names = files_of(path, "sidecar")
    texts = {splitext(name)[0]: name for name in names if name.lower().endswith(".txt")}
    images = list(filter(may_be_image, names))
    labels = RowCollector()
    for name in images:
        text = texts.get(splitext(name)[0])
        if text is not None:
            content = read_text(path / text, error=LabelError, encoding=options.encoding, most=MOST_BYTES)
            lines = split_lines(content)
            labels.add(name, [tag for line in lines for tag in split_tags(line, options.separator)], text)
    if not labels.ids:
        raise LabelError(f"{path} has no image with a .txt of the same name beside it; a sidecar folder has")
    notes = []
    if len(labels.ids) < len(images):
        notes.append(
            f"{counted(len(images) - len(labels.ids), 'image')} without a .txt beside, left unlabelled"
        )
    unused = len(texts) - len(set(labels.places))
    if unused:
        notes.append(f"{counted(unused, '.txt file')} without an image beside, ignored")
    return labels.finish(path, unit="file", notes=tuple(notes))
