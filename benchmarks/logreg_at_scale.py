"""One-vs-rest logistic regression at contest scale: every tag at once, against scikit-learn tag by tag."""

import argparse
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from benchmarks.contest_like import contest_like
from benchmarks.tables import table, write_section
from toolkit.evaluation.splits import stratified_split
from toolkit.experiment.worker import peak_mb
from toolkit.heads.logreg.head import Logreg

SOLVERS = {"newton-cholesky": (np.float64, 1e-10), "lbfgs": (np.float32, 1e-4)}  # rows as, tolerance
OURS = ("C", "seconds", "iterations (median / most)", "largest gap", "unsolved tags", "peak MiB")
CHOSEN = ("C chosen", "tried: micro-F1", "seconds", "peak MiB")
THEIRS = ("C", "solver", "positives", "seconds", "hours for all tags", "objective", "score")


def main() -> None:
    """Fit all tags with ours, a few with scikit-learn's solvers, on the same arrays in one run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=35_000)
    parser.add_argument("--features", type=int, default=2048)
    parser.add_argument("--tags", type=int, default=6941)
    parser.add_argument("--C", type=float, nargs="+", default=[1e-3, 1e-2])
    parser.add_argument("--theirs", type=int, default=3, help="tags given to scikit-learn, rare to common")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        said = _alone(_draw, folder, given.rows, given.features, given.tags)
        ours = [_alone(_fit, folder, C) for C in given.C]
        chosen = _alone(_choose, folder)
        theirs = [row for C in given.C for row in _alone(_compare, folder, C, given.theirs)]
    write_section(
        "logreg at contest scale",
        "python -m benchmarks.logreg_at_scale",
        f"Made-up data of the contest's kind ({said}), features standardised, device cpu. Each fit has a "
        "process of its own, whose peak holds the features too. All tags, C given:\n\n"
        f"{table(OURS, ours)}\n\n"
        "C chosen by micro-F1 on 15 % of the rows, all tags solved on the other 85 %:\n\n"
        f"{table(CHOSEN, [chosen])}\n\n"
        "scikit-learn on single tags of the same rows (newton-cholesky in float64 to 1e-10, lbfgs in float32 "
        "as it comes), and what all tags would take at that rate. `objective` is theirs against ours (in "
        f"float64), `score` the largest difference of a probability:\n\n{table(THEIRS, theirs)}",
    )


def _alone(job: Callable[..., Any], *arguments: Any) -> Any:
    """Run a job in a new process, so that its peak is its own; print and return what it returns."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        result = pool.submit(job, *arguments).result()
    print(result, flush=True)
    return result


def _draw(folder: Path, rows: int, features: int, tags: int) -> str:
    data = contest_like(rows, features, tags)
    np.save(folder / "X.npy", data.X)
    sp.save_npz(folder / "Y.npz", data.Y)
    return f"{rows:,} x {features:,}, {tags:,} tags, {data.Y.nnz / rows:.1f} a row"


def _read(folder: Path) -> tuple[Any, sp.csr_array]:
    return np.load(folder / "X.npy"), sp.csr_array(sp.load_npz(folder / "Y.npz"))


def _fit(folder: Path, C: float) -> tuple[str, ...]:
    X, Y = _read(folder)
    start = time.perf_counter()
    head = Logreg(C=C, device="cpu").fit(X, Y)
    seconds, stats = time.perf_counter() - start, head.convergence_
    kept = folder / f"head {C:g}"
    kept.mkdir()
    head.save(kept)
    return (
        f"{C:g}", f"{seconds:.0f}", f"{stats['iterations_median']:.0f} / {stats['iterations_most']}",
        f"{stats['gap_largest']:.0e}", f"{stats['unconverged']}", f"{peak_mb():,.0f}",
    )  # fmt: skip


def _choose(folder: Path) -> tuple[str, ...]:
    X, Y = _read(folder)
    train, val = stratified_split(Y, (0.85, 0.15), seed=0)
    parts = X[train], X[val]
    del X
    start = time.perf_counter()
    head = Logreg(device="cpu").fit(parts[0], Y[train], val=(parts[1], Y[val]))
    seconds = time.perf_counter() - start
    tried = ", ".join(f"{row['C']:g}: {row['micro_f1']:.4f}" for row in head.tuning_)
    return f"{head.C_:g}", tried, f"{seconds:.0f}", f"{peak_mb():,.0f}"


def _compare(folder: Path, C: float, n: int) -> list[tuple[str, ...]]:
    """Solve n tags, rare to common, with scikit-learn's solvers and hold them against our head of this C."""
    X, Y = _read(folder)
    head = Logreg.load(folder / f"head {C:g}")
    transformed = head.transform_(X)
    rows = {dtype: transformed.astype(dtype) for dtype, _ in SOLVERS.values()}
    support = np.bincount(Y.indices, minlength=Y.shape[1])
    varied = np.setdiff1d(np.arange(len(support)), head.constant_)
    order = varied[np.argsort(support[varied], kind="stable")]
    picked = order[(np.linspace(0.02, 0.999, n) * (len(order) - 1)).astype(int)]
    columns = Y.tocsc()
    return [
        row for tag in picked for row in _solvers(head, rows, columns[:, [tag]].toarray().ravel(), int(tag))
    ]


def _solvers(head: Logreg, rows: Any, y: Any, tag: int) -> Iterator[tuple[str, ...]]:
    exact = rows[np.float64]
    w, b = head.coef_[tag].astype(np.float64), float(head.intercept_[tag])
    own = _objective(exact, y, w, b, head.C_)
    for solver, (dtype, tol) in SOLVERS.items():
        start = time.perf_counter()
        fitted = LogisticRegression(C=head.C_, solver=solver, tol=tol, max_iter=1000).fit(rows[dtype], y)
        seconds = time.perf_counter() - start
        coef, intercept = fitted.coef_[0].astype(np.float64), float(fitted.intercept_[0])
        objective = _objective(exact, y, coef, intercept, head.C_)
        difference = np.abs(expit(exact @ w + b) - expit(exact @ coef + intercept)).max()
        yield (
            f"{head.C_:g}", solver, f"{y.sum():,}", f"{seconds:.1f}",
            f"{seconds * head.n_tags_ / 3600:.1f}", f"{objective / own - 1:+.1e}", f"{difference:.1e}",
        )  # fmt: skip


def _objective(X: Any, y: Any, w: Any, b: float, C: float) -> float:
    z = X @ w + b
    return float(np.logaddexp(0, z).sum() - z[y].sum() + w @ w / (2 * C))


if __name__ == "__main__":
    main()
