"""What every head is: the protocol, the shared argument checks, and saving without pickle.

A new head is one file with a class that has the methods of `Head` (inheriting `HeadBase` gives most of them)
and one line in the registry of `toolkit.heads`.
"""

import inspect
import json
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from toolkit.arrays.features import Features, Matrix, finite, loaded
from toolkit.arrays.types import RowNumbers as Rows
from toolkit.errors import HeadError
from toolkit.evaluation.splits import stratified_split
from toolkit.heads.options import options_from_json
from toolkit.runtime.messages import counted
from toolkit.runtime.progress import Progress, silent

HOLD_OUT = 0.15

Array = NDArray[np.float32]
Val = tuple[Any, sp.csr_array]


@runtime_checkable
class Head(Protocol):
    """A multi-label classifier on cached features.

    The constructor takes keyword options only and just stores them; learned state ends in an underscore.
    """

    name: ClassVar[str]

    def fit(self, X: Any, Y: sp.csr_array, *, val: Val | None = None, progress: Progress = silent) -> Self:
        """Learn from X (N, D) float16/32 and Y (N, L) CSR; a second call starts afresh.

        X, and that of `val`, are arrays or, past `IN_MEMORY` bytes, `Features` to be gone
        over in blocks; to numpy these are an array, read whole.

        `val` is an ``(X, Y)`` pair that chooses options left at ``None`` (C, k, the best epoch, ...). Without
        it a seeded 15 % of the rows are held out for that and the head is then fitted on all rows.
        """

    def scores(self, X: Any) -> Array:
        """Return scores (N, L) float32 in [0, 1], columns in the order of Y's; an empty X gives (0, L)."""

    def chosen(self) -> dict[str, Any]:
        """Return constructor options with every choice made by `fit` filled in, for a refit on more rows."""

    def save(self, folder: Path) -> None:
        """Write ``head.json`` and ``*.npy`` into an existing folder; nothing is pickled."""

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote; the scores are bit-equal."""


class HeadBase:
    """Options as scikit-learn's estimators have them, and save/load as json and npy.

    A head is an estimator to scikit-learn: `sklearn.base.clone`, pipelines and cross-validation take it.

    A subclass names itself in `name` and writes `fit`, `scores`, `_arrays`, `_facts` and `_restore`.
    """

    name: ClassVar[str]
    n_features_: int
    n_tags_: int

    @classmethod
    def _option_names(cls) -> list[str]:
        return [name for name in inspect.signature(cls.__init__).parameters if name != "self"]

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the constructor's options as they were given."""
        return {name: getattr(self, name) for name in self._option_names()}

    def set_params(self, **options: Any) -> Self:
        """Set constructor options by name; an unknown one raises `HeadError` naming those allowed."""
        for name, value in options.items():
            if name not in self._option_names():
                raise HeadError(
                    f"head {self.name!r} has no option {name!r}; it has {', '.join(self._option_names())}"
                )
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.get_params().items())})"

    @property
    def classes_(self) -> NDArray[np.intp]:
        """The columns of Y, as scikit-learn's tools ask for them; there is no such attribute before `fit`."""
        if not hasattr(self, "n_tags_"):
            raise AttributeError(f"head {self.name!r} has no classes_ before it is fitted")
        return np.arange(self.n_tags_)

    def predict_proba(self, X: Any) -> Array:
        """Return the scores (N, L): what scikit-learn calls them."""
        scores: Array = self.scores(X)  # type: ignore[attr-defined]
        return scores

    def predict(self, X: Any) -> NDArray[np.bool_]:
        """Return scores of at least 0.5 (N, L); a tuned decision rule does better (`toolkit.decisions`)."""
        return self.predict_proba(X) >= 0.5

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import ClassifierTags, InputTags, Tags, TargetTags

        return Tags(
            estimator_type="classifier",
            target_tags=TargetTags(required=True, multi_output=True, single_output=False),
            classifier_tags=ClassifierTags(multi_label=True),
            input_tags=InputTags(),
        )

    def chosen(self) -> dict[str, Any]:
        """Return the options; a head that chooses some of them overrides this."""
        return self.get_params()

    def _arrays(self) -> dict[str, NDArray[Any]]:
        """Return the learned arrays by file name."""
        raise NotImplementedError

    def _facts(self) -> dict[str, Any]:
        """Return learned facts that json can hold."""
        return {}

    def _restore(self, arrays: dict[str, NDArray[Any]], facts: dict[str, Any]) -> None:
        """Set the learned state from what `_arrays` and `_facts` returned."""
        raise NotImplementedError

    def save(self, folder: Path) -> None:
        """Write ``head.json`` and one ``.npy`` an array into `folder`, which must exist."""
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
        text = json.dumps(document, indent=2, ensure_ascii=False)
        (folder / "head.json").write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read a head from `folder`; `HeadError` if it is another head's, or not as this version saves it."""
        try:
            document = json.loads((folder / "head.json").read_text(encoding="utf-8"))
            if document["head"] != cls.name:
                raise HeadError(f"{folder} holds a head {document['head']!r}, not {cls.name!r}")
            arrays = {key: np.load(folder / f"{key}.npy", allow_pickle=False) for key in document["arrays"]}
            head = cls(**options_from_json(document["options"]))
            head.n_features_, head.n_tags_ = document["n_features"], document["n_tags"]
            head._restore(arrays, document["facts"])
        except (OSError, EOFError, ValueError, TypeError, LookupError, AttributeError) as error:
            raise HeadError(
                f"{folder} does not hold a readable head of this version "
                f"({type(error).__name__}: {error}); fit it again"
            ) from error
        return head

    def add_tags(self, X: Any, Y: sp.csr_array, *, progress: Progress = silent) -> Self:  # noqa: ARG002, RUF100
        """Learn further columns, Y (N, M), from X (N, D); what is known of the present ones stays as it is.

        Raises
        ------
        HeadError
            The head cannot do that (unless it overrides this).
        """
        raise HeadError(f"head {self.name!r} cannot learn more tags; fit it again with all of them")

    def _check_fitted(self) -> None:
        if not hasattr(self, "n_features_"):
            raise HeadError(f"head {self.name!r} is not fitted yet; call fit(X, Y) first")

    def _check_X(self, X: Any) -> Array:
        """Return X as float32 (N, D) with the number of columns the head was fitted on."""
        self._check_fitted()
        out = as_features(X)
        if out.shape[1] != self.n_features_:
            raise HeadError(
                f"head {self.name!r} was fitted on {counted(self.n_features_, 'feature')} a row, "
                f"these have {out.shape[1]}"
            )
        return out


def as_features(X: Any) -> Array:
    """Return X as a C-ordered float32 (N, D) array; `HeadError` on another rank, NaN or infinity."""
    out = np.ascontiguousarray(X[:] if isinstance(X, Features) else X, dtype=np.float32)
    if out.ndim != 2:
        raise HeadError(f"X must have two axes (rows, features), it has shape {out.shape}")
    return finite(out)


def as_matrix(X: Any) -> Matrix:
    """Return X as `as_features` does, but `Features` too large to load as they are, to be read in blocks."""
    small = loaded(X)
    return small if isinstance(small, Features) else as_features(small)


def as_labels(Y: Any) -> sp.csr_array:
    """Return Y as a boolean CSR (N, L) array; dense 0/1 arrays and any scipy sparse format are taken."""
    dense_or_sparse: Any = Y if sp.issparse(Y) else np.atleast_2d(np.asarray(Y))
    out = sp.csr_array(dense_or_sparse)
    if out.data.size and not np.isin(out.data, (0, 1)).all():
        raise HeadError("Y must hold only 0 and 1 (a multi-hot matrix of rows by tags)")
    out = out.astype(bool)
    out.eliminate_zeros()
    return out


def check_fit(X: Any, Y: Any) -> tuple[Matrix, sp.csr_array]:
    """Return (X, Y) checked for fitting: equal, non-zero numbers of rows and at least one tag.

    X is an array, or `Features` where it is too large to load (`toolkit.arrays.features`).
    """
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
    """Return the validation pair checked as `check_fit` does, and against the training arrays' columns."""
    X, Y = check_fit(*val)
    if X.shape[1] != n_features:
        raise HeadError(
            f"the validation rows have {counted(X.shape[1], 'feature')}, the training rows {n_features}"
        )
    if Y.shape[1] != n_tags:
        raise HeadError(f"the validation rows have {counted(Y.shape[1], 'tag')}, the training rows {n_tags}")
    return X, Y


def hold_out(Y: sp.csr_array, seed: int) -> tuple[Rows, Rows]:
    """Return rows to fit on and a stratified 15 % to choose options on; the second is empty for one row."""
    rest, held = stratified_split(Y, (1 - HOLD_OUT, HOLD_OUT), seed=seed)
    return (rest, held) if len(rest) else (held, rest)
