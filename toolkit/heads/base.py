"""The protocol of heads, and a base class that checks arguments and saves as json and npy, without pickle.

A new head is one file with a class that inherits `HeadBase`, and one line in `toolkit.heads.registry`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Protocol, Self

import numpy as np
import scipy.sparse as sp
from msgspec import Meta
from numpy.typing import NDArray

from toolkit.arrays.features import Features, Matrix, finite, loaded
from toolkit.arrays.types import BoolArray, Float32Array, RowNumbers
from toolkit.errors import HeadError, OptionError
from toolkit.evaluation.splits import stratified_split
from toolkit.files.json import read_json, write_json
from toolkit.files.npy import ANYTHING, Expected, read_array
from toolkit.heads.options import check_options, option_types, options_from_json
from toolkit.runtime.messages import counted, shortened
from toolkit.runtime.progress import Progress, silent

HOLD_OUT = 0.15
_NAME = re.compile(r"\w[\w.-]*")  # of an array: its file lies in the folder of the head
Size = Annotated[int, Meta(ge=1, le=2**24)]
LARGEST = 1e12  # of a saved number: products of larger ones overflow float32


@dataclass(frozen=True)
class HeadDocument:
    """What ``head.json`` holds; see `HeadBase.save`."""

    head: str
    options: dict[str, Any]
    facts: dict[str, Any]
    arrays: list[str]
    n_features: Size
    n_tags: Size


Val = tuple[Any, sp.csr_array] | None  # validation rows X (n, D), an array or `Features`, and tags Y (n, L)
Views = Sequence[Any] | None  # arrays or `Features` (N, D)


class Head(Protocol):
    """A multi-label classifier on cached features.

    The constructor takes keyword options only and just stores them; learned state ends in an underscore.

    Attributes
    ----------
    name : str
        The name in the registry and in messages.
    uses_views : bool
        Whether `fit` learns from `views`.
    keeps_rows : bool
        Whether the head keeps the rows of `fit`, so that tags can be added to these rows only.
    n_features_, n_tags_ : int
        Numbers of columns of X and Y; set by `fit`.
    """

    name: ClassVar[str]
    uses_views: ClassVar[bool]
    keeps_rows: ClassVar[bool]
    n_features_: int
    n_tags_: int

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the constructor's options by name."""

    def set_params(self, **options: Any) -> Self:
        """Set options by name; `HeadError` on an unknown one."""

    def fit(
        self, X: Any, Y: sp.csr_array, *, val: Val = None, views: Views = None, progress: Progress = silent
    ) -> Self:
        """Learn from X (N, D) float16/32 and Y (N, L) CSR; a second call starts from scratch.

        `HeadError` if the arrays do not fit together or hold NaN or infinity, `OptionError` if an option's
        value is not allowed.

        Parameters
        ----------
        X : array or Features
            `Features` past `IN_MEMORY` bytes are read in blocks; numpy reads them whole, as an array.
        Y : csr_array
        val : (X, Y), optional
            Rows to choose options on that are None (C, k, the best epoch, ...). Without them a seeded 15 % of
            the rows are held out for that, and the head is then fitted on all rows.
        views : sequence of array or Features (N, D), optional
            The same rows, augmented. A head whose `uses_views` is False ignores them.
        """

    def scores(self, X: Any) -> Float32Array:
        """Return scores (N, L) float32 in [0, 1], columns in the order of Y's; an empty X gives (0, L)."""

    def chosen(self) -> dict[str, Any]:
        """Return the options with every choice made by `fit` filled in, for a refit on more rows."""

    def add_tags(self, X: Any, Y: sp.csr_array, *, progress: Progress = silent) -> Self:
        """Learn the tags Y (N, M) from X (N, D) as columns after the present ones, whose scores stay equal.

        `HeadError` if the head cannot do that.
        """

    @property
    def history(self) -> list[dict[str, Any]]:
        """The epochs of the fit, or the options it tried; may be empty."""

    def diagnostics(self) -> dict[str, Any]:
        """Return measures of the fit's quality, such as convergence, in values that json can hold."""

    def save(self, folder: Path) -> None:
        """Write ``head.json`` and ``*.npy`` into an existing folder; nothing is pickled."""

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote; the scores are bit-equal."""


class HeadBase:
    """Base of heads: an estimator of scikit-learn, saved as json and npy.

    A subclass is a dataclass (``kw_only=True, eq=False, repr=False``) whose fields are its options. It sets
    `name` and defines `_fit`, `scores`, `_arrays`, `_facts` and `_restore`. Since its folder may come from a
    stranger, it should define `_expected` too.
    """

    name: ClassVar[str]
    uses_views: ClassVar[bool] = False
    keeps_rows: ClassVar[bool] = False
    n_features_: int
    n_tags_: int

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the constructor's options and their values."""
        return {name: getattr(self, name) for name in option_types(type(self))}

    def set_params(self, **options: Any) -> Self:
        """Set options by name; an unknown one raises `HeadError` naming those allowed."""
        known = option_types(type(self))
        for name, value in options.items():
            if name not in known:
                raise HeadError(f"head {self.name!r} has no option {name!r}; it has {', '.join(known)}")
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.get_params().items())})"

    def fit(
        self, X: Any, Y: sp.csr_array, *, val: Val = None, views: Views = None, progress: Progress = silent
    ) -> Self:
        """Check the options and the arrays, then learn; see `Head.fit`."""
        check_options(self)
        features, labels = check_fit(X, Y)
        D, L = features.shape[1], labels.shape[1]
        pair = None if val is None else check_val(val, D, L)
        used = list(views or ()) if self.uses_views else []
        for number, view in enumerate(used, start=1):
            if np.shape(view) != features.shape:
                shapes = f"{np.shape(view)}, the plain rows {features.shape}"
                raise HeadError(f"view {number} has shape {shapes}; embed it again")
        self._fit(features, labels, pair, used, progress)
        self.n_features_, self.n_tags_ = D, L
        return self

    def _fit(self, X: Matrix, Y: sp.csr_array, val: Val, views: list[Any], progress: Progress) -> None:
        """Set the learned state; all arguments are checked, `val` against X and Y."""
        raise NotImplementedError

    def scores(self, X: Any) -> Float32Array:
        """Return scores (N, L) float32 in [0, 1] for X (N, D)."""
        raise NotImplementedError

    @property
    def classes_(self) -> RowNumbers:
        """Column numbers of Y, an attribute that scikit-learn expects once a classifier is fitted."""
        return np.arange(self.n_tags_)

    def predict_proba(self, X: Any) -> Float32Array:
        """Return the scores (N, L); scikit-learn's name for `scores`."""
        return self.scores(X)

    def predict(self, X: Any) -> BoolArray:
        """Return whether scores are at least 0.5 (N, L); a tuned decision rule does better."""
        return self.predict_proba(X) >= 0.5

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import ClassifierTags, InputTags, Tags, TargetTags

        targets = TargetTags(required=True, multi_output=True, single_output=False)
        kind = ClassifierTags(multi_label=True)
        return Tags("classifier", targets, classifier_tags=kind, input_tags=InputTags())

    def chosen(self) -> dict[str, Any]:
        """Return the options; a head that chooses some of them overrides this."""
        return self.get_params()

    def add_tags(self, X: Any, Y: sp.csr_array, *, progress: Progress = silent) -> Self:
        """Raise `HeadError`: a head that can learn more tags overrides this."""
        raise HeadError(f"head {self.name!r} cannot learn more tags; fit it again with all of them")

    @property
    def history(self) -> list[dict[str, Any]]:
        """The epochs of the fit (`history_`) or the options it tried (`tuning_`), if it recorded them."""
        records: list[dict[str, Any]] = getattr(self, "history_", getattr(self, "tuning_", []))
        return records

    def diagnostics(self) -> dict[str, Any]:
        """Return measures of the fit's quality, in values that json can hold."""
        return {}

    def _arrays(self) -> dict[str, NDArray[Any]]:
        """Return the learned arrays by file name."""
        return {}

    def _facts(self) -> dict[str, Any]:
        """Return learned facts that json can hold."""
        return {}

    def _expected(self, name: str) -> Expected:
        """Return what the array `name` of a saved head must be; by default anything plain and finite.

        The options, `n_features_` and `n_tags_` are set already. `ValueError` for a name that no array has.
        """
        return ANYTHING

    def _restore(self, arrays: dict[str, NDArray[Any]], facts: dict[str, Any]) -> None:
        """Set the learned state from what `_arrays` and `_facts` returned.

        The arrays are what `_expected` says; a `ValueError` says what else is wrong.
        """
        raise NotImplementedError

    @classmethod
    def _current(cls, options: dict[str, Any]) -> dict[str, Any]:
        """Convert saved options of an earlier version to options of this one."""
        return options

    def save(self, folder: Path) -> None:
        """Write ``head.json`` and a ``.npy`` for each array into an existing folder."""
        self._check_fitted()
        arrays = self._arrays()
        for key, array in arrays.items():
            np.save(folder / f"{key}.npy", array, allow_pickle=False)
        document = {
            "head": self.name,
            "options": self.get_params(),
            "facts": self._facts(),
            "arrays": sorted(arrays),
            "n_features": self.n_features_,
            "n_tags": self.n_tags_,
        }
        write_json(folder / "head.json", document)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read a head from `folder`; `HeadError` if it holds another head, or files that contradict it."""
        try:
            document = read_json(folder / "head.json", HeadDocument)
            if document.head != cls.name:
                raise HeadError(f"{folder} holds a head {document.head!r}, not {cls.name!r}")
            head = cls(**cls._current(options_from_json(document.options)))
            check_options(head)
            head.n_features_, head.n_tags_ = document.n_features, document.n_tags
            arrays = {name: head._read(folder, name) for name in document.arrays}
            head._restore(arrays, document.facts)
        # a head of another package may meet anything in a document that its own version did not write
        except (OSError, ValueError, TypeError, LookupError, AttributeError, OptionError) as error:
            raise HeadError(
                f"{folder} does not hold a readable head of this version ({_reason(error)}); fit it again"
            ) from error
        return head

    def _read(self, folder: Path, name: str) -> NDArray[Any]:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name of an array")
        array = read_array(folder / f"{name}.npy", self._expected(name))
        if array.dtype.kind == "f" and array.size and max(array.max(), -array.min()) > LARGEST:
            raise ValueError(f"{name}.npy holds numbers beyond {LARGEST:g}, which no fit gives")
        return array

    def _check_fitted(self) -> None:
        if not hasattr(self, "n_features_"):
            raise HeadError(f"head {self.name!r} is not fitted yet; call fit(X, Y) first")

    def _check_matrix(self, X: Any) -> Matrix:
        """Return X as `as_matrix` does, with the number of columns the head was fitted on."""
        self._check_fitted()
        out = as_matrix(X)
        if out.shape[1] != self.n_features_:
            raise HeadError(
                f"head {self.name!r} was fitted on {counted(self.n_features_, 'feature')} a row, "
                f"these have {out.shape[1]}"
            )
        return out

    def _check_X(self, X: Any) -> Float32Array:
        """Return X as `_check_matrix` does, read into memory whatever its size."""
        out = self._check_matrix(X)
        return finite(out[:]) if isinstance(out, Features) else out


def _reason(error: Exception) -> str:
    """Return the message of an error; of one that only names a key or says nothing, with its kind."""
    told = str(error) and not isinstance(error, LookupError)
    return shortened(error) if told else f"{type(error).__name__}: {shortened(error)}"


def as_matrix(X: Any) -> Matrix:
    """Return X as a C-ordered float32 (N, D) array, or as `Features` if too large to load.

    `HeadError` on another rank, or on NaN or infinity in an array.
    """
    small = loaded(X)
    if isinstance(small, Features):
        return small
    out = np.ascontiguousarray(small, dtype=np.float32)
    if out.ndim != 2:
        raise HeadError(f"X must have two axes (rows, features), it has shape {out.shape}")
    return finite(out)


def as_labels(Y: Any) -> sp.csr_array:
    """Return Y, a dense 0/1 array or any scipy sparse format, as a boolean CSR (N, L) array."""
    dense_or_sparse: Any = Y if sp.issparse(Y) else np.atleast_2d(np.asarray(Y))
    out = sp.csr_array(dense_or_sparse)
    if out.data.size and not np.isin(out.data, (0, 1)).all():
        raise HeadError("Y must hold only 0 and 1 (a multi-hot matrix of rows by tags)")
    out = out.astype(bool)
    out.sum_duplicates()
    out.eliminate_zeros()
    return out


def check_fit(X: Any, Y: Any) -> tuple[Matrix, sp.csr_array]:
    """Return (X, Y) checked for fitting: the same number of rows, one or more, and at least one tag."""
    features, labels = as_matrix(X), as_labels(Y)
    if features.shape[0] != labels.shape[0]:
        raise HeadError(
            f"X has {counted(features.shape[0], 'row')} and Y {labels.shape[0]}; they must be the same images"
        )
    if features.shape[0] == 0:
        raise HeadError("there are no rows to fit on; give at least one labelled image")
    if labels.shape[1] == 0:
        raise HeadError("there are no tags to fit; Y has no columns")
    return features, labels


def check_val(val: Any, n_features: int, n_tags: int) -> tuple[Matrix, sp.csr_array]:
    """Return the validation pair checked by `check_fit` and against the columns of the training arrays."""
    X, Y = check_fit(*val)
    if X.shape[1] != n_features:
        raise HeadError(
            f"the validation rows have {counted(X.shape[1], 'feature')}, the training rows {n_features}"
        )
    if Y.shape[1] != n_tags:
        raise HeadError(f"the validation rows have {counted(Y.shape[1], 'tag')}, the training rows {n_tags}")
    return X, Y


def hold_out(Y: sp.csr_array, seed: int) -> tuple[RowNumbers, RowNumbers]:
    """Return rows to fit on and a stratified 15 % to choose options on; the second is empty for one row."""
    rest, held = stratified_split(Y, (1 - HOLD_OUT, HOLD_OUT), seed=seed)
    return (rest, held) if len(rest) else (held, rest)
