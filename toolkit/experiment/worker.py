"""The process a head is fitted, or applied, in: ``python -m toolkit.experiment.worker JOB``.

A process of its own keeps torch and faiss apart (each brings an OpenMP runtime, and both in one process crash
on macOS) and makes the peak memory it reports the head's own. It reads ``job.json`` and arrays in the folder
JOB, writes its results there, and says how far it is on stdout, one json document a line.
"""

import json
import logging
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from toolkit.errors import ToolkitError
from toolkit.experiment.dataset import take
from toolkit.experiment.jobs import load_labels
from toolkit.heads import get_head
from toolkit.heads.base import Head
from toolkit.store import EmbeddingStore

REPORT_SECONDS = 0.1  # between two reports of the same stage
SCORE_ROWS = 4096  # rows scored at a time


def main() -> None:
    """Do the job in the folder named on the command line; exit 2 with ``error.json`` on a user's mistake."""
    job = Path(sys.argv[1])
    logging.basicConfig(handlers=[_Relay()], level=logging.INFO)
    document = json.loads((job / "job.json").read_text(encoding="utf-8"))
    try:
        {"fit": fit, "score": score}[document["kind"]](job, document)
    except ToolkitError as error:
        text = json.dumps({"type": type(error).__name__, "message": str(error)})
        (job / "error.json").write_text(text, encoding="utf-8")
        sys.exit(2)


def fit(job: Path, document: dict[str, Any]) -> None:
    """Fit one head on the train rows, score the others, and fit it again on all rows if so asked."""
    store = EmbeddingStore(Path(document["store"]))
    data = Path(document["data"])
    rows, train, val, test = (np.load(data / f"{name}.npy") for name in ("rows", "train", "val", "test"))
    Y = load_labels(data / "Y.npz")
    X = store.embeddings()
    report = _Reporter()
    kind = get_head(document["head"])
    options = {key: tuple(v) if isinstance(v, list) else v for key, v in document["options"].items()}
    head = kind(**options)
    pair = (take(X, rows[val]), Y[val])
    start = time.perf_counter()
    head.fit(take(X, rows[train]), Y[train], val=pair, progress=report, **_views(head, store, rows[train]))
    fit_seconds = time.perf_counter() - start
    np.save(job / "val_scores.npy", head.scores(pair[0]))
    start = time.perf_counter()
    np.save(job / "test_scores.npy", head.scores(take(X, rows[test])))
    result = {
        "fit_seconds": fit_seconds,
        "score_seconds": time.perf_counter() - start,
        "peak_mb": peak_mb(),
        "chosen": head.chosen(),
        "history": getattr(head, "history_", None) or getattr(head, "tuning_", []),
    }
    if document["refit"]:
        head = kind(**head.chosen())
        head.fit(take(X, rows), Y, progress=report, **_views(head, store, rows))
    folder = job / "head"
    folder.mkdir()
    head.save(folder)
    (job / "result.json").write_text(json.dumps(result), encoding="utf-8")


def score(job: Path, document: dict[str, Any]) -> None:
    """Score all rows of a store with a saved head into ``scores.npy``."""
    head = get_head(document["head"]).load(Path(document["folder"]))
    X = EmbeddingStore(Path(document["store"])).embeddings()
    report = _Reporter()
    out = np.lib.format.open_memmap(
        job / "scores.npy", mode="w+", dtype=np.float32, shape=(len(X), document["n_tags"])
    )
    for first in range(0, len(X), SCORE_ROWS):
        part = slice(first, first + SCORE_ROWS)
        out[part] = head.scores(X[part])
        report("score", min(first + SCORE_ROWS, len(X)), len(X))
    out.flush()


def peak_mb() -> float:
    """Return the most memory this process has held so far, in MiB."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux: ru_maxrss there begins at what the parent held when it forked
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 2**10
    if sys.platform == "win32":
        return float(psutil.Process().memory_info().peak_wset) / 2**20
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # macOS counts bytes


def _views(head: Head, store: EmbeddingStore, rows: Any) -> dict[str, Any]:
    """Return the augmented rows for a head that trains on them."""
    views = store.views() if getattr(head, "uses_views", False) else []
    return {"views": [take(view, rows) for view in views]} if views else {}


class _Reporter:
    """A `toolkit.progress.Progress` that writes lines, not too often."""

    def __init__(self) -> None:
        self._last: dict[str, float] = {}

    def __call__(self, stage: str, done: int, total: int | None, note: str = "") -> None:
        now = time.monotonic()
        if done != total and now - self._last.get(stage, 0) < REPORT_SECONDS:
            return
        self._last[stage] = now
        _say({"stage": stage, "done": done, "total": total, "note": note})


class _Relay(logging.Handler):
    """Hands log records to the parent, which knows how to show them."""

    def emit(self, record: logging.LogRecord) -> None:
        _say({"level": record.levelno, "logger": record.name, "message": record.getMessage()})


def _say(document: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
