"""scikit-learn's own heads, tuned as ours are: options on validation rows by micro-F1 at the best threshold.

What makes them fast enough here changes no answer: rows are rotated into the space they span before
`LogisticRegression` (the L2 penalty and the optimum do not see it), and one neighbour search serves every k.
"""

import copy
import itertools
import warnings
from collections.abc import Callable, Iterator

import numpy as np
import scipy.sparse as sp
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

from toolkit.arrays.features import unit_rows
from toolkit.evaluation.decisions.cuts import best_threshold

Part = tuple[np.ndarray, sp.csr_array]
Scorer = Callable[[np.ndarray], np.ndarray]

TWINS = {"mlp": "MLPClassifier", "logreg": "LogisticRegression", "knn": "KNeighborsClassifier"}
PLAIN = ("LogisticRegression", "KNeighborsClassifier")

FIRST_C, STEP_C = 1e-4, 10**0.5
LEAST_C, MOST_C = 1e-8, 1e4
PATIENCE = 2  # worse values of C in a row after which the search ends; as logreg's
TOL = 1e-6  # scikit-learn's 1e-4 stops far from the optimum of rare tags
K_GRID = (1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100, 150, 200)
JOBS = 2  # processes that share the tags
HIDDEN, EPOCHS, EPOCH_PATIENCE = 512, 60, 10  # as mlp's


def twins(train: Part, val: Part) -> dict[str, Scorer]:
    """Fit all three on train, choosing on val, and return what scores rows (n, D) -> (n, L) float32."""
    scaler = StandardScaler().fit(train[0])
    standard = (scaler.transform(train[0]), train[1])
    held = (scaler.transform(val[0]), val[1])
    linear, network = tuned_logistic_regression(standard, held), tuned_network(standard, held)
    return {
        "LogisticRegression": lambda rows: linear(scaler.transform(rows)),
        "KNeighborsClassifier": tuned_neighbours(train, val),
        "MLPClassifier": lambda rows: network(scaler.transform(rows)),
    }


def tuned_logistic_regression(train: Part, val: Part) -> Scorer:
    """Fit one-vs-rest `LogisticRegression` with ever larger C until F1 stops growing; then smaller ones.

    The search has no edge the best C could lie at (short of `LEAST_C` and `MOST_C`).
    """
    axes = row_space(train[0])
    rows, held = train[0] @ axes, val[0] @ axes
    found: dict[float, tuple[float, OneVsRestClassifier]] = {}

    def climb(values: Iterator[float]) -> None:
        worse = 0
        for C in values:
            before = max((f1 for f1, _ in found.values()), default=-1.0)
            fitted = one_vs_rest(rows, train[1], C)
            found[C] = (_f1(_probabilities(fitted, held), val[1]), fitted)
            worse = 0 if found[C][0] > before else worse + 1
            if worse == PATIENCE:
                return

    climb(itertools.takewhile(lambda C: C <= MOST_C, (FIRST_C * STEP_C**step for step in itertools.count())))
    if max(found, key=lambda C: found[C][0]) == FIRST_C:
        smaller = (FIRST_C / STEP_C**step for step in itertools.count(1))
        climb(itertools.takewhile(lambda C: C >= LEAST_C, smaller))
    best = max(found.values(), key=lambda pair: pair[0])[1]
    return lambda rows: _probabilities(best, rows @ axes)


def one_vs_rest(X: np.ndarray, Y: sp.csr_array, C: float, tol: float = TOL) -> OneVsRestClassifier:
    """Fit every tag of Y (N, L) on X (N, D); one without positives, or negatives, is a constant."""
    model = LogisticRegression(C=C, tol=tol, max_iter=10_000)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Label .* is present in all training examples")
        warnings.filterwarnings("ignore", "Label not .* is present in all training examples")
        return OneVsRestClassifier(model, n_jobs=JOBS).fit(X, Y.toarray().astype(int))


def row_space(X: np.ndarray) -> np.ndarray:
    """Return an orthonormal basis (D, r) of the space the rows of X (N, D) span; the identity where N >= D.

    Coefficients have no part outside it at the optimum: such a part costs and changes no training logit.
    """
    N, D = X.shape
    if N >= D:
        return np.eye(D, dtype=X.dtype)
    _, lengths, axes = np.linalg.svd(X.astype(np.float64), full_matrices=False)
    return axes[lengths > 1e-6 * lengths[0]].T.astype(X.dtype)


def tuned_neighbours(train: Part, val: Part) -> Scorer:
    """Choose k of `KNeighborsClassifier(k, metric="cosine")` from one search.

    Its scores, the share of the k neighbours that carry a tag, are added up here as the search goes on.
    """
    grid = [k for k in K_GRID if k <= len(train[0])]
    shares = neighbour_shares(train, val[0], grid)
    best = max(grid, key=lambda k: _f1(shares[k], val[1]))
    return lambda rows: neighbour_shares(train, rows, [best])[best]


def neighbour_shares(train: Part, rows: np.ndarray, ks: list[int]) -> dict[int, np.ndarray]:
    """Return for each k the share of the k nearest rows of train, by cosine, that carry each tag (n, L)."""
    cosines = unit_rows(rows.astype(np.float32)) @ unit_rows(train[0].astype(np.float32)).T
    order = np.argsort(-cosines, axis=1, kind="stable")[:, : max(ks)]
    truth = train[1].toarray().astype(np.float32)
    votes = np.zeros((len(rows), truth.shape[1]), np.float32)
    out = {}
    for place in range(max(ks)):
        votes += truth[order[:, place]]
        if place + 1 in ks:
            out[place + 1] = votes / np.float32(place + 1)
    return out


def tuned_network(train: Part, val: Part) -> Scorer:
    """Train `MLPClassifier` an epoch at a time and keep the one with the best F1 on val."""
    model = MLPClassifier((HIDDEN,), random_state=0)
    Y = train[1].toarray().astype(int)
    best, best_f1, worse = model, -1.0, 0
    for _ in range(EPOCHS):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.partial_fit(train[0], Y, classes=np.arange(Y.shape[1]))
        f1 = _f1(model.predict_proba(val[0]), val[1])
        best, best_f1, worse = (copy.deepcopy(model), f1, 0) if f1 > best_f1 else (best, best_f1, worse + 1)
        if worse == EPOCH_PATIENCE:
            break
    return lambda rows: best.predict_proba(rows).astype(np.float32)


def _probabilities(fitted: OneVsRestClassifier, rows: np.ndarray) -> np.ndarray:
    return fitted.predict_proba(rows).astype(np.float32)


def _f1(scores: np.ndarray, Y: sp.csr_array) -> float:
    return best_threshold(np.asarray(scores, np.float32), Y)[1]
