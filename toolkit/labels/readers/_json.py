"""Shared by the readers of json files: decoding, and which format a document has."""

import codecs
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from toolkit.errors import LabelError
from toolkit.files.csv import IMAGE_COLUMNS
from toolkit.files.text import codec_name, decode_text, read_bytes, refuse_binary
from toolkit.runtime.messages import listed, shortened

MOST_BYTES = 2 << 30
"""Most bytes of a json: COCO's own largest has 0.5 GB, LVIS's 1.2 GB."""

IMAGE_KEYS = (*IMAGE_COLUMNS, "image_url", "imagefilename", "imagegcsuri", "url", "uri")
"""Names of the field of an image's path, in lower case."""

READ = "COCO, LVIS, Label Studio, FiftyOne, CreateML, and lists of images with their tags"

_SEEN = 20  # entries that are looked at to tell formats apart

T = TypeVar("T")


def decode_json(path: Path, kind: type[T], encoding: str, *, what: str = "readable json", wanted: str) -> T:
    """Return the document as a `kind`; fields that it does not name are passed over, which takes no memory.

    `LabelError` says that the file is not `what`, and what is `wanted`.
    """
    data = read_bytes(path, error=LabelError, most=MOST_BYTES)
    plain = codec_name(encoding) == "utf-8-sig"
    try:
        if not plain:
            text = decode_text(data, name=path, error=LabelError, encoding=encoding)
            return msgspec.json.decode(text, type=kind)
        refuse_binary(data, name=path, error=LabelError, codec="utf-8")
        start = len(codecs.BOM_UTF8) if data.startswith(codecs.BOM_UTF8) else 0
        return msgspec.json.decode(memoryview(data)[start:], type=kind)
    except RecursionError as reason:
        raise LabelError(f"{path} is not {what}: it is nested too deeply; {wanted}") from reason
    except (msgspec.DecodeError, UnicodeDecodeError) as reason:
        if plain:
            decode_text(data, name=path, error=LabelError)  # explains a wrong encoding
        raise LabelError(f"{path} is not {what}: {shortened(reason)}; {wanted}") from reason


def json_format(path: Path, encoding: str) -> str:
    """Return the name of the format of a json; `LabelError` says what another seems to be."""
    wanted = f"json that is read: {READ}"
    kind: Any = dict[str, msgspec.Raw] | list[msgspec.Raw]
    top: Any = decode_json(path, kind, encoding, wanted=wanted)
    try:
        found = _format_of_object(top) if isinstance(top, dict) else _format_of_list(top)
        seems, keys = _seems(top), listed([*top] if isinstance(top, dict) else _keys(top), 6)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        decode_json(path, Any, encoding, wanted=wanted)  # says where
        raise
    if found is not None:
        return found
    fields = f"its first fields are {keys}" if keys else "it has no fields"
    raise LabelError(f"{path} is json of another kind{seems}: {fields}; read are {READ} (see --format)")


def is_labelme(path: Path) -> bool:
    """Return whether a json, which may be none, is LabelMe's of one image."""
    data = read_bytes(path, error=LabelError, most=MOST_BYTES)
    try:
        keys = msgspec.json.decode(data.removeprefix(codecs.BOM_UTF8), type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return {"shapes", "imagePath"} <= keys.keys()


def _format_of_object(top: Mapping[str, msgspec.Raw]) -> str | None:
    if "images" in top or {"annotations", "categories"} <= top.keys():
        return "coco"
    if "samples" in top or ("labels" in top and _begins(top["labels"], b"{n")):
        return "fiftyone"
    some = [value for _, value in zip(range(_SEEN), top.values(), strict=False)]
    return "records" if some and all(map(_is_tags, some)) else None


def _format_of_list(top: list[msgspec.Raw]) -> str | None:
    keys = {key.casefold() for key in _keys(top)}
    if "data" in keys and keys & {"annotations", "completions", "predictions"}:
        return "labelstudio"
    if keys & {"annotation_id", "lead_time"} and keys & {"annotator", "created_at", "updated_at"}:
        return "labelstudio"
    if keys & {"category_id", "score", "bbox"}:
        return None  # detections, one an entry
    return "records" if keys & set(IMAGE_KEYS) else None


def _keys(top: list[msgspec.Raw]) -> list[str]:
    keys: dict[str, None] = {}
    for value in top[:_SEEN]:
        if _begins(value, b"{"):
            keys |= dict.fromkeys(msgspec.json.decode(value, type=dict[str, msgspec.Raw]))
    return list(keys)


def _begins(value: msgspec.Raw, characters: bytes) -> bool:
    return bytes(memoryview(value)[:1]) in [characters[at : at + 1] for at in range(len(characters))]


def _is_tags(value: msgspec.Raw) -> bool:
    """Return whether a value is a list of texts, empty or not."""
    if not _begins(value, b"["):
        return False
    return all(_begins(each, b'"') for each in msgspec.json.decode(value, type=list[msgspec.Raw]))


def _seems(top: Mapping[str, msgspec.Raw] | list[msgspec.Raw]) -> str:
    """Return what a json seems to be that is not read, and what to do."""
    keys = set(_keys(top)) if isinstance(top, list) else set(top)
    within = set(_keys(list(top.values()))) if isinstance(top, dict) else set()
    if {"shapes", "imagePath"} & keys:
        return " (LabelMe's, of one image; give the folder of all of them)"
    if "_via_img_metadata" in keys or "regions" in within:
        return " (VGG Image Annotator's; export COCO from it)"
    if {"image_id", "category_id"} <= keys:
        return " (COCO annotations or results without their images; give the instances json)"
    if "features" in keys:
        return " (GeoJSON)"
    if "data_row" in keys or "Labeled Data" in keys:
        return " (Labelbox's; export COCO from it)"
    return ""
