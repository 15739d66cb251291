"""One-vs-rest L2 logistic regression: scikit-learn's optimum for every tag, all tags solved together."""

import logging
from typing import Annotated, Any, ClassVar, Self

import numpy as np
import scipy.sparse as sp
from annotated_types import Ge, Gt
from numpy.typing import NDArray
from scipy.special import expit

from toolkit.decisions import best_threshold
from toolkit.heads.base import Array, HeadBase, Val, check_fit, check_val, hold_out
from toolkit.heads.options import check_options
from toolkit.heads.ovr_solver import Basis, Solution, solve
from toolkit.heads.transforms import FeatureTransform, TransformName
from toolkit.progress import Progress, silent

logger = logging.getLogger(__name__)

STRENGTHS = (0.2, 0.6, 2.0, 6.0, 20.0, 60.0, 200.0, 600.0, 2000.0, 6000.0, 20000.0)
"""Values of C tried, times the mean squared length of a centred row.

C weighs a sum of losses against squared coefficients, so the same model needs a C that much smaller when its
features are that much longer: on standardised 2048-d features these are C = .0001 to 10.
"""
DEFAULT_STRENGTH = 20.0  # where no row is left to choose on
PATIENCE = 2  # worse values of C in a row after which larger ones, which take longest, are not tried
CHOOSING_TOL = (
    1e-5  # of the optima C is chosen by; scores within .01 of the exact ones rank values of C alike
)
CONSTANT_LOGIT = 30.0  # of a tag that all or none of the rows have: a score of 1 or 0 in float32
_ROWS = 8192  # rows scored at once


class Logreg(HeadBase):
    """L2-regularised logistic regression, one for each tag, unpenalised intercept.

    Minimises scikit-learn's objective ``C sum_i loss_i + |w|^2 / 2``; see `toolkit.heads.ovr_solver`.

    Parameters
    ----------
    C : float, optional
        Inverse of the regularisation, one for all tags. None chooses it by micro-F1 at the best global
        threshold on validation rows, from small to large, each optimum starting the next.
    transform : str
        What is done to the features first. Over random splits of ucmerced ``standardize`` and
        ``sqrt-standardize`` tie.
    tol : float
        A tag is solved when its objective is within this share of the optimum, as estimated by half the
        squared Newton decrement. The default keeps scores within .001 of the exact ones.
    max_iter : int
        Iterations a tag and C; tags that need more are listed in `unconverged_`, with a warning.
    seed : int
        Of the rows held out to choose C where no validation rows are given.

    Attributes
    ----------
    C_ : float
        The value in use.
    tuning_ : list of dict
        ``C`` and ``micro_f1`` of every value tried.
    coef_ : ndarray (L, D) float32
    intercept_ : ndarray (L,) float32
        Of transformed features. Tags that all or no training rows have got coefficients 0 and an intercept of
        +-30.
    iterations_ : ndarray (L,) int64
    gap_ : ndarray (L,) float64
        The certificate `tol` is held against.
    constant_, unconverged_ : ndarray (n,) int64
        Columns of such tags.
    """

    name: ClassVar[str] = "logreg"
    C_: float
    tuning_: list[dict[str, float]]

    def __init__(
        self,
        *,
        C: Annotated[float, Gt(0)] | None = None,
        transform: TransformName = "standardize",
        tol: Annotated[float, Gt(0)] = 1e-7,
        max_iter: Annotated[int, Ge(1)] = 500,
        seed: int = 0,
    ) -> None:
        self.C = C
        self.transform = transform
        self.tol = tol
        self.max_iter = max_iter
        self.seed = seed

    def fit(self, X: Any, Y: sp.csr_array, *, val: Val | None = None, progress: Progress = silent) -> Self:
        """Solve every tag of Y (N, L) on X (N, D); choose C on `val` where it is None.

        Without `val` C is chosen on a stratified 15 % of the rows and the tags are then solved on all.

        Raises
        ------
        HeadError
            If the arrays do not fit together or hold NaN.
        OptionError
            If an option has a value that is not allowed.
        """
        check_options(self)
        features, labels = check_fit(X, Y)
        D, L = features.shape[1], labels.shape[1]
        pair = None if val is None else check_val(val, D, L)
        C, tuning = self.C, list[dict[str, float]]()
        if C is None and pair is None:
            rest, held = hold_out(labels, self.seed)
            if len(held):
                chooser = type(self)(**self.get_params())
                chooser.fit(
                    features[rest], labels[rest], val=(features[held], labels[held]), progress=progress
                )
                C, tuning = chooser.C_, chooser.tuning_
        transform = FeatureTransform.fit(self.transform, features)
        problem = _Problem(Basis.of(transform(features)), labels)
        if C is None and pair is not None:
            held_rows = problem.basis.project(transform(pair[0]))
            C, tuning, solution = self._path(problem, held_rows, pair[1], progress)
        else:
            C = problem.C(DEFAULT_STRENGTH) if C is None else C
            solution = self._solve(problem, C, None, progress)
        self._keep(transform, problem, solution)
        self.C_, self.tuning_ = C, tuning
        self.n_features_, self.n_tags_ = D, L
        return self

    def _solve(
        self,
        problem: "_Problem",
        C: float,
        start: Array | None,
        progress: Progress,
        *,
        tol: float | None = None,
    ) -> Solution:
        return solve(
            problem.basis,
            problem.Y,
            C,
            start=start,
            tol=self.tol if tol is None else tol,
            max_iter=self.max_iter,
            progress=progress,
            note=f"C {C:.3g}",
        )

    def _path(
        self, problem: "_Problem", val_rows: Array, val_Y: sp.csr_array, progress: Progress
    ) -> tuple[float, list[dict[str, float]], Solution]:
        """Solve for ever larger C until validation F1 stops growing; return best C, table and optimum."""
        scores = np.tile(np.where(problem.full, np.float32(1), np.float32(0)), (len(val_rows), 1))
        tuning: list[dict[str, float]] = []
        best: tuple[float, Solution] | None = None
        best_f1, worse, start = -1.0, 0, None
        for strength in STRENGTHS:
            C = problem.C(strength)
            solution = self._solve(problem, C, start, progress, tol=max(self.tol, CHOOSING_TOL))
            scores[:, problem.varied] = expit(solution.logits(val_rows))
            f1 = best_threshold(scores, val_Y)[1]
            tuning.append({"C": C, "micro_f1": f1})
            start, worse = solution.params, worse + 1
            if f1 > best_f1:
                best, best_f1, worse = (C, solution), f1, 0
            if worse >= PATIENCE:
                break
        assert best is not None
        return best[0], tuning, self._solve(problem, best[0], best[1].params, progress)

    def _keep(self, transform: FeatureTransform, problem: "_Problem", solution: Solution) -> None:
        basis, varied, L = problem.basis, problem.varied, len(problem.full)
        self.transform_ = transform
        self.coef_ = np.zeros((L, len(basis.mean)), np.float32)
        self.coef_[varied] = solution.params[:, :-1] @ basis.axes.T
        self.intercept_ = np.where(problem.full, CONSTANT_LOGIT, -CONSTANT_LOGIT).astype(np.float32)
        # the optimum is one of centred rows
        self.intercept_[varied] = solution.params[:, -1] - self.coef_[varied] @ basis.mean
        self.iterations_ = np.zeros(L, np.int64)
        self.iterations_[varied] = solution.iterations
        self.gap_ = np.zeros(L)
        self.gap_[varied] = solution.gap
        self.constant_ = np.setdiff1d(np.arange(L), varied)
        self.unconverged_ = varied[~solution.converged].astype(np.int64)
        if len(self.unconverged_):
            logger.warning(
                "logreg: %d of %d tags are not solved to tol=%g after %d iterations (the worst is off by "
                "%.1e of its objective); allow more with -o max_iter=%d",
                len(self.unconverged_),
                L,
                self.tol,
                self.max_iter,
                self.gap_.max(),
                10 * self.max_iter,
            )

    def scores(self, X: Any) -> Array:
        """Return each tag's probability for X (N, D): (N, L) float32."""
        rows = self._check_X(X)
        out = np.empty((len(rows), self.n_tags_), np.float32)
        for start in range(0, len(rows), _ROWS):
            block = self.transform_(rows[start : start + _ROWS])
            expit(block @ self.coef_.T + self.intercept_, out=out[start : start + _ROWS])
        return out

    def chosen(self) -> dict[str, Any]:
        """Return the options with the C in use."""
        self._check_fitted()
        return self.get_params() | {"C": self.C_}

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return {
            "coef": self.coef_,
            "intercept": self.intercept_,
            "mean": self.transform_.mean,
            "scale": self.transform_.scale,
            "iterations": self.iterations_,
            "gap": self.gap_,
            "constant": self.constant_,
            "unconverged": self.unconverged_,
        }

    def _facts(self) -> dict[str, Any]:
        return {"C": self.C_, "tuning": self.tuning_}

    def _restore(self, arrays: dict[str, NDArray[Any]], facts: dict[str, Any]) -> None:
        self.transform_ = FeatureTransform(self.transform, arrays["mean"], arrays["scale"])
        self.coef_, self.intercept_ = arrays["coef"], arrays["intercept"]
        self.iterations_, self.gap_ = arrays["iterations"], arrays["gap"]
        self.constant_, self.unconverged_ = arrays["constant"], arrays["unconverged"]
        self.C_, self.tuning_ = facts["C"], facts["tuning"]


class _Problem:
    """Rows in their basis, and the tags that have both a positive and a negative."""

    def __init__(self, basis: Basis, Y: sp.csr_array) -> None:
        N, L = Y.shape
        support = np.bincount(Y.indices, minlength=L)
        self.basis = basis
        self.full = support == N  # (L,): tags of every row
        self.varied = np.flatnonzero((support > 0) & (support < N))
        self.Y = sp.csr_array(Y[:, self.varied])

    def C(self, strength: float) -> float:
        """Return `strength` divided by the mean squared length of a centred row, to two digits."""
        length = float(self.basis.spread.sum(dtype=np.float64)) / len(self.basis.rows)
        return float(f"{strength / max(length, 1e-30):.2g}")
