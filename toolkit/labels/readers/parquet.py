"""A parquet file of images and their tags."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from toolkit.errors import LabelError, OptionError
from toolkit.files.json import decode_json
from toolkit.files.regular import open_regular
from toolkit.labels.raw import RawLabels, ReaderOptions
from toolkit.labels.readers._entries import TAG_KEYS, collect, key_among
from toolkit.labels.readers._json import IMAGE_KEYS
from toolkit.runtime.messages import shortened


def read(path: Path, options: ReaderOptions) -> RawLabels:
    """Read a column of paths and a column of lists of tags (or texts), or one column of 0 and 1 a tag.

    The image may be an object with a ``path``, and tags numbers of classes whose names the file holds, as
    Hugging Face writes both. It needs the extra ``parquet``. `LabelError` if the file is no parquet or has no
    such columns.
    """
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise OptionError(f"{path} needs pyarrow: pip install 'toolkit[parquet]'") from error
    try:
        with open_regular(path) as stream, parquet.ParquetFile(stream) as file:
            schema = file.schema_arrow
            wanted = _columns(schema.names)
            # of an image that lies in the file only the path is read, not its bytes
            paths = [
                f"{name}.path" if pa.types.is_struct(schema.field(name).type) else name for name in wanted[:1]
            ]
            labels = collect(
                _rows(file, [*paths, *wanted[1:]]),
                wanted or schema.names,
                separator=options.separator,
                source=str(path),
                unit="row",
                classes=_classes(schema.metadata, wanted),
            )
    except OSError as reason:
        raise LabelError(f"{path} cannot be read ({shortened(reason)})") from reason
    except (pa.ArrowException, ValueError, KeyError) as reason:
        raise LabelError(
            f"{path} is not a readable parquet file ({shortened(reason)}); write it again"
        ) from reason
    return labels.finish(path.parent, unit="row")


def _columns(names: list[str]) -> list[str]:
    """Return the column of the image and that of the tags, or all others; none without an image."""
    image = key_among(names, IMAGE_KEYS)
    if image is None:
        return []
    others = [name for name in names if name != image]
    tags = key_among(others, TAG_KEYS)
    return [image, *([tags] if tags is not None else others)]


def _rows(file: Any, columns: list[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    number = 0
    for batch in file.iter_batches(batch_size=10_000, columns=columns):
        for row in batch.to_pylist():
            number += 1
            yield number, row


def _classes(metadata: dict[bytes, bytes] | None, columns: list[str]) -> list[str]:
    """Return the names of the classes that Hugging Face keeps for the column of tags."""
    try:
        document = decode_json((metadata or {}).get(b"huggingface", b"{}"), dict[str, Any])
    except ValueError:  # of another origin
        return []
    feature = _inside(document, "info", "features", columns[1]) if len(columns) == 2 else None
    feature = feature[0] if isinstance(feature, list) and feature else feature
    names = _inside(feature, "names") or _inside(feature, "feature", "names")
    return list(map(str, names)) if isinstance(names, list) else []


def _inside(document: Any, *keys: str) -> Any:
    for key in keys:
        document = document.get(key) if isinstance(document, dict) else None
    return document
