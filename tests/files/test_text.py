"""Text files: encodings, and what is no text."""

import os
import sys
from pathlib import Path

import pytest

from tests.files.test_csv import CHINESE, rows_of
from toolkit.errors import LabelError, OptionError
from toolkit.files.csv import first_rows
from toolkit.files.text import decode_text, read_text, split_lines


@pytest.mark.parametrize(
    "text", ["Köln,Übersee\n", "café,x\n", "Müller,naïve façade\n", "Straße “A”, 5 €\n", "d’août, à midi\n"]
)
def test_decode_text__western_text_is_called_windows_1252(text):
    with pytest.raises(
        LabelError, match=r"f is not UTF-8 \(at line 1\); it looks like Windows-1252.*--encoding cp1252$"
    ):
        decode_text(text.encode("cp1252"), name="f", error=LabelError)
    assert decode_text(text.encode("cp1252"), name="f", error=LabelError, encoding="cp1252") == text


@pytest.mark.parametrize(
    ("text", "encoding"), [("Москва,мост\n", "cp1251"), ("東京,橋\n", "shift_jis"), ("天空\n", "big5")]
)
def test_decode_text__other_encodings_are_not_called_windows_1252(text, encoding):
    with pytest.raises(LabelError, match=r"f is not UTF-8") as caught:
        decode_text(text.encode(encoding), name="f", error=LabelError)
    assert "1252" not in str(caught.value)


def test_decode_text__wrong_encoding_named_by_the_user():
    with pytest.raises(LabelError, match="f is not GB18030"):
        decode_text("é\n".encode("latin-1"), name="f", error=LabelError, encoding="gb18030")
    with pytest.raises(LabelError, match="f is not UTF-16"):
        decode_text(b"\xff\xfea", name="f", error=LabelError, encoding="utf-16")


@pytest.mark.parametrize(("codec", "hint"), [("utf-16", "utf-16"), ("utf-32", "utf-32")])
def test_decode_text__utf16_and_utf32_marks_are_named(tmp_path, codec, hint):
    path = tmp_path / "a.csv"
    path.write_bytes(CHINESE.encode(codec))
    with pytest.raises(LabelError, match=f"a.csv is {hint.upper()} .*--encoding {hint}$"):
        rows_of(path)
    with pytest.raises(LabelError, match=f"a.csv is {hint.upper()}"):
        read_text(path, error=LabelError)
    assert rows_of(path, encoding=hint)[1] == (2, ["一.jpg", "天空"])
    assert read_text(path, error=LabelError, encoding=hint) == CHINESE


def test_decode_text__utf16_without_mark_or_binary():
    with pytest.raises(LabelError, match=r"f is not a text file: it holds NUL bytes.*--encoding utf-16-le"):
        decode_text("a,b".encode("utf-16-le"), name="f", error=LabelError)
    assert decode_text("a,b".encode("utf-16-le"), name="f", error=LabelError, encoding="utf-16-le") == "a,b"


@pytest.mark.parametrize("encoding", ["gb999", "base64", "rot13"])
def test_decode_text__unknown_encoding(encoding):
    with pytest.raises(OptionError, match=f"unknown encoding '{encoding}'; name one Python knows"):
        decode_text(b"", name="f", error=LabelError, encoding=encoding)


def test_read__missing_file(tmp_path):
    with pytest.raises(LabelError, match=r"none\.csv cannot be read \(No such file or directory\)"):
        rows_of(tmp_path / "none.csv")
    with pytest.raises(LabelError, match=r"none\.txt cannot be read \(No such file or directory\)"):
        read_text(tmp_path / "none.txt", error=LabelError)
    with pytest.raises(LabelError, match=r"cannot be read \(it is a folder; give a regular file\)"):
        rows_of(tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="needs pipes in the file system")
def test_read__what_is_no_regular_file(tmp_path):
    os.mkfifo(tmp_path / "a.csv")
    for read in (rows_of, lambda path: read_text(path, error=LabelError)):
        with pytest.raises(
            LabelError, match=r"a\.csv cannot be read \(it is a named pipe; give a regular file\)"
        ):
            read(tmp_path / "a.csv")
        with pytest.raises(
            LabelError, match=r"/dev/zero cannot be read \(it is a device; give a regular file\)"
        ):
            read(Path("/dev/zero"))
    with pytest.raises(LabelError, match=r"cannot be read \(it is a named pipe"):
        first_rows(tmp_path / "a.csv", 2, error=LabelError)


def test_read_text__no_more_than_asked(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"12345")
    with pytest.raises(
        LabelError, match=r"a\.txt cannot be read \(it has 5 bytes, more than the 4 allowed\)"
    ):
        read_text(path, error=LabelError, most=4)


def test_split_lines__only_real_line_ends():
    assert split_lines("a\r\nb\rc\n\nd\u2028e\x0bf\n") == ["a", "b", "c", "", "d\u2028e\x0bf"]
    assert split_lines("") == []
    assert split_lines("a") == ["a"]
