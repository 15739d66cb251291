"""Our heads against scikit-learn's on the same contest-like arrays, at a size where scikit-learn's finish.

Each is fitted and scores in a process of its own, with the same options given: time, peak memory, F1 and, for
the logistic regressions, how far each objective is from the least that any of them reached.
About three minutes on two cores, most of it scikit-learn's.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

from benchmarks.contest_like import contest_like
from benchmarks.tables import table, write_section
from toolkit.evaluation.decisions.registry import parse_rule
from toolkit.evaluation.metrics import evaluate
from toolkit.experiment.worker import peak_mb
from toolkit.heads.registry import get_head

C, K, HIDDEN, EPOCHS = 1e-2, 20, 512, 10
EVEN = 1e3  # a temperature at which all k neighbours vote alike, as scikit-learn's do
TAGS_PER_IMAGE = 5.0
HEADER = (
    *("head", "fit s", "score s", "at start MiB", "peak MiB"),
    *("micro F1", "macro F1", "samples F1", "objective"),
)
AVERAGES = ("micro_f1", "macro_f1", "samples_f1")

Scores = np.ndarray
Scorer = Callable[[np.ndarray], Scores]
Fitted = tuple[Scorer, tuple[np.ndarray, np.ndarray] | None]
"""What scores rows (n, D) and, of a logistic regression, coefficients (L, D) and intercepts (L,)."""


def main() -> None:
    """Write the arrays, run every head on them, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=5000, help="to fit on; 1,000 more choose, 2,000 judge")
    parser.add_argument("--features", type=int, default=512)
    parser.add_argument("--tags", type=int, default=200)
    parser.add_argument("--job", nargs=2, metavar=("HEAD", "FOLDER"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.job:
        print(json.dumps(measure(given.job[0], Path(given.job[1]))))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_arrays(folder, given.rows, given.features, given.tags)
        found = {head: _apart(head, folder) for head in FITS}
        gaps = objective_gaps(folder)
    rows = [
        (
            head,
            f"{each['fit']:.1f}",
            f"{each['score']:.2f}",
            *(f"{each[name]:,.0f}" for name in ("start_mb", "peak_mb")),
            *(f"{each[average]:.4f}" for average in AVERAGES),
            gaps.get(head, ""),
        )
        for head, each in found.items()
    ]
    note = f"{given.rows:,} x {given.features:,}, {given.tags:,} tags, {TAGS_PER_IMAGE:g} a row"
    write_section(
        "Heads against scikit-learn's",
        "python -m benchmarks.heads_against_sklearn",
        f"Made-up data of the contest's kind ({note}), options given: C {C:g} on standardised features; {K} "
        f"neighbours by cosine, voting alike; {HIDDEN} hidden units, {EPOCHS} epochs. Every line is a "
        "process of its own; `at start` is what it holds with the arrays loaded, before it fits; a fit "
        "includes what it imports (torch, faiss). F1 is of 2,000 other rows at a global threshold chosen on "
        "1,000 more. `objective` is how far a tag's objective (in float64) is above the least that any "
        "solver reached, median and largest.\n\n" + table(HEADER, rows),
    )


def write_arrays(folder: Path, rows: int, features: int, tags: int) -> None:
    """Write rows to fit on, to choose on and to judge on: features X, standardised ones Z, and tags Y."""
    data = contest_like(
        rows + 3000, features, tags, tags_per_image=min(TAGS_PER_IMAGE, tags / 4), duplicates=0
    )
    scaler = StandardScaler().fit(data.X[:rows])
    parts = {"train": slice(rows), "val": slice(rows, rows + 1000), "test": slice(rows + 1000, rows + 3000)}
    for name, part in parts.items():
        np.save(folder / f"{name}.X.npy", data.X[part])
        np.save(folder / f"{name}.Z.npy", scaler.transform(data.X[part]))
        sp.save_npz(folder / f"{name}.Y.npz", data.Y[part])


def _apart(head: str, folder: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.heads_against_sklearn", "--job", head, str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    found = json.loads(done.stdout.splitlines()[-1])
    print(head, *(f"{name} {value:.4g}" for name, value in found.items()), flush=True)
    return found


def measure(head: str, folder: Path) -> dict[str, float]:
    """Fit `head`, choose a threshold on val and judge it on test, in this process."""
    fit, kind = FITS[head]
    X = {name: np.load(folder / f"{name}.{kind}.npy") for name in ("train", "val", "test")}
    Y = {name: sp.csr_array(sp.load_npz(folder / f"{name}.Y.npz")) for name in X}
    start_mb, start = peak_mb(), time.perf_counter()
    scorer, linear = fit(X["train"], Y["train"])
    fitted_at = time.perf_counter()
    scores = scorer(X["test"])
    scored_at, held = time.perf_counter(), peak_mb()
    rule = parse_rule("global").fit(scorer(X["val"]), Y["val"])
    metrics = evaluate(Y["test"], rule.apply(scores))
    if linear is not None:
        np.save(folder / f"{head}.npy", np.column_stack(linear))
    return {
        "fit": fitted_at - start,
        "score": scored_at - fitted_at,
        "start_mb": start_mb,
        "peak_mb": held,
        **{average: getattr(metrics, average) for average in AVERAGES},
    }


def _logreg(X: np.ndarray, Y: sp.csr_array) -> Fitted:
    head = get_head("logreg")(C=C).fit(X, Y)
    return head.scores, (head.coef_, head.intercept_)


def _logistic_regression(**options: Any) -> Callable[[np.ndarray, sp.csr_array], Fitted]:
    def fit(Z: np.ndarray, Y: sp.csr_array) -> Fitted:
        truth = Y.toarray().astype(int)
        head = OneVsRestClassifier(LogisticRegression(C=C, max_iter=10_000, **options)).fit(Z, truth)
        coef = np.concatenate([each.coef_ for each in head.estimators_])
        return _float32(head.predict_proba), (
            coef,
            np.concatenate([each.intercept_ for each in head.estimators_]),
        )

    return fit


def _knn(X: np.ndarray, Y: sp.csr_array) -> Fitted:
    return get_head("knn")(k=K, temperature=EVEN, transform="l2").fit(X, Y).scores, None


def _neighbours(X: np.ndarray, Y: sp.csr_array) -> Fitted:
    head = KNeighborsClassifier(K, metric="cosine").fit(X, Y.toarray().astype(int))
    return lambda rows: np.stack([each[:, 1] for each in head.predict_proba(rows)], 1).astype(
        np.float32
    ), None


def _mlp(X: np.ndarray, Y: sp.csr_array) -> Fitted:
    return get_head("mlp")(hidden=(HIDDEN,), epochs=EPOCHS, lr_drops=()).fit(X, Y).scores, None


def _network(Z: np.ndarray, Y: sp.csr_array) -> Fitted:
    head = MLPClassifier((HIDDEN,), max_iter=EPOCHS, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # as many epochs as ours
        head.fit(Z, Y.toarray().astype(int))
    return _float32(head.predict_proba), None


def _float32(scorer: Scorer) -> Scorer:
    return lambda rows: scorer(rows).astype(np.float32)


FITS: dict[str, tuple[Callable[[np.ndarray, sp.csr_array], Fitted], str]] = {
    "logreg": (_logreg, "X"),
    "LogisticRegression, lbfgs": (_logistic_regression(), "Z"),
    "LogisticRegression, lbfgs, tol 1e-6": (_logistic_regression(tol=1e-6), "Z"),
    "LogisticRegression, newton-cholesky": (_logistic_regression(solver="newton-cholesky"), "Z"),
    "knn": (_knn, "X"),
    "KNeighborsClassifier": (_neighbours, "X"),
    "mlp": (_mlp, "X"),
    "MLPClassifier": (_network, "Z"),
}
"""What fits, and whether it is given the features or standardised ones (ours standardise by themselves)."""


def objective_gaps(folder: Path) -> dict[str, str]:
    """Return, of every logistic regression, the share its objectives are above the least: median, largest."""
    Z = np.load(folder / "train.Z.npy").astype(np.float64)
    truth = sp.load_npz(folder / "train.Y.npz").toarray()
    found = {}
    for path in (folder / f"{head}.npy" for head in FITS):
        if path.exists():
            coef, intercept = np.split(np.load(path).astype(np.float64), [-1], axis=1)
            z = Z @ coef.T + intercept.T
            losses = (np.logaddexp(0, z) - np.where(truth, z, 0)).sum(axis=0)
            found[path.stem] = C * losses + (coef**2).sum(axis=1) / 2
    least = np.min(list(found.values()), axis=0)
    gaps = {head: objective / least - 1 for head, objective in found.items()}
    return {head: f"{np.median(gap):.0e}, {gap.max():.0e}" for head, gap in gaps.items()}


if __name__ == "__main__":
    main()
