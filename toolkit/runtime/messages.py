"""Text for messages: counts in words, and strangers' names in a form that is safe to show."""

import re
import unicodedata
from collections.abc import Callable

_NOT_ASCII = re.compile(r"[^ -~]")
_ACTING = {"Cc", "Cf", "Cs", "Zl", "Zp"}  # controls, formats, lone surrogates, line and paragraph separators
_JOINERS = "\u200c\u200d"  # within words of Persian and Hindi, within emoji


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return ``1 image``, ``35,000 images`` and the like; `plural` where it needs more than an s."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def _in_python(character: str) -> str:
    return repr(character)[1:-1]


def printable(text: str, escape: Callable[[str], str] = _in_python) -> str:
    r"""Return `text` in one line, with `escape` applied to what acts on a display instead of being seen.

    These are line breaks, escape sequences of terminals, marks that reverse the direction of writing,
    invisible characters, and bytes of file names that are no text: the Unicode categories Cc, Cf, Cs, Zl and
    Zp. Joiners stay where letters and emoji need them, between characters that are not ASCII.

    Examples
    --------
    >>> printable("\x1b[1mphoto\u202egpj.exe\n") == r"\x1b[1mphoto\u202egpj.exe\n"
    True
    """

    def shown(match: re.Match[str]) -> str:
        return escape(match.group()) if _acts(text, match.start()) else match.group()

    return _NOT_ASCII.sub(shown, text)


def _acts(text: str, place: int) -> bool:
    """Return whether the character at `place` acts on a display instead of being seen."""
    if text[place] in _JOINERS:
        return not (_is_joined(text[place - 1 : place]) and _is_joined(text[place + 1 : place + 2]))
    return unicodedata.category(text[place]) in _ACTING


def _is_joined(neighbour: str) -> bool:
    return neighbour > "\x7f" and unicodedata.category(neighbour) not in _ACTING
