"""A weighted sum of other heads' logits, its coefficients learned on rows that were not fitted on."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

import numpy as np
import scipy.sparse as sp
from annotated_types import Ge
from numpy.typing import NDArray
from scipy.special import expit

from toolkit.arrays.features import Matrix, blocks, take
from toolkit.arrays.types import Float32Array
from toolkit.errors import HeadError, OptionError
from toolkit.evaluation.calibration import clipped_logits, non_negative_logistic, tuning_rows
from toolkit.files.json import typed
from toolkit.heads.base import Head, HeadBase, Val, hold_out
from toolkit.runtime.messages import counted
from toolkit.runtime.progress import Progress, silent

_BLOCK = 4096


@dataclass(frozen=True)
class _Facts:
    coefficients: tuple[float, ...]


@dataclass(kw_only=True, eq=False, repr=False)
class Ensemble(HeadBase):
    """``sigmoid(sum_h a_h logit(score_h) + b)`` with ``a_h >= 0``, pooled over all tags.

    A logistic regression of the truth on the heads' logits (Platt scaling and stacked generalisation in one)
    gives the coefficients: they calibrate and weight each head, and a useless head gets 0.

    Without validation rows the coefficients are learned on a stratified hold-out of 15 % of the rows, and the
    members are then fitted on all rows with the options they chose.

    Parameters
    ----------
    members : tuple of str
        Names of heads. `fit` makes them with their default options.
    coefficients : tuple of float, optional
        One for each member, then the intercept. None learns them on validation rows.
    seed : int
        Of the hold-out, and of the members that have a seed.

    Attributes
    ----------
    coefficients_ : tuple of float
        The a_h and b in use.
    members_ : dict of str to Head
    """

    name: ClassVar[str] = "ensemble"
    uses_views: ClassVar[bool] = True

    members: tuple[str, ...] = ("mlp", "logreg", "knn")
    coefficients: tuple[float, ...] | None = None
    seed: Annotated[int, Ge(0)] = 0

    def _fit(self, X: Matrix, Y: sp.csr_array, val: Val, views: list[Any], progress: Progress) -> None:
        self.check_members()
        options: dict[str, dict[str, Any]] = {}
        if val is None:
            rest, held = hold_out(Y, self.seed)
            members, pair = dict[str, Head](), (take(X, held), Y[held])
            if len(held):
                more = {"val": pair, "views": [take(view, rest) for view in views], "progress": progress}
                members = self._fit_members({}, take(X, rest), Y[rest], **more)
            self._weigh(members, *pair)
            options = {name: head.chosen() for name, head in members.items()}
        members = self._fit_members(options, X, Y, val=val, views=views, progress=progress)
        if val is not None:
            self._weigh(members, *val)
        self.attach(members)

    def _fit_members(
        self, options: Mapping[str, dict[str, Any]], X: Matrix, Y: sp.csr_array, **more: Any
    ) -> dict[str, Head]:
        from toolkit.heads.registry import get_head

        out: dict[str, Head] = {}
        for name in self.members:
            kind = get_head(name)
            own = options.get(name) or ({"seed": self.seed} if "seed" in kind().get_params() else {})
            out[name] = kind(**own).fit(X, Y, **more)
        return out

    def _weigh(self, members: Mapping[str, Head], X: Matrix, Y: sp.csr_array) -> None:
        """Learn the coefficients on a sample of the rows X (n, D) and Y (n, L)."""
        rows = tuning_rows(*Y.shape, self.seed)
        self.combine(_scores_of(members, take(X, rows)), Y[rows])

    def combine(self, scores: Mapping[str, Float32Array], Y: sp.csr_array) -> Self:
        """Learn the coefficients from members' scores (n, L) of rows not fitted on, with tags Y (n, L)."""
        self.check_members()
        rows = tuning_rows(*Y.shape, self.seed)
        truth = Y[rows].toarray().ravel()
        if self.coefficients is not None:
            self.coefficients_ = self.coefficients
        elif truth.all() or not truth.any():  # of one class or none, nothing can be learned: equal weights
            self.coefficients_ = (*[1 / len(self.members)] * len(self.members), 0.0)
        else:
            logits = np.stack([clipped_logits(scores[name][rows]).ravel() for name in self.members], axis=1)
            self.coefficients_ = non_negative_logistic(logits.astype(np.float64), truth)
        return self

    def attach(self, members: Mapping[str, Head]) -> Self:
        """Use fitted heads as the members; `HeadError` if one is missing or has other columns."""
        missing = [name for name in self.members if name not in members]
        if missing:
            raise HeadError(f"the ensemble's member {missing[0]!r} is not among {', '.join(members)}")
        self.members_ = {name: members[name] for name in self.members}
        sizes = {(head.n_features_, head.n_tags_) for head in self.members_.values()}
        if len(sizes) != 1:
            raise HeadError(
                f"the ensemble's members were fitted on different features or tags: {sorted(sizes)}"
            )
        self.n_features_, self.n_tags_ = sizes.pop()
        return self

    def mix(self, scores: Mapping[str, Float32Array], out: Float32Array | None = None) -> Float32Array:
        """Return the ensemble's scores (n, L) float32 from its members' (n, L), written to `out` if passed.

        The arrays may be memory-mapped files: they are read a block of rows at a time.
        """
        *slopes, intercept = self.coefficients_
        first = scores[self.members[0]]
        out = np.empty(first.shape, np.float32) if out is None else out
        for start in range(0, len(first), _BLOCK):
            block = slice(start, start + _BLOCK)
            total = np.full(first[block].shape, intercept, np.float32)
            for name, slope in zip(self.members, slopes, strict=True):
                if slope:
                    total += np.float32(slope) * clipped_logits(scores[name][block])
            expit(total, out=out[block])
        return out

    def scores(self, X: Any) -> Float32Array:
        """Return the mixed scores of X (N, D): (N, L) float32."""
        rows = self._check_matrix(X)  # first: an unfitted head has no members_
        return self.mix(_scores_of(self.members_, rows))

    def add_tags(self, X: Any, Y: sp.csr_array, *, progress: Progress = silent) -> Self:
        """Add the tags Y (N, M) of X (N, D) to every member; the coefficients stay.

        If one member cannot learn them, no member changes.
        """
        self._check_fitted()
        copies = {name: copy.copy(head) for name, head in self.members_.items()}
        return self.attach({name: head.add_tags(X, Y, progress=progress) for name, head in copies.items()})

    def weights(self) -> dict[str, float]:
        """Return each member's share of the sum of coefficients."""
        slopes = np.array(self.coefficients_[:-1])
        return dict(zip(self.members, (slopes / (slopes.sum() or 1)).tolist(), strict=True))

    def chosen(self) -> dict[str, Any]:
        """Return the options with the coefficients in use."""
        if not hasattr(self, "coefficients_"):
            self._check_fitted()
        return self.get_params() | {"coefficients": self.coefficients_}

    def check_members(self) -> None:
        """Raise `OptionError` unless members are other heads, each once, as many as there are slopes."""
        if len(set(self.members)) != len(self.members) or not self.members or self.name in self.members:
            raise OptionError(
                f"option 'members' of head 'ensemble' got {','.join(self.members)!r}; "
                "it takes names of other heads, each once, separated by commas"
            )
        if self.coefficients is not None and len(self.coefficients) != len(self.members) + 1:
            raise OptionError(
                f"option 'coefficients' of head 'ensemble' has {counted(len(self.coefficients), 'number')}; "
                f"it takes {len(self.members) + 1}: one for each member, then the intercept"
            )

    def save(self, folder: Path) -> None:
        """Write ``head.json``, and each member into a folder with its name."""
        super().save(folder)
        for name, head in self.members_.items():
            (folder / name).mkdir(exist_ok=True)
            head.save(folder / name)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read an ensemble and its members, none of which may be an ensemble or lie outside `folder`."""
        from toolkit.heads.registry import load_head, saved_name

        head = super().load(folder)
        sizes = head.n_features_, head.n_tags_
        nested = [name for name in head.members if saved_name(folder / name) == cls.name]
        if nested:
            raise HeadError(f"{folder} has an ensemble as its member {nested[0]!r}; fit it again")
        head.attach({name: load_head(folder / name) for name in head.members})
        if (head.n_features_, head.n_tags_) != sizes:
            raise HeadError(
                f"{folder} is an ensemble of {counted(sizes[0], 'feature')} and {counted(sizes[1], 'tag')}, "
                f"but its members are of {head.n_features_:,} and {head.n_tags_:,}; fit it again"
            )
        return head

    @classmethod
    def _current(cls, options: dict[str, Any]) -> dict[str, Any]:
        if options.pop("widths", ()):  # the columns of each store, in version 0.1
            raise HeadError(
                "this head averages heads of several stores (--join average), which is no longer possible; "
                "fit it again with one store, or with several side by side"
            )
        return options

    def _facts(self) -> dict[str, Any]:
        return {"coefficients": self.coefficients_}

    def _restore(self, arrays: dict[str, NDArray[Any]], facts: dict[str, Any]) -> None:
        self.check_members()
        outside = [name for name in self.members if name.startswith(".") or Path(name).name != name]
        if outside:
            raise ValueError(f"the member {outside[0]!r} is not in its folder")
        self.coefficients_ = typed(facts, _Facts).coefficients
        if len(self.coefficients_) != len(self.members) + 1:
            raise ValueError(
                f"it has {counted(len(self.coefficients_), 'coefficient')}; with "
                f"{counted(len(self.members), 'member')} they must be {len(self.members) + 1}"
            )


def _scores_of(members: Mapping[str, Head], X: Matrix) -> dict[str, Float32Array]:
    """Return each member's scores (n, L) for X (n, D), reading a block of rows at a time."""
    out = {name: np.empty((len(X), head.n_tags_), np.float32) for name, head in members.items()}
    for part, rows in blocks(X, _BLOCK):
        for name, head in members.items():
            out[name][part] = head.scores(rows)
    return out
