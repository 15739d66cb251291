"""One-vs-rest logistic regression at contest scale: every tag at once, against scikit-learn tag by tag."""

import argparse
import time

import numpy as np
import psutil
import scipy.sparse as sp
from sklearn.linear_model import LogisticRegression

from benchmarks.contest_like import contest_like
from benchmarks.tables import table, write_section
from toolkit.experiment.worker import peak_mb
from toolkit.heads.logreg import Logreg


def main() -> None:
    """Fit all tags with ours, a few with scikit-learn's solvers, on the same arrays in one run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=35_000)
    parser.add_argument("--features", type=int, default=2048)
    parser.add_argument("--tags", type=int, default=6941)
    parser.add_argument("--C", type=float, nargs="+", default=[1e-3, 1e-2])
    parser.add_argument("--theirs", type=int, default=3, help="tags given to scikit-learn, rare to common")
    given = parser.parse_args()
    data = contest_like(given.rows, given.features, given.tags)
    support = np.bincount(data.Y.indices, minlength=given.tags)
    ours, theirs = [], []
    for C in given.C:
        start = time.perf_counter()
        head = Logreg(C=C).fit(data.X, data.Y)
        seconds = time.perf_counter() - start
        iterations = head.iterations_[support > 0]
        ours.append(
            (f"{C:g}", f"{seconds:.0f}", f"{np.median(iterations):.0f} / {iterations.max()}",
             f"{head.gap_.max():.0e}", len(head.unconverged_), f"{peak_mb():,.0f}")
        )  # fmt: skip
        print(*ours[-1], flush=True)
        theirs += list(_theirs(head, data.X, data.Y, support, given.theirs))
    note = f"{given.rows:,} x {given.features:,}, {given.tags:,} tags, {data.Y.nnz / given.rows:.1f} a row"
    write_section(
        "logreg at contest scale",
        "python -m benchmarks.logreg_at_scale",
        f"Made-up data of the contest's kind ({note}). All tags, C given, features standardised:\n\n"
        + table(
            ("C", "seconds", "iterations (median / most)", "largest gap", "unsolved tags", "peak MiB"), ours
        )
        + "\n\nscikit-learn on single tags of the same arrays (float32), and what all tags would take at "
        "that rate. `objective` is theirs against ours (in float64), `score` the largest difference of a "
        "probability:\n\n"
        + table(("C", "solver", "positives", "seconds", "hours for all tags", "objective", "score"), theirs),
    )
    print(f"memory in use {psutil.Process().memory_info().rss / 2**20:,.0f} MiB; BENCHMARKS.md is written")


def _theirs(head: Logreg, X: np.ndarray, Y: sp.csr_array, support: np.ndarray, n: int):  # noqa: ANN202
    rows = head.transform_(X)
    exact = rows.astype(np.float64)
    order = np.argsort(support)
    picked = order[(np.linspace(0.02, 0.999, n) * (len(order) - 1)).astype(int)]
    columns = Y.tocsc()
    for tag in picked:
        y = columns[:, [tag]].toarray().ravel()
        w, b = head.coef_[tag].astype(np.float64), float(head.intercept_[tag])
        own = _objective(exact, y, w, b, head.C_)
        for solver in ("newton-cholesky", "lbfgs"):
            start = time.perf_counter()
            fitted = LogisticRegression(C=head.C_, solver=solver, max_iter=1000).fit(rows, y)
            seconds = time.perf_counter() - start
            coef, intercept = fitted.coef_[0].astype(np.float64), float(fitted.intercept_[0])
            objective = _objective(exact, y, coef, intercept, head.C_)
            difference = np.abs(_sigmoid(exact @ w + b) - _sigmoid(exact @ coef + intercept)).max()
            row = (
                f"{head.C_:g}", solver, f"{support[tag]:,}", f"{seconds:.1f}",
                f"{seconds * Y.shape[1] / 3600:.1f}", f"{objective / own - 1:+.1e}", f"{difference:.1e}",
            )  # fmt: skip
            print(*row, flush=True)
            yield row


def _objective(X: np.ndarray, y: np.ndarray, w: np.ndarray, b: float, C: float) -> float:
    z = X @ w + b
    return float(np.logaddexp(0, z).sum() - z[y].sum() + w @ w / (2 * C))


def _sigmoid(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


if __name__ == "__main__":
    main()
