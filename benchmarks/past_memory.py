"""How time and memory of fitting a head grow past memory: float16 features on disk, read by blocks.

Every fit runs in a process of its own on `Features` of a file and may hold only so
many bytes of it (``--in-memory``). Options are given, none chosen: two epochs, one C, one k.
The default grid takes about ten minutes on two cores, a million rows about as long again for each head.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

import toolkit.arrays.features
from benchmarks.contest_like import write_contest_like
from benchmarks.tables import table, write_section
from toolkit.evaluation.decisions.cuts import best_threshold
from toolkit.experiment.worker import peak_mb
from toolkit.heads.registry import get_head

D = 2048
HELD = 2000  # rows scored afterwards
WARM = 64  # rows fitted and scored first, so that every library is loaded
MILLION = (1_000_000, 20)
TAGS_PER_IMAGE = 0.1  # of all tags, at most the contest's
OPTIONS: dict[str, dict[str, Any]] = {
    "mlp": {"epochs": 2, "lr_drops": ()},
    "logreg": {"C": 1e-3},
    "knn": {"k": 20, "temperature": 0.07},
}


def main() -> None:
    """Fit every head on the grid and write the table."""
    given = _arguments()
    if given.job:
        print(json.dumps(fit(**json.loads(given.job))))
        return
    grid = [(n, given.tags[0]) for n in given.rows] + [(given.tags_rows, tags) for tags in given.tags[1:]]
    rows = []
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        rows += _run(Path(folder), given.heads, grid, given.in_memory)
    if given.million:
        with tempfile.TemporaryDirectory(dir=given.folder) as folder:
            rows += _run(Path(folder), given.million, [MILLION], given.in_memory)
    held = f"{given.in_memory / 2**20:,.0f} MiB" if given.in_memory else "none"
    options = "; ".join(f"{head} {_listed(OPTIONS[head])}" for head in given.heads)
    write_section(
        "Past memory",
        "python -m benchmarks.past_memory"
        + (f" --million {' '.join(given.million)}" if given.million else ""),
        f"Heads fitted on N x {D:,} float16 features in a file, read by blocks, {held} of them held whole; "
        f"made-up data of the contest's kind. Options given: {options}. Each fit is a process of its own; "
        f"`at start` is what it holds after fitting and scoring {WARM} rows, libraries included. F1 is of "
        f"{HELD:,} rows scored afterwards, at their best global threshold.\n\n"
        + table(
            ("head", "N", "L", "file MiB", "fit s", "score s", "at start MiB", "peak MiB", "micro F1"), rows
        ),
    )


def _listed(options: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in options.items())


def _arguments() -> Any:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[25_000, 50_000, 100_000, 200_000])
    parser.add_argument("--tags", type=int, nargs="+", default=[20, 100, 500])
    parser.add_argument("--tags-rows", type=int, default=50_000, help="rows of all but the first of --tags")
    parser.add_argument("--heads", nargs="+", default=list(OPTIONS))
    parser.add_argument(
        "--million",
        nargs="*",
        default=[],
        metavar="HEAD",
        help="heads fitted on 1,000,000 rows too (4 GB of disk)",
    )
    parser.add_argument("--in-memory", type=int, default=0, help="bytes of features a head may hold whole")
    parser.add_argument(
        "--folder", type=Path, help="where the features are written; by default a temporary one"
    )
    parser.add_argument("--job", help=argparse.SUPPRESS)
    return parser.parse_args()


def _run(
    folder: Path, heads: list[str], grid: list[tuple[int, int]], in_memory: int
) -> list[tuple[str, ...]]:
    """Write features for the largest fit of the grid and do all its fits, each in a new process."""
    most_rows, most_tags = (max(column) for column in zip(*grid, strict=True))
    X, Y = folder / "X.npy", folder / "Y.npz"
    start = time.perf_counter()
    mean = min(27.0, TAGS_PER_IMAGE * most_tags)
    sp.save_npz(Y, write_contest_like(X, most_rows + HELD, D, most_tags, tags_per_image=mean))
    print(f"{most_rows + HELD:,} rows written in {time.perf_counter() - start:.0f} s", flush=True)
    rows = []
    for head in heads:
        for N, L in grid:
            job = {"head": head, "X": str(X), "Y": str(Y), "N": N, "L": L, "in_memory": in_memory}
            command = [sys.executable, "-m", "benchmarks.past_memory", "--job", json.dumps(job)]
            done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
            found = json.loads(done.stdout.splitlines()[-1])
            seconds = (f"{found[key]:.1f}" for key in ("fit", "score"))
            memory = (f"{mib:,.0f}" for mib in (N * D * 2 / 2**20, found["start_mb"], found["peak_mb"]))
            file, *held = memory
            rows.append((head, f"{N:,}", L, file, *seconds, *held, f"{found['micro_f1']:.4f}"))
            print(*rows[-1], flush=True)
    return rows


def fit(head: str, X: str, Y: str, N: int, L: int, in_memory: int) -> dict[str, float]:
    """Fit `head` on the first N rows and L of the tags, spread from frequent to rare; score the last rows."""
    toolkit.arrays.features.IN_MEMORY = in_memory
    features = toolkit.arrays.features.Features([Path(X)])
    tags = sp.load_npz(Y).tocsr()
    columns = np.linspace(0, tags.shape[1] - 1, L).astype(int)
    tags = sp.csr_array(tags[:, columns])
    few = features[:WARM]
    get_head(head)(**OPTIONS[head]).fit(few, tags[:WARM]).scores(few)
    fitted, start_mb = get_head(head)(**OPTIONS[head]), peak_mb()
    start = time.perf_counter()
    fitted.fit(features.take(np.arange(N)), tags[:N])
    fitted_at = time.perf_counter()
    scores = fitted.scores(features[slice(len(features) - HELD, len(features))])
    return {
        "fit": fitted_at - start,
        "score": time.perf_counter() - fitted_at,
        "start_mb": start_mb,
        "peak_mb": peak_mb(),
        "micro_f1": best_threshold(scores, tags[len(features) - HELD :])[1],
    }


if __name__ == "__main__":
    main()
