"""Detection of a label file's or folder's format by suffix and content."""

from itertools import islice
from pathlib import Path
from posixpath import splitext

from toolkit.errors import LabelError
from toolkit.files.text import CSV_SUFFIXES, IMAGE_COLUMNS, listed, quoted, read_csv
from toolkit.images.hints import may_be_image
from toolkit.labels.raw import TAG_COLUMNS, ReaderOptions
from toolkit.labels.readers._csv import peek_csv
from toolkit.labels.readers._files import files_of
from toolkit.runtime.messages import counted

_PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif")
_BY_SUFFIX = {".npz": "npz", ".json": "coco"}


def detect_format(path: Path, options: ReaderOptions = ReaderOptions()) -> str:  # noqa: B008 - frozen
    """Return the name in `READERS` of the format of `path`.

    A folder with ``.xml`` files is ``voc``, one with a ``.txt`` beside an image ``sidecar``, one with images
    in at least two folders ``folders``. A csv with a tag column is ``csv``, one whose other columns hold 0
    and 1 is ``onehot``. `LabelError` if no format fits, or several do.
    """
    if path.is_dir():
        return _detect_folder(path)
    suffix = path.suffix.lower()
    if suffix in _BY_SUFFIX:
        return _BY_SUFFIX[suffix]
    if suffix not in CSV_SUFFIXES:
        raise LabelError(
            f"{path}: no label format has the suffix {quoted(suffix)}; considered: csv and onehot (.csv), "
            "npz (.npz), coco (.json), and voc, sidecar and folders (a folder); name one with --format"
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
    texts = {splitext(name)[0] for name in names if name.lower().endswith(".txt")}
    classes = {name.partition("/")[0] for name in images if "/" in name}
    fitting = []
    if any(name.lower().endswith(".xml") for name in names):
        fitting.append("voc")
    if any(splitext(name)[0] in texts for name in images):
        fitting.append("sidecar")
    if not fitting and len(classes) > 1:
        fitting.append("folders")
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise LabelError(f"{path} could be {' or '.join(fitting)}; name one with --format")
    raise LabelError(
        f"{path} fits no label format; considered: voc (no .xml files), sidecar (no .txt beside an image), "
        f"folders (images in {counted(len(classes), 'folder')}, at least 2 needed)"
    )
