"""How well a fitted head would do at new tags: their columns learned from some rows, to score others."""

import copy
from collections.abc import Callable
from typing import Any

import scipy.sparse as sp

from toolkit.errors import HeadError
from toolkit.heads.base import Array
from toolkit.heads.ensemble import Ensemble

Scorer = Callable[[Any], Array]


def new_tag_scorer(head: Any, X: Any, Y: sp.csr_array) -> Scorer:
    """Return what scores rows (n, D) for the new tags (n, M) as `head` would after ``add_tags(X, Y)``.

    The head itself is left as it is. One that keeps the rows it was fitted on (it has `add`) can add tags to
    these only; here such a head of the rows X, with the options chosen, takes its place.

    Parameters
    ----------
    head : Head
        Fitted.
    X : array (N, D) or Features
    Y : csr_array (N, M) bool
        The new tags.

    Raises
    ------
    HeadError
        The head, or a member of it, cannot learn more tags.
    """
    if not hasattr(head, "add_tags"):  # of another package: the protocol does not ask for it
        raise HeadError(f"head {head.name!r} cannot learn more tags; fit it again with all of them")
    if isinstance(head, Ensemble):
        members = {
            name: new_tag_scorer(member, head.columns(X, name), Y) for name, member in head.members_.items()
        }
        return lambda rows: head.mix(
            {name: score(head.columns(rows, name)) for name, score in members.items()}
        )
    if hasattr(head, "add"):
        return type(head)(**head.chosen()).fit(X, Y).scores  # type: ignore[no-any-return]
    grown, known = copy.copy(head).add_tags(X, Y), head.n_tags_
    return lambda rows: grown.scores(rows)[:, known:]
