"""A folder of images, each with its tags in a ``.txt`` beside it, as wd-tagger writes them."""

from collections import Counter
from pathlib import Path

from toolkit.errors import LabelError
from toolkit.labels.raw import RawLabels, ReaderOptions, RowCollector, split_tags
from toolkit.labels.readers._files import files_of
from toolkit.labels.readers._texts import BOX, NUMBERS, are_boxes, kind_of_line, pair_texts, text_lines
from toolkit.labels.readers.csv_tags import about_separator
from toolkit.runtime.messages import counted, named, quoted


def read(path: Path, options: ReaderOptions) -> RawLabels:
    """Read ``a.txt`` or ``a.jpg.txt`` as the tags of ``a.jpg``, separated, one a line, or both.

    An image without a ``.txt`` is not labelled and has no row; an empty ``.txt`` means that it has no tags.
    Images whose names differ only in the ending share ``a.txt``. `LabelError` if no image has a ``.txt``, one
    cannot be decoded, or lines are numbers, as boxes are.
    """
    texts = pair_texts(files_of(path, "sidecar"))
    if not texts.of_image:
        raise LabelError(f"{path} has no image with a .txt of the same name beside it; a sidecar folder has")
    labels = RowCollector()
    kinds: Counter[str] = Counter()
    for name, text in texts.of_image.items():
        lines = text_lines(path / text, options.encoding)
        for number, line in lines:
            kinds[_checked_kind(line, f"{named(path / text)} line {number}")] += 1
        labels.add(name, [tag for _, line in lines for tag in split_tags(line, options.separator)], text)
    if are_boxes(kinds):
        raise LabelError(
            f"{path}: every line of every .txt is one number, such as that of a class; --format yolo names "
            "them by a classes.txt"
        )
    notes = about_separator(labels, options.separator)
    if texts.without:
        notes.append(f"{counted(texts.without, 'image')} without a .txt beside, left unlabelled")
    if texts.unused:
        notes.append(f"{counted(len(texts.unused), '.txt file')} without an image beside, ignored")
    return labels.finish(path, unit="file", notes=tuple(notes))


def _checked_kind(line: str, place: str) -> str:
    kind = kind_of_line(line)
    if kind == BOX:
        raise LabelError(f"{place}, {quoted(line)}, is a YOLO box, not tags; --format yolo reads such files")
    if kind == NUMBERS:
        raise LabelError(
            f"{place}, {quoted(line)}, is a row of numbers, not tags; of boxes YOLO's are read ('class x y "
            "width height'), others after an export to COCO or Pascal VOC"
        )
    return kind
