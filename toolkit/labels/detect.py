"""Detection of a label file's or folder's format by suffix and content."""

from itertools import islice
from pathlib import Path
from posixpath import splitext

from toolkit.errors import LabelError
from toolkit.files.csv import CSV_SUFFIXES, IMAGE_COLUMNS, read_csv
from toolkit.images.hints import may_be_image
from toolkit.labels.raw import TAG_COLUMNS, ReaderOptions
from toolkit.labels.readers._csv import peek_csv
from toolkit.labels.readers._files import files_of
from toolkit.labels.readers._json import is_labelme, json_format
from toolkit.labels.readers._texts import BOX, are_boxes, kinds_in, pair_texts
from toolkit.labels.readers._xml import root_name
from toolkit.labels.readers.folders import split_folders
from toolkit.runtime.messages import counted, listed, quoted

_PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif")
_BY_SUFFIX = {".npz": "npz", ".jsonl": "records", ".ndjson": "records", ".parquet": "parquet", ".xml": "cvat"}
_FILES_WITHIN = ("metadata.jsonl", "metadata.csv", "_classes.csv", "_annotations.coco.json", "labels.json")


def detect_format(path: Path, options: ReaderOptions = ReaderOptions()) -> str:  # noqa: B008 - frozen
    """Return the name in `READERS` of the format of `path`.

    A folder with ``.xml`` files is ``voc`` or ``cvat``, one with LabelMe's ``.json`` files ``labelme``, one
    with a ``.txt`` beside an image ``yolo`` if that has boxes, else ``sidecar``, one with images in at least
    two folders ``folders``. A csv with a tag column is ``csv``, one whose other columns hold 0 and 1 is
    ``onehot``. A json is told by its fields. `LabelError` if no format fits, or several do.
    """
    if path.is_dir():
        return _detect_folder(path)
    suffix = path.suffix.lower()
    if suffix in _BY_SUFFIX:
        return _BY_SUFFIX[suffix]
    if suffix == ".json":
        return json_format(path, options.encoding)
    if suffix not in CSV_SUFFIXES:
        raise LabelError(
            f"{path}: no label format has the suffix {quoted(suffix)}; considered: csv and onehot (.csv), "
            "npz (.npz), coco, labelstudio, fiftyone and records (.json, .jsonl), cvat (.xml), "
            "parquet (.parquet), and voc, labelme, yolo, sidecar and folders (a folder); name one with "
            "--format"
        )
    return _detect_csv(path, options)


def _detect_csv(path: Path, options: ReaderOptions) -> str:
    peek = peek_csv(path, options.encoding, options=options)
    if peek.format is not None:
        return peek.format
    if not peek.header:
        list(islice(read_csv(path, error=LabelError, encoding=options.encoding), 2))  # says why, if it can
        raise LabelError(f"{path} is empty or not a csv; considered: csv, onehot")
    if peek.image is None:
        raise LabelError(
            f"{path} has no image column: columns found are {listed(peek.header)}; "
            f"name it one of {', '.join(IMAGE_COLUMNS)}, or give it with --image-column "
            f"(considered: csv, onehot){_about_header(peek.header)}"
        )
    raise LabelError(
        f"{path} fits no label format: name the columns of its tags with --tag-column, or list its 0/1 "
        "columns in a file for --tags; considered: csv (no tag column: columns found are "
        f"{listed(peek.header)}; name it one of {', '.join(TAG_COLUMNS)}), onehot ({peek.not_onehot()})"
    )


def _about_header(header: list[str]) -> str:
    """Return what to do if the first line seems to hold data."""
    if any(splitext(cell.strip().lower())[1] in _PICTURES for cell in header):
        return "; its first line seems to be about an image: put a line above it that names the columns"
    return ""


def _detect_folder(path: Path) -> str:
    names = files_of(path, "auto")
    images = list(filter(may_be_image, names))
    fitting = [*_of_annotations(path, names), *_of_texts(path, names)]
    if not fitting:
        classes = {name.partition("/")[0] for name in images if "/" in name}
        if len(classes) > 1 or split_folders(images):
            return "folders"
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise LabelError(f"{path} could be {' or '.join(fitting)}; name one with --format")
    tables = [name for name in names if name.rpartition("/")[2] in _FILES_WITHIN]
    if tables:
        raise LabelError(f"{path} fits no label format, but holds {listed(tables, 3)}; give that file")
    raise LabelError(
        f"{path} fits no label format; considered: voc (no .xml files), labelme (no .json of its kind), yolo "
        "and sidecar (no .txt beside an image), folders (images in "
        f"{counted(len(classes), 'folder')}, at least 2 needed)"
    )


def _of_annotations(path: Path, names: list[str]) -> list[str]:
    """Return the formats of a folder's ``.xml`` and ``.json`` files, by the first of each."""
    found = []
    xml = next((name for name in names if name.lower().endswith(".xml")), None)
    if xml is not None:
        found.append("cvat" if root_name(path / xml) == "annotations" else "voc")
    json = next((name for name in names if name.lower().endswith(".json")), None)
    if json is not None and is_labelme(path / json):
        found.append("labelme")
    return found


def _of_texts(path: Path, names: list[str]) -> list[str]:
    """Return the format of a folder's ``.txt`` files, if they are beside images or are YOLO's."""
    beside = pair_texts(names).of_image
    if beside:
        return ["yolo" if are_boxes(kinds_in(path, list(beside.values()))) else "sidecar"]
    texts = pair_texts(names, labels_folders=True)
    others = list(texts.of_image.values()) or ([] if texts.without else list(texts.unused))
    return ["yolo"] if BOX in kinds_in(path, others) else []
