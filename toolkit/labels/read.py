"""`read_labels`: any label file or folder to a `LabelTable`."""

from pathlib import Path

from toolkit.errors import LabelError
from toolkit.labels.detect import detect_format
from toolkit.labels.raw import ReaderOptions, parse_separator
from toolkit.labels.registry import get_reader
from toolkit.labels.space import LabelSpace
from toolkit.labels.table import LabelTable, build_table


def read_labels(
    path: str | Path,
    *,
    tags: str | Path | None = None,
    format: str = "auto",
    separator: str = ",",
    encoding: str = "utf-8",
    ignore_unknown_tags: bool = False,
) -> LabelTable:
    """Read a label file or folder.

    Parameters
    ----------
    path : path
        A csv, ``.npz``, COCO json, or a folder (sidecar texts, class folders, VOC xml).
    tags : path, optional
        The tag list: one tag a line, or wd-tagger's ``selected_tags.csv``. It sets the order of columns and
        no other tag is allowed. Without it the columns are the tags found (or declared) in code-point order;
        for an ``.npz`` they are the list beside it.
    format : str
        A name in `toolkit.labels.registry.READERS`, or ``auto`` to tell by suffix and content.
    separator : str
        What stands between tags in a cell or a text: ``,`` ``|`` ``;`` ``space`` ``tab``.
    encoding : str
        Of text files.
    ignore_unknown_tags : bool
        Drop tags that are not in the tag list and count them in the notes, instead of raising.

    Raises
    ------
    LabelError
        The file cannot be read, contradicts itself or the tag list.
    OptionError
        `format`, `separator` or `encoding` is none there is.
    """
    path = Path(path)
    if not path.exists():
        raise LabelError(f"there is no label file {path}; check the path")
    tags_path = None if tags is None else Path(tags)
    options = ReaderOptions(
        separator=parse_separator(separator),
        encoding=encoding,
        tags=None if tags_path is None else LabelSpace.read(tags_path, encoding=encoding),
        tags_path=tags_path,
        ignore_unknown_tags=ignore_unknown_tags,
    )
    reader = get_reader(detect_format(path, encoding) if format == "auto" else format)
    return build_table(reader(path, options), source=path, options=options)
