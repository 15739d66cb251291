"""JSON files: UTF-8, indented, replaced atomically; read into the type that they must have."""

import json
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import msgspec

from toolkit.files.atomic import replacing
from toolkit.files.regular import read_regular

MOST_BYTES = 2**26
"""Bytes of a document: 64 MB hold the measurements of 400,000 tags."""

_ERRORS = "surrogateescape"  # keeps the bytes of file names that are not UTF-8 (PEP 383)

T = TypeVar("T")


def read_json(path: Path, kind: type[T]) -> T:
    """Return the document of a regular file as a `kind`; `OSError` or `ValueError` if it cannot be read.

    `kind` is a dataclass, a TypedDict, ``dict[str, Any]`` or anything else that msgspec decodes. Fields that
    it does not name are skipped. Nothing is converted but an integer to a float.
    """
    return decode_json(read_regular(path, most=MOST_BYTES), kind)


def decode_json(data: bytes, kind: type[T]) -> T:
    """Return a document as a `kind`; `ValueError` says what is wrong with it in one line."""
    try:
        try:
            return msgspec.json.decode(data.removeprefix(b"\xef\xbb\xbf"), type=kind)
        except UnicodeDecodeError:
            text = data.decode("utf-8", _ERRORS)
            return typed(json.loads(text, parse_constant=_refuse), kind)
    except msgspec.DecodeError as error:
        raise ValueError(_plain(error)) from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def typed(document: Any, kind: type[T]) -> T:
    """Return decoded json as a `kind`; `ValueError` says which value has another type or is out of range."""
    try:
        return msgspec.convert(document, kind)
    except msgspec.ValidationError as error:
        raise ValueError(_plain(error)) from error


def write_json(path: Path, document: Any) -> None:
    """Write `document`, replacing an earlier one only when complete; NaN and infinity are a `ValueError`."""
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with replacing(path) as fresh:
        fresh.write_text(text, encoding="utf-8", errors=_ERRORS)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number in json")


def _plain(error: msgspec.MsgspecError) -> str:
    """Return msgspec's message without its notation: ``$.facts.k`` is called ``facts.k``."""
    text, _, place = str(error).replace("`", "").partition(" - at $")
    place = place.removeprefix(".")
    text = text if text.startswith("JSON") else f"{text[:1].lower()}{text[1:]}"
    return f"{text} at {place}" if place else text
