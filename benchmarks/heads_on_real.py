"""Every head beside its scikit-learn twin on real data: same rows, same protocol, all tuned on val alone.

Embedding stores of UC Merced and a small COCO sample, and feature-level sets as ``.npz`` files (``X_train,
Y_train, X_test, Y_test``) are given on the command line; none is part of the project.
"""

import argparse
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from benchmarks.tables import table, write_section
from toolkit.decisions import best_threshold, parse_rule
from toolkit.experiment import DataOptions, load_dataset
from toolkit.heads import get_head
from toolkit.heads.ensemble import Ensemble
from toolkit.metrics import evaluate
from toolkit.splits import stratified_split

Part = tuple[np.ndarray, sp.csr_array]
Scorer = Callable[[np.ndarray], np.ndarray]
THEIR_C = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
THEIR_K = (3, 5, 10, 20, 50)


def main() -> None:
    """Run all sets and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stores", nargs="*", default=[], metavar="ARTIFACTS:STORE:LABELS")
    parser.add_argument("--npz", nargs="*", type=Path, default=[])
    parser.add_argument("--splits", type=int, default=6)
    given = parser.parse_args()
    logging.disable(logging.WARNING)
    rows, rules = [], []
    for name, splits in _sets(given):
        found: dict[str, list[tuple[float, float]]] = {}
        for train, val, test in splits:
            scorers = {**ours(train, val), **_theirs(train, val)}
            for head, scorer in scorers.items():
                scores = scorer(val[0]), scorer(test[0])
                for rule in ("global", "fixed:0.5"):
                    tuned = parse_rule(rule).fit(scores[0], val[1])
                    metrics = evaluate(test[1], tuned.apply(scores[1]))
                    found.setdefault(f"{head} {rule}", []).append((metrics.micro_f1, metrics.macro_f1))
        plain = max(("LogisticRegression", "KNeighbors"), key=lambda head: _mean(found[f"{head} global"]))
        for key, values in found.items():
            head, rule = key.rsplit(" ", 1)
            if rule == "fixed:0.5":
                better = np.array(found[f"{head} global"])[:, 0] - np.array(values)[:, 0]
                rules.append((name, head, f"{_mean(values):.4f}", f"{_mean(found[f'{head} global']):.4f}",
                              f"{100 * better.mean():+.2f}"))  # fmt: skip
                continue
            ahead = 100 * (np.array(values)[:, 0] - np.array(found[f"{plain} global"])[:, 0])
            spread = ahead.std(ddof=1) / np.sqrt(len(ahead)) if len(ahead) > 1 else float("nan")
            macro = np.mean([each for _, each in values])
            lead = f"{ahead.mean():+.2f} ± {spread:.2f}"
            rows.append((name, len(values), head, f"{_mean(values):.4f}", f"{macro:.4f}", lead))
            print(*rows[-1], flush=True)
    write_section(
        "Heads on real data",
        "python -m benchmarks.heads_on_real --stores ARTIFACTS:STORE:LABELS --npz scene.npz yeast.npz",
        "Mean over random splits (70/15/15; sets with a test part of their own: 15 % of train as val). "
        "Options and one global threshold are tuned on val, features standardised for LogisticRegression, "
        "cosine for KNeighbors. The last column is the paired difference, in points of micro F1, to the "
        "better of the two plain heads, with its standard error over the splits.\n\n"
        + table(("set", "splits", "head", "micro F1", "macro F1", "ahead of the better plain one"), rows)
        + "\n\nWhat tuning the threshold is worth, in points of micro F1:\n\n"
        + table(("set", "head", "fixed 0.5", "global", "gain"), rules),
    )


def _mean(values: list[tuple[float, float]]) -> float:
    return float(np.mean([micro for micro, _ in values]))


def _sets(given: Any) -> Iterator[tuple[str, Iterator[tuple[Part, Part, Part]]]]:
    for text in given.stores:
        artifacts, store, labels = text.split(":")
        data = load_dataset(DataOptions(artifacts=Path(artifacts), store=store, labels=Path(labels)))
        X = np.asarray(data.store.embeddings()[data.rows], np.float32)
        yield store, random_splits(X, data.Y, given.splits)
    for path in given.npz:
        with np.load(path, allow_pickle=False) as saved:
            arrays = {key: saved[key] for key in ("X_train", "Y_train", "X_test", "Y_test")}
        yield path.stem, _given_test(arrays, max(1, given.splits // 2))


def random_splits(X: np.ndarray, Y: sp.csr_array, n: int) -> Iterator[tuple[Part, Part, Part]]:
    """Yield `n` splits of 70, 15 and 15 % as (X, Y) of train, val and test."""
    for seed in range(n):
        order = np.random.default_rng(seed).permutation(len(X))
        cuts = np.split(order, [int(0.7 * len(X)), int(0.85 * len(X))])
        train, val, test = ((X[rows], Y[rows]) for rows in cuts)
        yield train, val, test


def _given_test(arrays: dict[str, np.ndarray], n: int) -> Iterator[tuple[Part, Part, Part]]:
    X, Y = arrays["X_train"], sp.csr_array(arrays["Y_train"].astype(bool))
    test = arrays["X_test"], sp.csr_array(arrays["Y_test"].astype(bool))
    for seed in range(n):
        rest, held = stratified_split(Y, (0.85, 0.15), seed=seed)
        yield (X[rest], Y[rest]), (X[held], Y[held]), test


def ours(train: Part, val: Part) -> dict[str, Scorer]:
    """Fit every head on train, choosing on val, and return what scores rows."""
    fitted = {name: get_head(name)().fit(*train, val=val) for name in ("mlp", "logreg", "knn")}
    mix = Ensemble().combine({name: head.scores(val[0]) for name, head in fitted.items()}, val[1])
    mix.attach(fitted)
    return {name: head.scores for name, head in {**fitted, "ensemble": mix}.items()}


def _theirs(train: Part, val: Part) -> dict[str, Scorer]:
    scaler = StandardScaler().fit(train[0])
    X, Y = scaler.transform(train[0]), train[1].toarray().astype(int)

    def linear(C: float) -> Scorer:
        fitted = OneVsRestClassifier(LogisticRegression(C=C, max_iter=2000)).fit(X, Y)
        return lambda rows: fitted.predict_proba(scaler.transform(rows)).astype(np.float32)

    def votes(k: int) -> Scorer:
        fitted = KNeighborsClassifier(k, metric="cosine").fit(train[0], Y)

        def scores(rows: np.ndarray) -> np.ndarray:
            # a tag without positives has one class only
            shares = [
                each[:, 1] if each.shape[1] > 1 else 0 * each[:, 0] for each in fitted.predict_proba(rows)
            ]
            return np.stack(shares, axis=1).astype(np.float32)

        return scores

    def best(scorers: list[Scorer]) -> Scorer:
        return max(scorers, key=lambda scorer: best_threshold(scorer(val[0]), val[1])[1])

    return {
        "LogisticRegression": best([linear(C) for C in THEIR_C]),
        "KNeighbors": best([votes(min(k, len(X))) for k in THEIR_K]),
    }


if __name__ == "__main__":
    main()
