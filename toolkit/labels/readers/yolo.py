"""YOLO's texts: a line a box or polygon, which begins with the number of its class."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path, PurePosixPath
from posixpath import splitext
from typing import Any

from toolkit.errors import LabelError
from toolkit.files.text import decode_text, read_bytes, split_lines
from toolkit.labels.raw import RawLabels, ReaderOptions, RowCollector
from toolkit.labels.readers._files import files_of
from toolkit.labels.readers._texts import BOX, MOST_BYTES, NUMBER, kind_of_line, pair_texts, text_lines
from toolkit.labels.readers.folders import parts_of, split_folders
from toolkit.runtime.messages import counted, listed, named, quoted, shortened

_NAME_FILES = (
    *("classes.txt", "predefined_classes.txt", "obj.names", "classes.names", "_darknet.labels"),
    *("data.yaml", "data.yml", "dataset.yaml", "dataset.yml"),
)
_YAML = (".yaml", ".yml")
_MOST_YAML = 1 << 18
_LOOKED_FOR = "classes.txt, obj.names, _darknet.labels or a data.yaml with names"


def read(path: Path, options: ReaderOptions) -> RawLabels:
    """Read the classes of YOLO's boxes and polygons, in a ``.txt`` beside the image or in ``labels/``.

    Class numbers are named by ``classes.txt``, ``obj.names``, ``_darknet.labels`` or the ``names`` of a
    ``data.yaml``, in the folder or up to two above it, else by the tag list. In a folder without images each
    text is about the image of its name. An image without a text is not labelled, one with an empty text has
    no tags. `LabelError` without names, for a class without a name, or a line that is something else.
    """
    files = files_of(path, "yolo")
    texts = pair_texts(files, labels_folders=True)
    of_image = texts.of_image or {
        splitext(name)[0]: name for name in texts.unused if not _names_classes(name)
    }
    classes, source = _class_names(path, files, options)
    labels = RowCollector()
    labels.declare(classes.values())
    for image, text in of_image.items():
        lines = text_lines(path / text, options.encoding)
        if (
            not texts.of_image
            and lines
            and {kind_of_line(line) for _, line in lines}.isdisjoint((BOX, NUMBER))
        ):
            continue  # another text, such as a readme
        places = ((f"{named(path / text)} line {number}", line) for number, line in lines)
        labels.add(image, dict.fromkeys(_tag(line, classes, source, place) for place, line in places), text)
    if not labels.ids:
        raise LabelError(f"{path} has no .txt with YOLO boxes, beside images or alone")
    notes = [f"class numbers of boxes named by {source}"]
    if texts.without and texts.of_image:
        notes.append(f"{counted(texts.without, 'image')} without a .txt, left unlabelled")
    below = [name.removeprefix("images/") for name in labels.ids]
    split = split_folders(below) and all("/" in name for name in below)
    return replace(
        labels.finish(path, unit="file"), notes=tuple(notes), parts=parts_of(below) if split else ()
    )


def _tag(line: str, classes: dict[int, str], source: str, place: str) -> str:
    if kind_of_line(line) not in (BOX, NUMBER):
        raise LabelError(
            f"{place}, {quoted(line)}, is no YOLO box, which is a class number and four or more numbers"
        )
    number = int(float(line.split(maxsplit=1)[0]))
    if number not in classes:
        raise LabelError(
            f"{place}: class {number} has no name in {source}, which has "
            f"{counted(len(classes), 'name')}; add it there"
        )
    return classes[number]


def _names_classes(name: str) -> bool:
    return PurePosixPath(name).name.lower() in _NAME_FILES


def _class_names(path: Path, files: Sequence[str], options: ReaderOptions) -> tuple[dict[int, str], str]:
    """Return the names of classes by number, and where they are from."""
    inside = [path / name for name in files if _names_classes(name)]
    top = path.absolute()
    above = (
        [folder / name for name in _NAME_FILES if (folder / name).is_file()]
        for folder in (top.parent, top.parent.parent)
    )
    for place in chain([inside], above):
        found = {file: names for file in place if (names := _read_names(file, options.encoding))}
        if not found:
            continue
        if len({tuple(names.items()) for names in found.values()}) > 1:
            raise LabelError(
                f"{listed([str(file) for file in found], 3)} name the classes differently; keep the right one"
            )
        file, names = next(iter(found.items()))
        return names, str(file)
    if options.tags is not None:
        return dict(enumerate(options.tags.tags)), options.tags_name
    raise LabelError(
        f"{path} holds YOLO boxes, whose class numbers need names; looked for {_LOOKED_FOR} in {path}, "
        f"{top.parent} and {top.parent.parent}; put one there, or give the names in their order by --tags"
    )


def _read_names(file: Path, encoding: str) -> dict[int, str]:
    """Return the names in a file; none in a yaml without ``names``, which has another purpose."""
    most = _MOST_YAML if file.suffix.lower() in _YAML else MOST_BYTES
    text = decode_text(
        read_bytes(file, error=LabelError, most=most), name=file, error=LabelError, encoding=encoding
    )
    if file.suffix.lower() in _YAML:
        return _yaml_names(text, file)
    lines = [line.strip() for line in split_lines(text)]
    while lines and not lines[-1]:
        lines.pop()
    return _checked(enumerate(lines), file)


def _yaml_names(text: str, file: Path) -> dict[int, str]:
    import yaml

    try:
        # the base loader makes texts alone: a class called no is not False
        document: Any = yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506 - makes no objects
    except (yaml.YAMLError, RecursionError, ValueError) as reason:
        raise LabelError(f"{file} is not readable yaml ({shortened(reason)}); write it again") from reason
    names = document.get("names") if isinstance(document, dict) else None
    if isinstance(names, list):
        return _checked(enumerate(names), file)
    if isinstance(names, dict) and all(isinstance(key, str) and key.isdecimal() for key in names):
        return _checked(sorted((int(key), name) for key, name in names.items()), file)
    if names:
        raise LabelError(f"{file}: names must be a list, or a mapping from class numbers to names")
    return {}


def _checked(pairs: Iterable[tuple[int, Any]], file: Path) -> dict[int, str]:
    names = {}
    for number, name in pairs:
        if not isinstance(name, str) or not name.strip():
            raise LabelError(f"{file}: class {number} has no name; write one")
        names[number] = name.strip()
    return names
