"""One is one, more are several; strangers' names cannot act on what shows them."""

import json
import re
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.runtime.messages import counted, listed, printable


@pytest.mark.parametrize(
    ("number", "nouns", "want"),
    [
        (0, ("image",), "0 images"),
        (1, ("image",), "1 image"),
        (35000, ("image",), "35,000 images"),
        (1, ("row shares", "rows share"), "1 row shares"),
        (2, ("row shares", "rows share"), "2 rows share"),
    ],
)
def test_counted(number, nouns, want):
    assert counted(number, *nouns) == want


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("two\nlines\r\n\tand a tab\0", r"two\nlines\r\n\tand a tab\x00"),
        ("\x7f \x9b31m \x85", r"\x7f \x9b31m \x85"),
        ("photo\u202egpj.exe", r"photo\u202egpj.exe"),
        ("\u2066a\u2069 \u200e\u200f\u061c", r"\u2066a\u2069 \u200e\u200f\u061c"),
        ("\u2028\u2029\ufeff\u200b\xad", r"\u2028\u2029\ufeff\u200b\xad"),
        ("\udcff.jpg", r"\udcff.jpg"),
        ("\U000e0041", r"\U000e0041"),  # a tag character: ASCII that nobody sees
        ("se\u200da", r"se\u200da"),
        ("\u200d海\u200d", r"\u200d海\u200d"),
        ("海\u200d\u200d海", r"海\u200d\u200d海"),
    ],
)
def test_printable__escapes_what_acts(text, want):
    assert printable(text) == want


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sea, tree",
        r"C:\new\x1b",
        "海滩 天空",
        "naïve",
        "می\u200cخواهم",
        "👨\u200d👩\u200d👧",
        "❤️",
        "a\xa0b",
    ],
)
def test_printable__leaves_what_is_read(text):
    assert printable(text) == text


def test_printable__of_every_character():
    acting = {"Cc", "Cf", "Cs", "Zl", "Zp"}
    for number in range(sys.maxunicode + 1):
        character = chr(number)
        escaped = unicodedata.category(character) in acting
        assert (printable(character) != character) == escaped, hex(number)


@given(st.text(st.characters(codec=None)))
def test_printable__is_one_line_and_stays_as_it_is(text):
    once = printable(text)
    assert printable(once) == once and len(f"{once}.".splitlines()) == 1
    once.encode()  # no lone surrogates are left


def test_printable__with_another_escape():
    assert printable("a\x1b\U000e0041", lambda character: json.dumps(character)[1:-1]) == (
        r"a\u001b\udb40\udc41"
    )
    assert re.fullmatch("a.", printable("a\u202e", lambda character: "?"))


def test_listed__cuts_long_lists():
    assert listed(["a", "b"]) == "'a', 'b'"
    assert listed(list("abcd"), most=2) == "'a', 'b' and 2 more"
