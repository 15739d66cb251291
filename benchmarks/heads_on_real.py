"""Every head beside its scikit-learn twin on real data: same rows, same protocol, all tuned on val alone.

Embedding stores of UC Merced and a small COCO sample, and feature-level sets as ``.npz`` files (``X_train,
Y_train, X_test, Y_test``) are given on the command line; none is part of the project. Two
stores of UC Merced, one of COCO, and scene, yeast and corel5k take about ten minutes on two cores.
"""

import argparse
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.real_sets import Part, RealSet, real_sets
from benchmarks.sklearn_twins import PLAIN, TWINS, Scorer, twins
from benchmarks.tables import table, write_section
from toolkit.evaluation.decisions.registry import parse_rule, tuned_rules
from toolkit.evaluation.metrics import evaluate, per_image_counts
from toolkit.heads.registry import get_head

FIXED, TUNED = "fixed:0.5", "global"
AVERAGES = ("micro", "macro", "samples")


@dataclass(eq=False)
class Judged:
    """What one head, decided by one rule, reached on the test rows of every split."""

    f1: list[tuple[float, ...]] = field(default_factory=list)  # one of AVERAGES each
    counts: list[np.ndarray] = field(default_factory=list)  # (n, 3): tp, fp, fn of every test image

    def mean(self, average: str) -> float:
        """Return the mean F1 over the splits."""
        return float(np.mean([f1[AVERAGES.index(average)] for f1 in self.f1]))


Found = dict[tuple[str, str], Judged]  # of head and rule


def main() -> None:
    """Run all sets and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stores", nargs="*", default=[], metavar="ARTIFACTS:STORE:LABELS")
    parser.add_argument("--npz", nargs="*", type=Path, default=[])
    parser.add_argument("--splits", type=int, default=6)
    given = parser.parse_args()
    logging.disable(logging.WARNING)
    heads, rules = [], []
    names = [FIXED, *tuned_rules()]
    for data in real_sets(given.stores, given.npz, given.splits):
        start = time.perf_counter()
        found = measure(data, names)
        heads += head_rows(data, found)
        rules += rule_rows(data, found, names)
        print(*heads[-len(found) // len(names) :], sep="\n")
        print(f"{data.name}: {time.perf_counter() - start:.0f} s", flush=True)
    write_section(
        "Heads on real data",
        "python -m benchmarks.heads_on_real --stores ARTIFACTS:STORE:LABELS ... --npz scene.npz yeast.npz "
        "corel5k.npz",
        _text(heads, rules, names),
    )


def _text(heads: Sequence[tuple], rules: Sequence[tuple], names: Sequence[str]) -> str:
    return (
        "Means over random splits: 70/15/15 of a store; of a set with a test part of its own, 15 % of its "
        "training rows are val. Options and one global threshold are tuned on val. The plain heads of "
        "scikit-learn are tuned in the same way: `LogisticRegression` (standardised, C by half decades, "
        "no end of the grid reached), `KNeighborsClassifier` (cosine, k), `MLPClassifier` (standardised, 512 "
        "hidden units, epochs). Differences are paired, in points of micro F1: mean, ± its standard "
        "error over the splits, and in brackets the 95 % interval of a paired bootstrap over the test "
        "images.\n\n"
        + table(
            ("set", "splits", "head", *(f"{each} F1" for each in AVERAGES), "ahead of its twin",
             "ahead of the better of LogisticRegression and KNeighborsClassifier"),
            heads,
        )
        + "\n\nWhat tuned rules are worth: micro / macro / samples F1 on the test rows under each rule, "
        "tuned on val, and how far the global threshold is ahead of a fixed 0.5, in points of micro F1:\n\n"
        + table(("set", "head", *names, "global ahead of 0.5"), rules)
    )  # fmt: skip


def measure(data: RealSet, rules: Sequence[str]) -> Found:
    """Fit all heads on every split and judge them under every rule."""
    found: Found = {}
    for rows in data.splits:
        train, val, test = (data.part(each) for each in rows)
        for head, scorer in {**ours(train, val), **twins(train, val)}.items():
            tuning, judging = scorer(val[0]), scorer(test[0])
            for rule in rules:
                predicted = parse_rule(rule).fit(tuning, val[1]).apply(judging)
                metrics = evaluate(test[1], predicted)
                judged = found.setdefault((head, rule), Judged())
                judged.f1.append(tuple(getattr(metrics, f"{average}_f1") for average in AVERAGES))
                judged.counts.append(per_image_counts(test[1], predicted))
    return found


def ours(train: Part, val: Part) -> dict[str, Scorer]:
    """Fit every head on train, choosing on val, and return what scores rows."""
    mix = get_head("ensemble")().fit(*train, val=val)
    return {name: head.scores for name, head in [*mix.members_.items(), ("ensemble", mix)]}


def head_rows(data: RealSet, found: Found) -> list[tuple]:
    """Return a line of the table for every head, under the global rule."""
    tuned = {head: judged for (head, rule), judged in found.items() if rule == TUNED}
    plain = max(PLAIN, key=lambda head: tuned[head].mean("micro"))
    return [
        (
            data.name,
            len(data.splits),
            head,
            *(f"{judged.mean(average):.4f}" for average in AVERAGES),
            ahead(data, judged, tuned[TWINS[head]]) if head in TWINS else "",
            ahead(data, judged, tuned[plain]) if head != plain else "",
        )
        for head, judged in tuned.items()
    ]


def rule_rows(data: RealSet, found: Found, rules: Sequence[str]) -> list[tuple]:
    """Return a line of the table for every head: its F1s under every rule."""
    return [
        (
            data.name,
            head,
            *(" / ".join(f"{found[head, rule].mean(average):.4f}" for average in AVERAGES) for rule in rules),
            ahead(data, found[head, TUNED], found[head, FIXED]),
        )
        for head in dict.fromkeys(head for head, _ in found)
    ]


def ahead(data: RealSet, one: Judged, other: Judged) -> str:
    """Return how far the micro F1 of `one` is ahead, in points: mean, error over splits and interval."""
    apart = 100 * np.array([mine[0] - theirs[0] for mine, theirs in zip(one.f1, other.f1, strict=True)])
    error = f" ± {apart.std(ddof=1) / np.sqrt(len(apart)):.2f}" if len(apart) > 1 else ""
    draws = resampled(data, one) - resampled(data, other)
    low, high = np.quantile(100 * draws, [0.025, 0.975])
    return f"{apart.mean():+.2f}{error} [{low:+.2f}, {high:+.2f}]"


def resampled(data: RealSet, judged: Judged) -> np.ndarray:
    """Return the micro F1, the mean over the splits, on each of the set's resamples (B,)."""
    tests = (test for _, _, test in data.splits)
    sums = [data.resamples[:, test] @ counts for test, counts in zip(tests, judged.counts, strict=True)]
    return np.mean([2 * tp / (2 * tp + fp + fn) for tp, fp, fn in (total.T for total in sums)], axis=0)


if __name__ == "__main__":
    main()
