"""What precision, resizing and flipping are worth in F1: every head on features made each way, same splits.

Images and their labels are given on the command line; none is part of the project.
"""

import argparse
import logging
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.heads_on_real import ours
from benchmarks.real_sets import random_splits
from benchmarks.tables import table, write_section
from toolkit.backbones.fidelity import cosines
from toolkit.evaluation.decisions.registry import parse_rule
from toolkit.evaluation.metrics import evaluate
from toolkit.experiment.dataset import DataOptions, load_dataset
from toolkit.verbs.embed import embed

REFERENCE = "fp32, crop"
WAYS: dict[str, dict[str, Any]] = {
    REFERENCE: {"precision": "fp32", "resize": "crop"},
    "bf16, crop": {"precision": "bf16", "resize": "crop"},
    "int8, crop": {"precision": "int8", "resize": "crop"},
    "bf16, squash": {"precision": "bf16", "resize": "squash"},
    "bf16, full": {"precision": "bf16", "resize": "full"},
    "bf16, crop, flip": {"precision": "bf16", "resize": "crop", "flip": True},
    "bf16, squash, flip": {"precision": "bf16", "resize": "squash", "flip": True},
    "bf16, full, flip": {"precision": "bf16", "resize": "full", "flip": True},
    "fp32, full": {"precision": "fp32", "resize": "full"},
    "int8, full": {"precision": "int8", "resize": "full"},
}


def main() -> None:
    """Embed every set every way, fit the heads, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sets", nargs="+", metavar="IMAGES:LABELS")
    parser.add_argument("--splits", type=int, default=6)
    given = parser.parse_args()
    logging.disable(logging.WARNING)
    rows = [row for text in given.sets for row in _measure(*text.split(":"), given.splits)]
    heads = ("mlp", "logreg", "knn", "ensemble")
    write_section(
        "What the pass's options are worth",
        "python -m benchmarks.features_on_real IMAGES:LABELS ...",
        "Micro F1 of every head, mean over the same random 70/15/15 splits, options and one global "
        f"threshold tuned on val; in brackets the paired difference to `{REFERENCE}` in points with its "
        "standard error. The last column is the cosine of each image's embedding to fp32 with the same "
        "resizing, mean and least.\n\n" + table(("set", "features", *heads, "cosine to fp32"), rows),
    )


def _measure(images: str, labels: str, splits: int) -> list[tuple[str, ...]]:
    name = Path(labels).parent.name
    rows, reference, exact = [], {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for way, options in WAYS.items():
            embed(images, artifacts=folder, name="store", force=True, **options)
            data = load_dataset(DataOptions(artifacts=Path(folder), store="store", labels=Path(labels)))
            X = data.source.features()[:]
            found = _scores(X, data.Y, splits)
            reference = reference or found
            resizing = way.partition(", ")[2]
            if options["precision"] == "fp32":
                exact[resizing] = X
            cells = [_cell(found[head], reference[head], way == REFERENCE) for head in found]
            same = cosines(X, exact[resizing]) if resizing in exact else None
            cosine = "" if same is None else f"{same.mean():.5f}, {same.min():.5f}"
            rows.append((name, way, *cells, cosine))
            print(*rows[-1], sep=" | ", flush=True)
    return rows


def _scores(X: np.ndarray, Y: Any, splits: int) -> dict[str, np.ndarray]:
    found: dict[str, list[float]] = {}
    for rows in random_splits(len(X), splits):
        train, val, test = ((X[each], Y[each]) for each in rows)
        for head, scorer in ours(train, val).items():
            rule = parse_rule("global").fit(scorer(val[0]), val[1])
            found.setdefault(head, []).append(evaluate(test[1], rule.apply(scorer(test[0]))).micro_f1)
    return {head: np.array(values) for head, values in found.items()}


def _cell(values: np.ndarray, reference: np.ndarray, is_reference: bool) -> str:
    if is_reference:
        return f"{values.mean():.4f}"
    ahead = 100 * (values - reference)
    return f"{values.mean():.4f} ({ahead.mean():+.2f} ± {ahead.std(ddof=1) / np.sqrt(len(ahead)):.2f})"


if __name__ == "__main__":
    main()
