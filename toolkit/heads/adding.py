"""Scores of new tags learned from some rows only, to measure how well a fitted head would score them."""

import copy
from collections.abc import Callable
from typing import Any

import scipy.sparse as sp

from toolkit.arrays.types import Float32Array
from toolkit.heads.base import Head
from toolkit.heads.ensemble import Ensemble

Scorer = Callable[[Any], Float32Array]


def new_tag_scorer(head: Head, X: Any, Y: sp.csr_array) -> Scorer:
    """Return a function that scores rows (n, D) for the new tags Y (N, M) as `head` would once it added them.

    The head itself stays as it is. One that `keeps_rows` can add tags to those rows only, so it is replaced
    by a head fitted on X with the options it chose.

    `HeadError` if the head, or a member of it, cannot learn more tags.
    """
    if isinstance(head, Ensemble):
        ensemble, members = head, {name: new_tag_scorer(one, X, Y) for name, one in head.members_.items()}
        return lambda rows: ensemble.mix({name: score(rows) for name, score in members.items()})
    if head.keeps_rows:
        return type(head)(**head.chosen()).fit(X, Y).scores
    extended, known = copy.copy(head).add_tags(X, Y), head.n_tags_
    return lambda rows: extended.scores(rows)[:, known:]
