"""Scores for new tags learned from some of the rows, to measure a head before the tags are added to it."""

import copy
from collections.abc import Callable
from typing import Any

import scipy.sparse as sp

from toolkit.arrays.types import Float32Array
from toolkit.heads.base import Head
from toolkit.heads.ensemble import Ensemble


def new_tag_scorer(head: Head, X: Any, Y: sp.csr_array) -> Callable[[Any], Float32Array]:
    """Return a function that scores rows (n, D) for the new tags Y (N, M), learned from X (N, D) by a copy.

    A head that `keeps_rows` can add tags to those rows only. A new head, fitted on X with the options it
    chose, scores in its place. `HeadError` if the head, or a member of it, cannot learn more tags.
    """
    if isinstance(head, Ensemble):
        scorers = {name: new_tag_scorer(member, X, Y) for name, member in head.members_.items()}
        return lambda rows: head.mix({name: score(rows) for name, score in scorers.items()})
    if head.keeps_rows:
        return type(head)(**head.chosen()).fit(X, Y).scores
    extended, first = copy.copy(head).add_tags(X, Y), head.n_tags_
    return lambda rows: extended.scores(rows)[:, first:]
