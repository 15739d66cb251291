"""Json of images with their tags: a list of entries, one entry a line, or an object from image to tags."""

from pathlib import Path
from typing import Any

import msgspec

from toolkit.errors import LabelError
from toolkit.files.text import read_text, split_lines
from toolkit.labels.raw import RawLabels, ReaderOptions, RowCollector
from toolkit.labels.readers._entries import collect, local_path, tags_of
from toolkit.labels.readers._json import MOST_BYTES, decode_json
from toolkit.runtime.messages import shortened

_WANTED = 'such as [{"image": "1.jpg", "tags": ["sky", "sea"]}] or {"1.jpg": ["sky", "sea"]}'
_LINES = (".jsonl", ".ndjson")


def read(path: Path, options: ReaderOptions) -> RawLabels:
    """Read entries with an image and its tags: CreateML json, Hugging Face's ``metadata.jsonl`` and the like.

    The document is a list of entries, one entry a line (``.jsonl``), or one object from image to tags. The
    tags are a list of texts or of named objects (boxes too), a text with separators, or one field of 0 and 1
    a tag. `LabelError` if a field is missing or holds anything else.
    """
    lines = path.suffix.lower() in _LINES
    document: Any = _lines(path, options) if lines else _document(path, options)
    if isinstance(document, dict):
        labels = RowCollector()
        for number, (image, value) in enumerate(document.items(), start=1):
            place = f"{path} entry {number}"
            labels.add(local_path(image), tags_of(value, options.separator, place), number)
        return labels.finish(path.parent, unit="entry")
    keys = list(dict.fromkeys(key for _, fields in document for key in fields))
    unit = "line" if lines else "entry"
    labels = collect(document, keys, separator=options.separator, source=str(path), unit=unit)
    return labels.finish(path.parent, unit=unit)


def _document(path: Path, options: ReaderOptions) -> dict[str, Any] | list[tuple[int, dict[str, Any]]]:
    document: Any = decode_json(
        path,
        list[dict[str, Any]] | dict[str, Any],  # type: ignore[arg-type]
        options.encoding,
        what="json of images with their tags",
        wanted=_WANTED,
    )
    return document if isinstance(document, dict) else list(enumerate(document, start=1))


def _lines(path: Path, options: ReaderOptions) -> list[tuple[int, dict[str, Any]]]:
    text = read_text(path, error=LabelError, encoding=options.encoding, most=MOST_BYTES)
    decoder = msgspec.json.Decoder(dict[str, Any])
    entries = []
    for number, line in enumerate(split_lines(text), start=1):
        if line.strip():
            try:
                entries.append((number, decoder.decode(line)))
            except (msgspec.DecodeError, UnicodeError, RecursionError) as reason:
                raise LabelError(
                    f"{path} line {number} is no json object ({shortened(reason)}); one entry a line is "
                    'needed, such as {"file_name": "1.jpg", "tags": ["sky", "sea"]}'
                ) from reason
    return entries
