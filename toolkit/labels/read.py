"""`read_labels`: any label file or folder to a `LabelTable`."""

from collections.abc import Callable
from pathlib import Path
from pkgutil import resolve_name

from toolkit.errors import LabelError, OptionError
from toolkit.labels.detect import detect_format
from toolkit.labels.options import LabelOptions, ReadLabelsOptions
from toolkit.labels.raw import RawLabels, ReaderOptions, parse_separator
from toolkit.labels.registry import READERS
from toolkit.labels.space import LabelSpace
from toolkit.labels.table import LabelTable, build_table
from toolkit.runtime.options import takes

_WITH_COLUMNS = ("csv", "onehot", "npz")
_ABOUT_FILES = ("voc", "labelme")
_CELL_MEANS = {"refuse": None, "absent": False, "present": True}


@takes(ReadLabelsOptions)
def read_labels(options: ReadLabelsOptions) -> LabelTable:
    r"""Read a label file or folder.

    With a tag list (one tag a line, or wd-tagger's ``selected_tags.csv``) the columns are its tags, in its
    order. Without it they are the tags of the file in code-point order; for an ``.npz``, the list beside it.

    Returns
    -------
    LabelTable
        The images, their tags, and notes for the user.

    Raises
    ------
    LabelError
        The file cannot be read, or contradicts itself or the tag list.
    OptionError
        An option has a value that is not allowed.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = Path(folder.name, "labels.csv")
    >>> _ = path.write_text('img_path,tags\n1.jpg,"sky,sea"\n2.jpg,sky\n')
    >>> table = read_labels(path)
    >>> table.ids, table.space.tags
    (('1.jpg', '2.jpg'), ('sea', 'sky'))
    >>> table.Y.toarray().astype(int).tolist()
    [[1, 1], [0, 1]]
    >>> folder.cleanup()
    """
    return read_label_file(Path(options.path), options)


def read_label_file(path: Path, options: LabelOptions) -> LabelTable:
    """Read a label file or folder, as `read_labels` does."""
    if not path.exists():
        raise LabelError(f"there is no label file {path}; check the path")
    tags = None if options.tags is None else Path(options.tags)
    resolved = ReaderOptions(
        separator=parse_separator(options.separator),
        encoding=options.encoding,
        tags=None if tags is None else LabelSpace.read(tags, encoding=options.encoding),
        tags_name=str(tags or ""),
        ignore_unknown_tags=options.ignore_unknown_tags,
        image_column=options.image_column,
        tag_columns=options.tag_columns,
        blank=_CELL_MEANS[options.blank],
        uncertain=_CELL_MEANS[options.uncertain],
        repeats=options.repeats,
        fold_tags=options.fold_tags,
        xml_image=options.xml_image,
    )
    format = detect_format(path, resolved) if options.format == "auto" else options.format
    _check_used(options, format, path)
    reader: Callable[[Path, ReaderOptions], RawLabels] = resolve_name(READERS[format])
    return build_table(reader(path, resolved), source=path, options=resolved)


def _check_used(options: LabelOptions, format: str, path: Path) -> None:
    """Raise `OptionError` for an option that the format has no use for."""
    columns = {"--image-column": options.image_column, "--tag-column": options.tag_columns}
    cells = {"--blank": options.blank != "refuse", "--uncertain": options.uncertain != "refuse"}
    unused = [name for name, given in columns.items() if given and format not in _WITH_COLUMNS]
    unused += [name for name, given in cells.items() if given and format != "onehot"]
    if unused:
        what = "the columns of a csv" if unused[0] in columns else "0/1 columns (--format onehot)"
        raise OptionError(f"{unused[0]} is about {what}, and {path} is read as {format}; leave it out")
    if options.xml_image != "auto" and format not in _ABOUT_FILES:
        raise OptionError(
            f"--xml-image is about {' and '.join(_ABOUT_FILES)}, and {path} is read as {format}; leave it out"
        )
