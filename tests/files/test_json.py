"""Documents that may be anything: the type asked for, or one plain line."""

import os
from dataclasses import dataclass, field
from typing import Any

import pytest

from toolkit.files import json as files_json
from toolkit.files.json import read_json, typed, write_json


@dataclass(frozen=True)
class Document:
    name: str
    share: float = 1.0
    more: dict[str, Any] = field(default_factory=dict)


def test_read__into_its_type_without_fields_that_are_unknown(tmp_path):
    write_json(tmp_path / "x.json", {"name": "图", "share": 2, "other": [1, {"a": None}]})
    assert read_json(tmp_path / "x.json", Document) == Document("图", 2.0)
    assert read_json(tmp_path / "x.json", dict[str, Any])["other"] == [1, {"a": None}]
    (tmp_path / "x.json").write_bytes(b'\xef\xbb\xbf{"name": "mark"}')
    assert read_json(tmp_path / "x.json", Document).name == "mark"


def test_read__names_that_are_not_utf8_are_kept(tmp_path):
    name = os.fsdecode(b"caf\xe9.jpg")
    write_json(tmp_path / "x.json", {"name": name})
    assert b"caf\xe9.jpg" in (tmp_path / "x.json").read_bytes()
    assert read_json(tmp_path / "x.json", Document) == Document(name)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "input data was truncated"),
        (b"[]", "expected object, got array$"),
        (b"5", "expected object, got int$"),
        (b'"x"', "expected object, got str$"),
        (b"null", "expected object, got null$"),
        (b"{}", "object missing required field name$"),
        (b'{"name": 5}', "expected str, got int at name$"),
        (b'{"name": "a", "share": NaN}', "JSON is malformed: invalid character"),
        (b'{"name": "a", "share": 1e999}', "number out of range at share$"),
        (b'{"name": "\xff", "share": NaN}', "NaN is no number in json"),
        (b'{"name": "\xff"', "Expecting ',' delimiter"),
        (b'{"name": "\xff", "share": "b"}', "expected float, got str at share$"),
        (b"{'name': 1}", "JSON is malformed"),
        (b'{"name": "a", "more": {"a": ' + b"[" * 10**6, "it is nested too deeply$"),
        (b"\xff" + b"[" * 10**6, "JSON is malformed"),
        (b'{"\xff": ' + b"[" * 10**6, "it is nested too deeply$"),
        (b'{"more": ' * 10**6, "it is nested too deeply$"),
        (b'{"name": "a", "share": ' + b"1" * 100_000 + b"}", "out of range|expected float"),
    ],
    ids=lambda value: value[:24],
)
def test_read__one_plain_line(data, text, tmp_path):
    (tmp_path / "x.json").write_bytes(data)
    with pytest.raises(ValueError, match=f"(?i){text}") as caught:
        read_json(tmp_path / "x.json", Document)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 200


def test_read__no_larger_than_allowed_and_only_regular_files(tmp_path, monkeypatch):
    monkeypatch.setattr(files_json, "MOST_BYTES", 10)
    (tmp_path / "x.json").write_text('{"name": "much more"}')
    with pytest.raises(OSError, match="it has 21 bytes, more than the 10 allowed"):
        read_json(tmp_path / "x.json", Document)
    os.mkfifo(tmp_path / "pipe")
    for path, kind in (("pipe", "a named pipe"), (".", "a folder"), ("/dev/zero", "a device")):
        with pytest.raises(OSError, match=f"it is {kind}; give a regular file"):
            read_json(tmp_path / path, Document)


def test_typed__of_decoded_json():
    assert typed({"name": "a", "share": 3}, Document).share == 3.0
    with pytest.raises(ValueError, match="^expected str, got int at \\[\\.\\.\\.\\]\\[\\.\\.\\.\\]$"):
        typed({"more": {"a": 1}}, dict[str, dict[str, str]])


def test_write__nan_is_refused_and_the_old_file_stays(tmp_path):
    write_json(tmp_path / "x.json", {"a": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "x.json", {"a": float("nan")})
    assert read_json(tmp_path / "x.json", dict[str, int]) == {"a": 1}
