"""The weighted mean of other heads' calibrated logits, the weights learned on rows the heads never saw."""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

import numpy as np
import scipy.sparse as sp
from annotated_types import Ge
from numpy.typing import NDArray
from scipy.special import expit

from toolkit.arrays.features import Features, Matrix, blocks, take
from toolkit.errors import HeadError, OptionError
from toolkit.evaluation.calibration import clipped_logits, non_negative_logistic, tuning_rows
from toolkit.heads.base import Array, Head, HeadBase, Val, check_fit, check_val, hold_out
from toolkit.heads.options import check_options
from toolkit.runtime.messages import counted
from toolkit.runtime.progress import Progress, silent

BLOCK_MARK = "@"  # in a member's name before the block of columns it is fitted on
_BLOCK = 4096


class Ensemble(HeadBase):
    """``sigmoid(sum_h a_h logit(score_h) + b)`` with ``a_h >= 0``, pooled over all tags.

    The coefficients are one logistic regression of the truth on the heads' logits (Platt scaling and stacked
    generalisation in one): they calibrate each head and weigh it, and a head of no use gets 0.

    Parameters
    ----------
    members : tuple of str
        Names of heads. `fit` makes them with their default options. ``knn@1`` is fitted on the second of the
        blocks of columns that `widths` says.
    coefficients : tuple of float, optional
        One a member, then the intercept. Given, nothing is learned on validation rows. None learns them.
    widths : tuple of int
        Numbers of columns X is made of, such as those of several stores side by side.
    seed : int
        Of the rows held out where no validation rows are given, and of the members that have a seed.

    Attributes
    ----------
    coefficients_ : tuple of float
        The a_h and b in use.
    members_ : dict of str to Head
        The fitted members.
    """

    name: ClassVar[str] = "ensemble"
    uses_views: ClassVar[bool] = True

    def __init__(
        self,
        *,
        members: tuple[str, ...] = ("mlp", "logreg", "knn"),
        coefficients: tuple[float, ...] | None = None,
        widths: tuple[Annotated[int, Ge(1)], ...] = (),
        seed: Annotated[int, Ge(0)] = 0,
    ) -> None:
        self.members = members
        self.coefficients = coefficients
        self.widths = widths
        self.seed = seed

    def fit(
        self,
        X: Any,
        Y: sp.csr_array,
        *,
        val: Val | None = None,
        views: Sequence[Any] | None = None,
        progress: Progress = silent,
    ) -> Self:
        """Fit the members on X (N, D) and Y (N, L), and the coefficients on their scores of `val`.

        Without `val` both are learned on a stratified hold-out of 15 % of the rows, and the members then
        fitted on all rows with the options they chose. Members share this process. `Features` too large to
        load are handed to them unread.

        Raises
        ------
        HeadError
            If the arrays do not fit together or hold NaN.
        OptionError
            If an option has a value that is not allowed, or a member is no head.
        """
        check_options(self)
        self.check_members()
        features, labels = check_fit(X, Y)
        pair = None if val is None else check_val(val, features.shape[1], labels.shape[1])
        self.n_features_, self.n_tags_ = features.shape[1], labels.shape[1]
        if pair is not None:
            members = self._fitted(features, labels, {}, pair, views, progress)
            self._weigh(members, *pair)
            return self.attach(members)
        options: dict[str, dict[str, Any]] = {}
        rest, held = hold_out(labels, self.seed)
        if len(held):
            pair = (take(features, held), labels[held])
            own = None if views is None else [take(view, rest) for view in views]
            found = self._fitted(take(features, rest), labels[rest], {}, pair, own, progress)
            self._weigh(found, *pair)
            options = {name: head.chosen() for name, head in found.items()}
        else:
            self._even()
        return self.attach(self._fitted(features, labels, options, None, views, progress))

    def add_tags(self, X: Any, Y: sp.csr_array, *, progress: Progress = silent) -> Self:
        """Have every member learn the further tags Y (N, M) of X (N, D); the coefficients stay.

        Raises
        ------
        HeadError
            If the ensemble is not fitted, or a member cannot add tags or not from these arrays; the
            ensemble is then as it was.
        """
        self._check_fitted()
        # heads put new state in the place of old: the members in use stay whole if a later one fails
        more: dict[str, Any] = {name: copy.copy(head) for name, head in self.members_.items()}
        return self.attach(
            {name: head.add_tags(self.columns(X, name), Y, progress=progress) for name, head in more.items()}
        )

    def combine(self, scores: Mapping[str, Array], Y: sp.csr_array) -> Self:
        """Learn the coefficients from the members' scores (n, L) of rows they never saw, and their truth Y.

        Parameters
        ----------
        scores : mapping of member name to ndarray (n, L) float32
        Y : csr_array (n, L) bool
        """
        self.check_members()
        self.n_tags_ = Y.shape[1]
        if self.coefficients is not None:
            self.coefficients_ = self.coefficients
            return self
        rows = tuning_rows(*Y.shape, self.seed)
        inputs = np.stack([clipped_logits(scores[name][rows]).ravel() for name in self.members], axis=1)
        truth = Y[rows].toarray().ravel()
        if truth.all() or not truth.any():  # nothing to tell apart
            self._even()
            return self
        self.coefficients_ = non_negative_logistic(inputs.astype(np.float64), truth)
        return self

    def attach(self, members: Mapping[str, Head]) -> Self:
        """Take fitted heads as the members; `HeadError` if one is missing or of other columns."""
        missing = [name for name in self.members if name not in members]
        if missing:
            raise HeadError(f"the ensemble's member {missing[0]!r} is not among {', '.join(members)}")
        self.members_ = {name: members[name] for name in self.members}
        sizes = {
            (sum(self.widths) if self._block(name) is not None else head.n_features_, head.n_tags_)  # type: ignore[attr-defined]
            for name, head in self.members_.items()
        }
        if len(sizes) != 1:
            raise HeadError(
                f"the ensemble's members were fitted on different features or tags: {sorted(sizes)}"
            )
        self.n_features_, self.n_tags_ = next(iter(sizes))
        return self

    def _block(self, member: str) -> int | None:
        """Return the number of the block of columns a member is fitted on; None for all columns."""
        block = member.rpartition(BLOCK_MARK)[2] if BLOCK_MARK in member else ""
        return int(block) if block.isdecimal() else None

    def columns(self, X: Any, member: str) -> Any:
        """Return the columns of X (N, D) that a member sees."""
        block = self._block(member)
        if block is None:
            return X
        if isinstance(X, Features):
            return X.part(block)
        return X[:, sum(self.widths[:block]) : sum(self.widths[: block + 1])]

    def mix(self, scores: Mapping[str, Array], out: Array | None = None) -> Array:
        """Return the ensemble's scores (n, L) float32 from its members' (n, L), in `out` where it is given.

        All of them may be mapped files: they are gone through a block of rows at a time.
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

    def scores(self, X: Any) -> Array:
        """Return the mixed scores of X (N, D): (N, L) float32."""
        features = self._check_X(X)
        return self.mix(self._scores_of(self.members_, features))

    def _scores_of(self, members: Mapping[str, Head], X: Any) -> dict[str, Array]:
        """Return each member's scores (n, L) of X (n, D), of which a block of rows is read at a time."""
        parts = [
            {name: head.scores(self.columns(rows, name)) for name, head in members.items()}
            for _, rows in blocks(X, _BLOCK)
        ]
        none = {name: np.empty((0, self.n_tags_), np.float32) for name in members}
        return {name: np.concatenate([part[name] for part in (none, *parts)]) for name in members}

    def weights(self) -> dict[str, float]:
        """Return each member's share of the sum of coefficients."""
        slopes = np.array(self.coefficients_[:-1])
        return dict(zip(self.members, (slopes / (slopes.sum() or 1)).tolist(), strict=True))

    def chosen(self) -> dict[str, Any]:
        """Return the options with the coefficients in use."""
        if not hasattr(self, "coefficients_"):
            self._check_fitted()
        return self.get_params() | {"coefficients": self.coefficients_}

    def save(self, folder: Path) -> None:
        """Write ``head.json``, and each member into a folder of its name."""
        super().save(folder)
        for name, head in self.members_.items():
            (folder / name).mkdir(exist_ok=True)
            head.save(folder / name)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read an ensemble and its members."""
        from toolkit.heads.registry import load_head

        head = super().load(folder)
        return head.attach({name: load_head(folder / name) for name in head.members})

    def check_members(self) -> None:
        """Raise `OptionError` unless the members are other heads, each once, and fit the coefficients."""
        if len(set(self.members)) != len(self.members) or not self.members or self.name in self.members:
            raise OptionError(
                f"option 'members' of head 'ensemble' got {','.join(self.members)!r}; "
                "it takes names of other heads, each once, separated by commas"
            )
        blocks = [block for block in map(self._block, self.members) if block is not None]
        if blocks and max(blocks) >= len(self.widths):
            raise OptionError(
                f"option 'members' of head 'ensemble' names block {max(blocks)}, of {len(self.widths)} in "
                f"'widths'; blocks count from 0"
            )
        if self.coefficients is not None and len(self.coefficients) != len(self.members) + 1:
            raise OptionError(
                f"option 'coefficients' of head 'ensemble' has {counted(len(self.coefficients), 'number')}; "
                f"it takes {len(self.members) + 1}: one a member, then the intercept"
            )

    def _weigh(self, members: Mapping[str, Head], X: Matrix, Y: sp.csr_array) -> None:
        """Learn the coefficients on X (n, D) and Y (n, L), scoring no more rows than are learned from."""
        rows = tuning_rows(*Y.shape, self.seed)
        X, Y = take(X, rows), Y[rows]
        self.combine(self._scores_of(members, X), Y)

    def _even(self) -> None:
        self.coefficients_ = self.coefficients or (*[1 / len(self.members)] * len(self.members), 0.0)

    def _fitted(
        self,
        X: Matrix,
        Y: sp.csr_array,
        options: Mapping[str, dict[str, Any]],
        val: tuple[Matrix, sp.csr_array] | None,
        views: Sequence[Any] | None,
        progress: Progress,
    ) -> dict[str, Head]:
        from toolkit.heads.registry import get_head

        out: dict[str, Head] = {}
        for name in self.members:
            kind = get_head(name if self._block(name) is None else name.rpartition(BLOCK_MARK)[0])
            given = options.get(name) or ({"seed": self.seed} if hasattr(kind(), "seed") else {})
            more: dict[str, Any] = {}
            if views is not None and getattr(kind, "uses_views", False):
                more["views"] = [self.columns(view, name) for view in views]
            if val is not None:
                more["val"] = (self.columns(val[0], name), val[1])
            out[name] = kind(**given).fit(self.columns(X, name), Y, progress=progress, **more)
        return out

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return {}

    def _facts(self) -> dict[str, Any]:
        return {"coefficients": self.coefficients_}

    def _restore(self, arrays: dict[str, NDArray[Any]], facts: dict[str, Any]) -> None:
        self.coefficients_ = tuple(facts["coefficients"])
