"""One-vs-rest L2 logistic regression: scikit-learn's optimum, all tags solved together."""

import logging
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Self

import numpy as np
import scipy.sparse as sp
from annotated_types import Ge, Gt
from msgspec import Meta
from numpy.typing import NDArray
from scipy.special import expit

from toolkit.arrays.features import Matrix, blocks, take
from toolkit.arrays.sampling import draw
from toolkit.arrays.types import Float32Array
from toolkit.evaluation.decisions.cuts import best_threshold
from toolkit.files.json import typed
from toolkit.files.npy import Expected
from toolkit.heads.base import HeadBase, Val, check_fit, hold_out
from toolkit.heads.logreg.arrays import arrays_on
from toolkit.heads.logreg.rows import centred_rows
from toolkit.heads.logreg.solver import solve
from toolkit.heads.options import check_options
from toolkit.heads.transforms import FeatureTransform, TransformName
from toolkit.runtime.messages import counted
from toolkit.runtime.progress import Progress, silent

logger = logging.getLogger(__name__)

STRENGTHS = (0.2, 0.6, 2.0, 6.0, 20.0, 60.0, 200.0, 600.0, 2000.0, 6000.0, 20000.0)
"""Values of C tried, times the mean squared length of a centred row.

C weighs a sum of losses against squared coefficients, so rows that are longer need a smaller C for the same
model: on standardised 2048-d features these are C = .0001 to 10.
"""
DEFAULT_STRENGTH = 20.0  # without rows to choose on
PATIENCE = 2  # worse values of C in a row after which larger ones, which take longest, are not tried
CHOOSING_TOL = 1e-5  # of the optima on which C is chosen: scores within .01 of the exact ones rank C alike
CONSTANT_LOGIT = 30.0  # of a tag that all or no rows have: a score of 1 or 0 in float32
CHOOSING_BYTES = 2**28  # of scores, and of features, of the rows on which C is chosen: 9,668 at 6,941 tags
_ROWS = 8192  # rows scored at once
_LEARNED = ("coef", "intercept", "iterations", "gap", "constant", "unconverged")


@dataclass(frozen=True)
class _Facts:
    C: Annotated[float, Meta(gt=0)]
    tuning: list[dict[str, Any]]


@dataclass(kw_only=True, eq=False, repr=False)
class Logreg(HeadBase):
    """L2-regularised logistic regression with an unpenalised intercept for each tag.

    Minimises scikit-learn's objective ``C sum_i loss_i + |w|^2 / 2``; see `toolkit.heads.logreg.solver`.

    Parameters
    ----------
    C : float, optional
        Inverse of the regularisation, one for all tags. None chooses it by micro-F1 at the best global
        threshold on validation rows, from small to large, each optimum starting the next.
    transform : str
        Applied first. Over random splits of ucmerced ``standardize`` and ``sqrt-standardize`` tie.
    tol : float
        A tag is solved when its objective is within this share of the optimum, as estimated by half the
        squared Newton decrement. The default keeps scores within .001 of the exact ones.
    max_iter : int
        Iterations for each tag and C; `unconverged_` lists tags that need more, and a warning counts them.
    device : str
        ``auto`` (a CUDA GPU if there is one, else the CPU), ``cpu``, ``cuda`` or ``cuda:N``; ``mps`` is the
        CPU, since sums need float64.
    seed : int
        Of the rows held out to choose C if there are no validation rows.

    Attributes
    ----------
    C_ : float
        The value in use.
    tuning_ : list of dict
        ``C`` and ``micro_f1`` of every value tried.
    coef_, intercept_ : ndarray (L, D) and (L,), float32
        For transformed features; 0 and +-30 for tags that all or no training rows have.
    iterations_ : ndarray (L,) int64
    gap_ : ndarray (L,) float64
        The certificate: at most `tol` if the tag is solved.
    constant_, unconverged_ : ndarray (n,) int64
        Columns of such tags.
    """

    name: ClassVar[str] = "logreg"

    C: Annotated[float, Gt(0)] | None = None
    transform: TransformName = "standardize"
    tol: Annotated[float, Gt(0)] = 1e-7
    max_iter: Annotated[int, Ge(1)] = 500
    device: str = "auto"
    seed: int = 0

    def _fit(self, X: Matrix, Y: sp.csr_array, val: Val, views: list[Any], progress: Progress) -> None:
        self.tuning_: list[dict[str, Any]] = []
        C, start = self.C, None
        if C is None and val is None:
            rest, held = hold_out(Y, self.seed)
            if len(held):
                C, _ = self._choose(self._problem(take(X, rest), Y[rest]), take(X, held), Y[held], progress)
        problem = self._problem(X, Y)
        if C is None and val is not None:
            C, start = self._choose(problem, *val, progress)
        self.C_ = problem.C(DEFAULT_STRENGTH) if C is None else C
        self._solve(problem, self.C_, self.tol, progress, start)
        self._warn()

    def _problem(self, X: Matrix, Y: sp.csr_array) -> "_Problem":
        return _Problem(X, FeatureTransform.fit(self.transform, X), Y, self.device)

    def _choose(
        self, problem: "_Problem", X: Matrix, Y: sp.csr_array, progress: Progress
    ) -> tuple[float, Float32Array]:
        """Solve for increasing C until F1 on (X, Y) stops growing; return the best C and its optima."""
        most = CHOOSING_BYTES // (4 * max(X.shape[1], Y.shape[1]))
        if len(X) > most:
            rows = draw(len(X), most, self.seed)
            X, Y = take(X, rows), Y[rows]
        start, best_f1, worse = None, -1.0, 0
        for strength in STRENGTHS:
            C = problem.C(strength)
            start = self._solve(problem, C, max(self.tol, CHOOSING_TOL), progress, start)
            f1 = best_threshold(self._scores(X), Y)[1]
            self.tuning_.append({"C": C, "micro_f1": f1})
            worse += 1
            if f1 > best_f1:
                best, best_f1, worse = (C, start), f1, 0
            if worse == PATIENCE:
                break
        return best

    def _solve(
        self, problem: "_Problem", C: float, tol: float, progress: Progress, start: Float32Array | None = None
    ) -> Float32Array:
        """Set the learned state to the optima for transformed features; return them in the basis."""
        solution = solve(
            problem.rows, problem.Y, C, start, tol=tol, max_iter=self.max_iter, progress=progress
        )
        basis, varied, L = problem.rows.basis, problem.varied, len(problem.full)
        self.transform_ = problem.transform
        self.coef_ = np.zeros((L, len(basis.mean)), np.float32)
        self.coef_[varied] = solution.params[:, :-1] @ basis.axes.T
        self.intercept_ = np.where(problem.full, CONSTANT_LOGIT, -CONSTANT_LOGIT).astype(np.float32)
        # from centred rows to rows
        self.intercept_[varied] = solution.params[:, -1] - self.coef_[varied] @ basis.mean
        self.iterations_ = np.zeros(L, np.int64)
        self.iterations_[varied] = solution.iterations
        self.gap_ = np.zeros(L)
        self.gap_[varied] = solution.gap
        self.constant_ = np.setdiff1d(np.arange(L), varied)
        self.unconverged_ = varied[~solution.converged].astype(np.int64)
        return solution.params

    def _warn(self) -> None:
        if len(self.unconverged_):
            tags = counted(len(self.coef_), "tag")
            logger.warning(
                "logreg: %s not solved to tol=%g after %s (the worst is off by "
                "%.1e of its objective); allow more with -o max_iter=%d",
                counted(len(self.unconverged_), f"of {tags} is", f"of {tags} are"),
                self.tol,
                counted(self.max_iter, "iteration"),
                self.gap_.max(),
                10 * self.max_iter,
            )

    def add_tags(self, X: Any, Y: sp.csr_array, *, progress: Progress = silent) -> Self:
        """Solve the tags Y (N, M) on X (N, D) with the C and the fitted transform; present tags stay."""
        check_options(self)
        features, labels = check_fit(self._check_matrix(X), Y)
        problem = _Problem(features, self.transform_, labels, self.device)
        before, first = self._arrays(), self.n_tags_
        self._solve(problem, self.C_, self.tol, progress)
        self.constant_, self.unconverged_ = self.constant_ + first, self.unconverged_ + first
        for name in _LEARNED:
            setattr(self, f"{name}_", np.concatenate([before[name], getattr(self, f"{name}_")]))
        self.n_tags_ = len(self.coef_)
        self._warn()
        return self

    @property
    def convergence_(self) -> dict[str, float]:
        """A summary of the certificates of tags that are not constant."""
        self._check_fitted()
        solved = np.setdiff1d(np.arange(self.n_tags_), self.constant_)
        iterations, gap = self.iterations_[solved], self.gap_[solved]
        return {
            "tags": len(solved),
            "iterations_median": float(np.median(iterations)) if len(solved) else 0.0,
            "iterations_most": int(iterations.max(initial=0)),
            "gap_largest": float(gap.max(initial=0)),
            "unconverged": len(self.unconverged_),
        }

    def diagnostics(self) -> dict[str, Any]:
        """Return `convergence_` and the columns of unconverged tags."""
        return {"convergence": self.convergence_, "unconverged": self.unconverged_.tolist()}

    def scores(self, X: Any) -> Float32Array:
        """Return each tag's probability for X (N, D): (N, L) float32."""
        return self._scores(self._check_matrix(X))

    def _scores(self, X: Matrix) -> Float32Array:
        out = np.empty((len(X), len(self.coef_)), np.float32)
        for part, rows in blocks(X, _ROWS):
            expit(self.transform_(rows) @ self.coef_.T + self.intercept_, out=out[part])
        return out

    def chosen(self) -> dict[str, Any]:
        """Return the options with the C in use."""
        self._check_fitted()
        return self.get_params() | {"C": self.C_}

    def _arrays(self) -> dict[str, NDArray[Any]]:
        learned = {name: getattr(self, f"{name}_") for name in _LEARNED}
        return learned | {"mean": self.transform_.mean, "scale": self.transform_.scale}

    def _facts(self) -> dict[str, Any]:
        return {"C": self.C_, "tuning": self.tuning_}

    def _expected(self, name: str) -> Expected:
        D, L = self.n_features_, self.n_tags_
        columns = Expected(dtype="int64", shape=(None,), low=0, high=L - 1, ascending=True)
        known = {
            "coef": Expected(dtype="float32", shape=(L, D)),
            "intercept": Expected(dtype="float32", shape=(L,)),
            "iterations": Expected(dtype="int64", shape=(L,), low=0),
            "gap": Expected(dtype="float64", shape=(L,), low=0),
            "constant": columns,
            "unconverged": columns,
        }
        return known.get(name) or FeatureTransform.expected(name, D)

    def _restore(self, arrays: dict[str, NDArray[Any]], facts: dict[str, Any]) -> None:
        learned = typed(facts, _Facts)
        self.transform_ = FeatureTransform(self.transform, arrays["mean"], arrays["scale"])
        for name in _LEARNED:
            setattr(self, f"{name}_", arrays[name])
        self.C_, self.tuning_ = learned.C, learned.tuning


class _Problem:
    """Rows in their basis, and the tags with both positives and negatives."""

    def __init__(self, X: Matrix, transform: FeatureTransform, Y: sp.csr_array, device: str) -> None:
        N, L = Y.shape
        support = np.bincount(Y.indices, minlength=L)
        self.transform = transform
        self.rows = centred_rows(X, transform, arrays_on(device))
        self.full = support == N  # (L,): tags that all rows have
        self.varied = np.flatnonzero((support > 0) & (support < N))
        self.Y = sp.csr_array(Y[:, self.varied])

    def C(self, strength: float) -> float:
        """Return `strength` divided by the mean squared length of a centred row, to two digits."""
        length = float(self.rows.basis.spread.sum(dtype=np.float64)) / self.rows.N
        return float(f"{strength / max(length, 1e-30):.2g}")
