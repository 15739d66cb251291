"""Inputs: valid files with changes to bytes, or to what they hold.

All choices are made by a `random.Random`, or by hypothesis's, which can shrink them.
"""

import csv
import io
import json
import struct
import zipfile
from collections.abc import Callable
from random import Random
from typing import Any

TOKENS = (
    b"",
    b"\0",
    b'"',
    b"'",
    b",",
    b"\n",
    b"\r",
    b"\r\n",
    b";",
    b"|",
    b"\t",
    b" ",
    b"/",
    b"\\",
    b"../",
    b"/dev/zero",
    b"\xef\xbb\xbf",
    b"\xff\xfe",
    b"\xfe\xff",
    b"\xff\xfe\0\0",
    b"\xff",
    b"\x80",
    b"\xed\xa0\x80",
    b"\x1b[31m",
    b"\x7f",
    "\u202e".encode(),
    "\u2028".encode(),
    "\x85".encode(),
    "e\u0301".encode(),
    "é".encode(),
    "天空".encode(),
    "天空".encode("gb18030"),
    "\U0001f600".encode(),
    "\ufeff".encode(),
    "１".encode(),
    "\u00a0".encode(),
    b"0",
    b"1",
    b"-1",
    b"1.0",
    b"1e999",
    b"NaN",
    b"Infinity",
    b"null",
    b"true",
    b"9" * 400,
    b"18446744073709551616",
    b"-9223372036854775808",
    b"{",
    b"}",
    b"[",
    b"]",
    b"[" * 2000,
    b'{"a":' * 2000,
    b":",
    b"\\ud800",
    b"\\u0000",
    b"<",
    b">",
    b"</annotation>",
    b"<object>",
    b"<!DOCTYPE a [<!ENTITY x 'y'>]>",
    b"&x;",
    b"&#0;",
    b"&#10;",
    b"]]>",
    b"<!--",
    b"PK\x03\x04",
    b"PK\x05\x06",
    b"\x93NUMPY",
    b"(",
    b")",
    b"'|O'",
    b"'<f8'",
    b"img_path",
    b"tags",
    b"name",
)
BYTES_OF_NUMBERS = tuple(
    struct.pack(form, number) for form in ("<b", "<i", "<q") for number in (-1, 0, 1, 127, -128)
) + tuple(struct.pack("<q", number) for number in (2**31, 2**31 - 1, -(2**31), 2**63 - 1, -(2**63), 2**40))
NUMBERS = (0, 1, -1, 2, 255, 2**31, -(2**31), 2**53 + 1, 2**63, 10**30, 0.5, -0.0, 1e308, 2_000_000_000)


def make(valid: dict[str, bytes], random: Random) -> tuple[str, bytes]:
    """Return a file of `valid` and what to put in its place."""
    file = random.choice(sorted(valid))
    data = valid[file]
    if random.random() < 0.55:
        ending = file.rpartition(".")[2]
        data = STRUCTURED.get(ending, lines)(data, random)
        if random.random() < 0.7:
            return file, data
    return file, mutated(data, random)


def mutated(data: bytes, random: Random) -> bytes:
    """Change some bytes of `data`."""
    for _ in range(random.choice((1, 1, 1, 2, 3, 8))):
        at = random.randint(0, len(data))
        to = min(len(data), at + random.choice((0, 1, 1, 2, 4, 8, 64, 1000)))
        way = random.randint(0, 6)
        if way == 0 and data:
            at = min(at, len(data) - 1)
            data = data[:at] + bytes([data[at] ^ 1 << random.randint(0, 7)]) + data[at + 1 :]
        elif way == 1:
            data = data[:at] + random.choice(TOKENS) + data[to:]
        elif way == 2:
            number = random.choice(BYTES_OF_NUMBERS)
            data = data[:at] + number + data[at + len(number) :]
        elif way == 3:
            data = data[:at] + data[to:]
        elif way == 4:
            data = data[:to] + data[at:to] * random.choice((1, 2, 100)) + data[to:]
        elif way == 5:
            data = data[:at]
        else:
            data = data[:at] + bytes(random.randint(0, 255) for _ in range(random.randint(1, 8))) + data[at:]
    return data


def text_of(random: Random) -> str:
    """Return a cell, name or tag."""
    pieces = [random.choice(TOKENS) for _ in range(random.choice((0, 1, 1, 2, 3)))]
    text = b"".join(pieces).decode("utf-8", "surrogateescape")
    return text * random.choice((1, 1, 1, 1, 1, 500))


def lines(data: bytes, random: Random) -> bytes:
    """Change lines of a text."""
    rows = data.decode("utf-8", "surrogateescape").split("\n")
    for _ in range(random.choice((1, 1, 2, 5))):
        at = random.randint(0, len(rows))
        rows[at : at + random.randint(0, 2)] = [random.choice((text_of(random), *rows[:4]))]
    ending = random.choice(("\n", "\n", "\r\n", "\r", "\n\n"))
    return _encoded(ending.join(rows), random)


def table(data: bytes, random: Random) -> bytes:
    """Change cells, rows and columns of a csv."""
    rows = list(csv.reader(io.StringIO(data.decode("utf-8", "surrogateescape"), newline="")))
    for _ in range(random.choice((1, 1, 2, 5))):
        row = random.choice(rows)
        at = random.randint(0, len(row))
        way = random.randint(0, 5)
        if way <= 2:
            row[at : at + 1] = [text_of(random)]
        elif way == 3:
            rows.append(list(random.choice(rows)))
        elif way == 4 and len(rows) > 1:
            rows.remove(row)
        else:
            for each in rows:
                each[at : at + random.randint(0, 1)] = [text_of(random)]
    text = io.StringIO()
    quoting = random.choice((csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONE))
    escape = "\\" if quoting == csv.QUOTE_NONE else None
    ending = random.choice(("\n", "\r\n", "\r"))
    csv.writer(text, quoting=quoting, escapechar=escape, lineterminator=ending).writerows(rows)
    return _encoded(text.getvalue(), random)


def _encoded(text: str, random: Random) -> bytes:
    codec = random.choice(
        ("utf-8",) * 8 + ("utf-8-sig", "gb18030", "utf-16", "utf-16-le", "utf-32", "latin-1")
    )
    errors = "surrogateescape" if codec.startswith("utf-8") else "replace"
    return text.encode(codec, errors)


def document(data: bytes, random: Random) -> bytes:
    """Change values of a json document."""
    root = [json.loads(data)]
    for _ in range(random.choice((1, 1, 2, 4))):
        place: Any = root
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = random.choice(keys)
            if isinstance(place[key], dict | list) and place[key] and random.random() < 0.8:
                place = place[key]
                continue
            way = random.randint(0, 4)
            if way == 0 and place is not root:
                del place[key]
            elif way == 1 and isinstance(place, dict) and place is not root:
                place[text_of(random)] = place.pop(key)
            else:
                place[key] = value(random)
            break
    text = json.dumps(root[0], ensure_ascii=random.random() < 0.5)
    return text.encode("utf-8", "surrogateescape" if random.random() < 0.5 else "replace")


def value(random: Random, depth: int = 0) -> Any:
    """Return a json value."""
    way = random.randint(0, 9)
    if way <= 2:
        return random.choice(NUMBERS)
    if way <= 4:
        return text_of(random)
    if way == 5:
        return random.choice((None, True, False, float("nan"), float("inf"), -float("inf")))
    if way == 6 or depth > 2:
        return random.choice(([], {}, [[]], [0] * 5000))
    if way == 7:
        return {text_of(random): value(random, depth + 1) for _ in range(random.randint(1, 3))}
    return [value(random, depth + 1) for _ in range(random.randint(1, 3))]


def array(data: bytes, random: Random) -> bytes:
    """Change the header or the values of an ``.npy``."""
    length = 10 + int.from_bytes(data[8:10], "little")
    header, values = data[10:length].decode("latin-1"), data[length:]
    way = random.randint(0, 4)
    if way == 0:
        kinds = (
            "'|O'",
            "'<f2'",
            "'<f4'",
            "'>f8'",
            "'<i4'",
            "'<U9'",
            "'|S0'",
            "'|b1'",
            "'<M8[s]'",
            "[('a', '<f4')]",
        )
        header = _replaced(header, "'descr': ", ", 'fortran", random.choice(kinds))
    elif way == 1:
        sizes = [
            random.choice((0, 1, 2, 3, 4, 12, -1, 2**31, 2**40, 2**62, 2**64))
            for _ in range(random.randint(0, 4))
        ]
        header = _replaced(header, "'shape': ", "}", f"({''.join(f'{size}, ' for size in sizes)})")
    elif way == 2:
        header = _replaced(
            header, "order': ", ", 'shape", random.choice(("True", "1", "None", "[" * 500, "'x'"))
        )
    elif way == 3:
        odd = random.choice(
            (b"\xff" * 8, b"\0" * 8, struct.pack("<d", float("nan")), struct.pack("<f", float("inf")))
        )
        at = random.randint(0, max(0, len(values) - 1))
        values = values[:at] + odd + values[at + len(odd) :]
    else:
        values = values[: random.randint(0, len(values))] * random.choice((1, 2))
    text = header.encode("latin-1", "replace")
    return data[:8] + struct.pack("<H", len(text) & 0xFFFF) + text + values


def _replaced(text: str, before: str, after: str, new: str) -> str:
    start = text.find(before)
    end = text.find(after, start)
    return text if start < 0 or end < 0 else f"{text[: start + len(before)]}{new}{text[end:]}"


def archive(data: bytes, random: Random) -> bytes:
    """Change the arrays of an ``.npz``."""
    with zipfile.ZipFile(io.BytesIO(data)) as old:
        members = {name: old.read(name) for name in old.namelist()}
    name = random.choice(sorted(members))
    way = random.randint(0, 5)
    if way <= 2:
        members[name] = array(members[name], random)
    elif way == 3:
        del members[name]
    elif way == 4:
        members[random.choice(sorted(members))] = members[name]
    else:
        members[name] = mutated(members[name], random)
    text = io.BytesIO()
    kind = random.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2))
    with zipfile.ZipFile(text, "w", kind) as new:
        for each, content in members.items():
            new.writestr(each, content)
    return text.getvalue()


def markup(data: bytes, random: Random) -> bytes:
    """Change tags and texts of an xml."""
    pieces = data.decode("utf-8").replace("<", "\0<").replace(">", ">\0").split("\0")
    for _ in range(random.choice((1, 1, 2, 5))):
        at = random.randint(0, len(pieces))
        new = random.choice((text_of(random), random.choice(pieces), f"<name>{text_of(random)}</name>"))
        pieces[at : at + random.randint(0, 1)] = [new]
    return _encoded("".join(pieces), random)


STRUCTURED: dict[str, Callable[[bytes, Random], bytes]] = {
    "csv": table,
    "json": document,
    "npy": array,
    "npz": archive,
    "xml": markup,
}
