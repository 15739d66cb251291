"""Which character seems to join the tags of cells that were not split."""

import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from toolkit.labels.space import LabelSpace
from toolkit.runtime.messages import counted

MARKS = ("|", ";", "\t", "\n", ",", "，", "、")
"""What tags scarcely hold: it is asked about wherever a cell has it."""

_FEWER = 0.8  # of the tags are left at most, if splitting is right
_SPLIT_ROWS = 0.1  # of the rows with tags: with more, the separator in use is one
_MOST_MARKS = 30


@dataclass(frozen=True)
class Guess:
    """A character that may join tags, the rows that hold it, and how many tags splitting would leave."""

    mark: str
    rows: int
    tags: int


def separator_note(tags: Sequence[str], rows: Sequence[int], n_split: int, separator: str) -> str | None:
    """Return a question about another separator, or None.

    Parameters
    ----------
    tags : sequence of str
        Distinct.
    rows : sequence of int
        In how many rows each is the only tag.
    n_split : int
        Number of rows with several tags.
    separator : str
        That the rows were split at.
    """
    alone = {tag: number for tag, number in zip(tags, rows, strict=True) if number}
    found = Counter[str]()
    for tag, number in alone.items():
        found.update({mark: number for mark in MARKS if mark in tag and mark not in separator})
    for mark, number in found.most_common(1):
        return _question(separator, mark, number)
    if n_split > _SPLIT_ROWS * (n_split + sum(alone.values())):
        return None
    guess = guess_separator(alone)
    if guess is None:
        return None
    return f"{_question(separator, guess.mark, guess.rows)} {len(alone):,} tags would be {guess.tags:,}"


def _question(separator: str, mark: str, number: int) -> str:
    rows = counted(number, "row")
    return f"{rows} without {separator!r} in the tags but with {mark!r}; is that the separator (--separator)?"


def guess_separator(alone: dict[str, int]) -> Guess | None:
    """Return the character that seems to join tags, decided by how their pieces repeat.

    Where it joins tags, splitting leaves far fewer, or most pieces are tags by themselves or stand first in
    one and last in another. The words of real names, such as ``tennis court``, do neither.

    Examples
    --------
    >>> guess_separator({"sea sand": 2, "sand": 1, "sea": 3, "ship sea sand": 1})
    Guess(mark=' ', rows=3, tags=3)
    >>> guess_separator({"tennis court": 2, "golf course": 1, "sea": 3})
    """
    guesses = [guess for mark in _marks(alone) if (guess := _try(mark, alone)) is not None]
    return min(guesses, key=lambda guess: (guess.tags, -guess.rows), default=None)


def _marks(alone: dict[str, int]) -> list[str]:
    """Return the characters of the tags that are neither letters nor digits, the most frequent ones."""
    count = Counter(character for tag in alone for character in set(tag))
    marks = (mark for mark, _ in count.most_common() if unicodedata.category(mark)[0] not in "LNMC")
    return [mark for mark, _ in zip(marks, range(_MOST_MARKS), strict=False)]


def _pieces(tag: str, mark: str) -> list[str]:
    return [piece for piece in map(str.strip, tag.split(mark)) if piece]


def _try(mark: str, alone: dict[str, int]) -> Guess | None:
    joined = {tag: pieces for tag in alone if mark in tag and len(pieces := _pieces(tag, mark)) > 1}
    if len(joined) < 2:
        return None
    whole = set(alone) - set(joined)
    words = {word for pieces in joined.values() for word in pieces}
    first, last = ({pieces[place] for pieces in joined.values()} for place in (0, -1))
    free = (words & whole) | (first & last)
    left = len(words | whole)
    if left > _FEWER * len(alone) and 2 * len(free) <= len(words):
        return None
    return Guess(mark, sum(alone[tag] for tag in joined), left)


def joined_like(tags: Sequence[str], space: LabelSpace) -> str | None:
    """Return the character at which most tags that are not in `space` split into tags that are, or None.

    Examples
    --------
    >>> joined_like(["sea sand", "sea"], LabelSpace(("sea", "sand")))
    ' '
    """
    unknown = [tag for tag in tags if space.column(tag) is None]
    splits: Counter[str] = Counter()
    for tag in unknown:
        for mark in {each for each in tag if unicodedata.category(each)[0] not in "LN"}:
            pieces = _pieces(tag, mark)
            splits[mark] += len(pieces) > 1 and bool((space.columns(pieces) >= 0).all())
    return next((mark for mark, number in splits.most_common(1) if 2 * number > len(unknown)), None)
