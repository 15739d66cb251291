"""Text for messages: counts in words, and strangers' names in a form that is safe to show."""

import re
import unicodedata
from collections.abc import Callable, Sequence

_NOT_ASCII = re.compile(r"[^ -~]")
_ACTING = {"Cc", "Cf", "Cs", "Zl", "Zp"}  # controls, formats, lone surrogates, line and paragraph separators
_MOST_REASON = 200  # characters of another error
_MOST_QUOTED = 60  # characters of a name in a message
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


def quoted(text: str) -> str:
    r"""Return `text` as `repr` does, which escapes control characters; a long one is cut.

    Examples
    --------
    >>> print(quoted("a\nb"))
    'a\nb'
    >>> print(quoted("sky" * 1000))
    'skyskyskyskyskyskyskyskyskyskyskyskyskyskyskyskyskyskyskysky'... (3,000 characters)
    """
    if len(text) <= _MOST_QUOTED:
        return repr(text)
    return f"{text[:_MOST_QUOTED]!r}... ({len(text):,} characters)"


def named(path: object) -> str:
    """Return the name of a file for a message: as it is, or as `repr` does if it has control characters."""
    text = str(path)
    return text if text.isprintable() else repr(text)


def shortened(reason: Exception) -> str:
    """Return the message of another library's error for one of ours: it may repeat what a file holds."""
    text = str(reason)
    return named(text if len(text) <= _MOST_REASON else f"{text[:_MOST_REASON]}...")


def listed(names: Sequence[str], most: int = 12) -> str:
    """Return `names` quoted and joined by commas; those after the first `most` are counted."""
    text = ", ".join(map(quoted, names[:most]))
    return text if len(names) <= most else f"{text} and {len(names) - most:,} more"
