"""Lists and objects that a program wrote into a cell, such as ``['sand', 'sea']``.

Nothing is evaluated: strings, JSON and Python literals are parsed, in bounded size and depth.
"""

import ast
import re
import warnings
from collections.abc import Iterable, Mapping
from itertools import chain, pairwise
from typing import Any

from toolkit.files.json import decode_json

MOST_CHARACTERS = 1_000_000
"""Most characters of a cell that holds a list."""

MOST_DEPTH = 20
"""Most brackets within each other."""

OPENERS = "[{('\"-"
"""What a cell that holds a list begins with, unless it is a call such as ``set(...)``."""

NAME_KEYS = (
    "choices",
    "labels",
    "tags",
    "rectanglelabels",
    "polygonlabels",
    "brushlabels",
    "keypointlabels",
    "ellipselabels",
    "taxonomy",
    "classes",
    "categories",
    "label",
    "tag",
    "class",
    "category",
    "name",
    "value",
)
"""Keys of an object that hold its tags; the first that is there counts."""

_CLOSERS = {"[": "]", "{": "}", "(": ")"}
# quantifiers with a second + never give back what they took, so that no cell takes longer than its length
_STRING = r"'[^'\\]*+(?:\\.[^'\\]*+)*+'|\"[^\"\\]*+(?:\\.[^\"\\]*+)*+\""
_WORD = r"(?:[^\s\[\]{}(),:'\"]|(?<=\w)'(?=\w))++"
_TOKEN = re.compile(rf"({_STRING})|([\[\]{{}}(),:])|(\s++)|({_WORD})|(.)", re.DOTALL)
_STRINGS = re.compile(_STRING, re.DOTALL)
_JOINED = re.compile(rf"\s*+(?:{_STRING})(?:\s*+,\s*+(?:{_STRING}))*+\s*+,?\s*+", re.DOTALL)
_SPACED = re.compile(rf"\s*+(?:{_STRING})(?:\s++(?:{_STRING}))++\s*+", re.DOTALL)
_NUMBER = r"-?\d++(?:\.\d*+)?+"
_NUMBERS = re.compile(rf"\s*+{_NUMBER}(?:\s++{_NUMBER})++\s*+")
_ITEM = re.compile(rf"\s*+(?:({_STRING})\s*+|([^,'\"][^,]*+|))(?:,|$)", re.DOTALL)
_SCALAR = re.compile(rf"\b(?:np|numpy)\.\w++\(({_STRING}|[^()'\"]*+)\)")
_CALL = re.compile(
    r"(?:np\.|numpy\.)?(?:set|frozenset|list|tuple|array|deque|dict_keys|dict_values|Index|Series|Counter)"
    r"\(\s*+(?=[\[{(\"')])",
)
_CALL_TAIL = re.compile(r"\s*+(?:,\s*+(?:dtype|maxlen|name|shape|length)\s*+=.*)?", re.DOTALL)
_LINES = re.compile(r"-[ \t]++[^\r\n]*+(?:\r?\n-[ \t]++[^\r\n]*+)++")
_NOT_BARE = re.compile(r"[\[\]{}\"]|:\s|:$|(?<!\w)'|'(?!\w)")
_SURROGATE = re.compile("[\ud800-\udfff]")
_ELLIPSIS = re.compile(r"(?<=[\s,\[{(])\.\.\.(?=[\s,\]})])")


class NotationError(ValueError):
    """A cell looks like a list and is none; the message says which kind and why."""


def is_list(text: str) -> bool:
    """Return whether a stripped cell is meant as a list or an object, well written or not.

    A tag may begin with a bracket too: ``[deleted], sky`` and ``(smile)`` are tags.

    Examples
    --------
    >>> [is_list(text) for text in ("['a', 'b']", "{a,b}", "['a', 'b", "(smile)", "[x], y", "'a', 'b'")]
    [True, True, True, False, False, True]
    """
    first = text[:1]
    if first == "-":
        return _LINES.fullmatch(text) is not None
    if first in ("'", '"'):
        return _JOINED.fullmatch(text) is not None
    if first in _CLOSERS:
        inner = text[1:].lstrip()
        if first == "(":
            return inner[:1] in ("'", '"') or text == "()"
        closer = _CLOSERS[first]
        return text.endswith(closer) or closer not in text or inner[:1] in ("'", '"', "[", "{")
    return _CALL.match(text) is not None


def parse_list(text: str) -> tuple[list[str], str]:
    """Return the tags of a cell for which `is_list` holds, and the name of its notation.

    `NotationError` if it cannot be parsed, or is an object without a key of `NAME_KEYS`.

    Examples
    --------
    >>> parse_list("['sand', 'sea']")
    (['sand', 'sea'], 'Python')
    >>> parse_list('{"choices": ["sand", "sea"]}')
    (['sand', 'sea'], 'JSON')
    """
    kind = _kind(text)
    if len(text) > MOST_CHARACTERS:
        raise NotationError(f"{kind}: it has more than {MOST_CHARACTERS:,} characters")
    tags, notation = _parse(_without_calls(text), kind)
    if "\\" in text and any(_SURROGATE.search(tag) for tag in tags):
        raise NotationError(f"{kind}: it holds half of a character (a lone surrogate)")
    return tags, notation


def _parse(text: str, kind: str) -> tuple[list[str], str]:
    if text[:1] == "-":
        lines = [line[1:].strip() for line in text.splitlines()]
        return [_unquoted(line) if _JOINED.fullmatch(line) else line for line in lines if line], "YAML"
    items = _flat(text)
    if items is None:
        _check_tokens(text, kind)
        value = _literal(text, kind)
        items = _bare(text) if value is None else (list(_tags_of(value[0], kind)), value[1])
    if items is None:
        raise NotationError(f"{kind}, but it can be read neither as JSON nor as Python")
    tags = items[0]
    if len(tags) == 1 and len(tags[0]) > 2 and tags[0][0] in _CLOSERS:
        return _flat(tags[0]) or items  # a list written twice
    return items


def _kind(text: str) -> str:
    """Return what `text` seems to be."""
    match text[:1]:
        case "[":
            return "a list of Python, JSON or numpy"
        case "{":
            return "an object, a set or a list of Postgres"
        case "(":
            return "a tuple of Python"
        case "'" | '"':
            return "quoted words"
        case "-":
            return "a list of YAML"
    return "a collection of Python"


def _without_calls(text: str) -> str:
    """Remove what Python writes around values: ``set(...)``, ``array(..., dtype=object)``, ``np.str_()``."""
    text = _SCALAR.sub(r"\1", text) if "np." in text or "numpy." in text else text
    call = _CALL.match(text)
    while call and text.endswith(")"):
        inner = text[call.end() : -1]
        end = max(map(inner.rfind, "]})")) + 1
        if not _CALL_TAIL.fullmatch(inner, end):
            return text
        text = inner[:end] or "()"
        call = _CALL.match(text)
    return text


def _check_tokens(text: str, kind: str) -> None:
    """Raise `NotationError` for a part left out, what never closes, or brackets too deep."""
    if _ELLIPSIS.search(text):
        raise NotationError(f"{kind}, which was shortened when written: it holds ...")
    open_ones: list[str] = []
    for token in _TOKEN.finditer(text):
        mark = token.group(2)
        if token.group(5) in ("'", '"'):
            raise NotationError(f"{kind}: a quote in it never closes (was it cut?)")
        if mark in _CLOSERS:
            open_ones.append(_CLOSERS[mark])
        elif mark in ("]", "}", ")") and (not open_ones or open_ones.pop() != mark):
            raise NotationError(f"{kind}: a bracket {mark} closes what is not open")
        if len(open_ones) > MOST_DEPTH:
            raise NotationError(f"{kind}: more than {MOST_DEPTH} brackets within each other")
    if open_ones:
        raise NotationError(f"{kind}: it ends before its bracket {open_ones[-1]} (was it cut?)")


def _flat(text: str) -> tuple[list[str], str] | None:
    """Return the items of a list that holds no other, and its notation; None if it is not one."""
    if text[:1] in ("'", '"'):
        return (_strings(text), "quoted words") if _JOINED.fullmatch(text) else None
    if not text.endswith(_CLOSERS.get(text[:1], "\0")):
        return None
    inner = text[1:-1]
    if not inner.strip():
        return [], "JSON" if text[0] == "[" else "Python"
    if _JOINED.fullmatch(inner):
        return _strings(inner), "JSON" if text[0] == "[" and "'" not in inner else "Python"
    if text[0] == "[" and (_SPACED.fullmatch(inner) or _NUMBERS.fullmatch(inner)):
        return _strings(inner) or inner.split(), "numpy"
    return None


def _bare(text: str) -> tuple[list[str], str] | None:
    """Return the items of ``[a, b]`` and ``{a,"b c"}``; None if there is more in it than items."""
    if text[0] not in "[{":
        return None
    inner, items, place = text[1:-1], [], 0
    while place < len(inner):
        item = _ITEM.match(inner, place)
        if item is None or item.end() == place:
            return None
        string, bare = item.group(1), (item.group(2) or "").strip()
        if bare and _NOT_BARE.search(bare):
            return None
        if string or bare not in ("", "NULL", "None", "null"):
            items.append(_unquoted(string) if string else bare)
        place = item.end()
    return [tag for tag in map(str.strip, items) if tag], "brackets" if text[0] == "[" else "Postgres"


def _strings(text: str) -> list[str]:
    found = [_unquoted(token) for token in _STRINGS.findall(text)]
    return [tag for tag in map(str.strip, found) if tag]


def _unquoted(token: str) -> str:
    """Return the text of a quoted string of JSON or Python."""
    if "\\" not in token:
        return token[1:-1]
    if token[0] == '"':
        try:
            return decode_json(token.encode(), str)
        except ValueError:
            pass  # an escape of Python
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)  # of an escape that is none, such as \d
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            return str(ast.literal_eval(token.replace("\n", "\\n").replace("\r", "\\r")))
        except (ValueError, SyntaxError):
            return token[1:-1]


def _literal(text: str, kind: str) -> tuple[Any, str] | None:
    """Return the value of JSON or of a literal of Python and which it is; None if it is neither."""
    try:
        return decode_json(text.encode(), object), "JSON"
    except ValueError:
        pass  # it may be Python's
    tokens = (token for token in _TOKEN.finditer(text) if not token.group(3))
    if any(one.group(1) and other.group(1) for one, other in pairwise(tokens)):
        # Python would join the two
        raise NotationError(f"{kind}: two quoted words follow each other without a comma")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.literal_eval(text), "Python"
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return None


def _tags_of(value: Any, kind: str) -> Iterable[str]:
    if value is None:
        return []
    if isinstance(value, bool | bytes | complex) or value is Ellipsis:
        raise NotationError(f"{kind}: {value!r} in it is no tag")
    if isinstance(value, Mapping):
        return _tags_of_object(value, kind)
    if isinstance(value, list | tuple | set | frozenset):
        return chain.from_iterable(_tags_of(item, kind) for item in value)
    tag = str(value).strip()
    return [tag] if tag else []


def _tags_of_object(value: Mapping[Any, Any], kind: str) -> Iterable[str]:
    keys = {str(key).casefold(): key for key in value}
    key = next((keys[name] for name in NAME_KEYS if name in keys), None)
    if key is not None:
        return _tags_of(value[key], kind)
    if all(isinstance(each, int | float) and each in (0, 1) for each in value.values()):
        return [str(name) for name, each in value.items() if each]
    raise NotationError(
        f"{kind}: its keys are {', '.join(map(repr, list(value)[:6]))}, and none is {', '.join(NAME_KEYS)}"
    )
