"""The process a head is fitted, or applied, in: ``python -m toolkit.experiment.worker JOB``.

A process of its own keeps torch and faiss apart (each brings an OpenMP runtime, and both in one process crash
on macOS) and makes the peak memory it reports the head's own. It reads ``job.json`` and arrays in the folder
JOB, writes its results there, and says how far it is on stdout, one json document a line.
"""

import json
import logging
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import scipy.sparse as sp
from numpy.typing import NDArray

from toolkit.arrays.features import Features, blocks, loaded
from toolkit.errors import ToolkitError
from toolkit.experiment.jobs import load_labels
from toolkit.experiment.sources import read_features
from toolkit.files.npy import write_header
from toolkit.heads.adding import Scorer, new_tag_scorer
from toolkit.heads.base import Head
from toolkit.heads.options import options_from_json
from toolkit.heads.registry import get_head, load_head
from toolkit.runtime.stages import Stages

Rows = NDArray[np.intp]

REPORT_SECONDS = 0.1  # between two reports of the same stage
SCORE_ROWS = 4096  # rows scored at a time
TOLD = ("convergence_", "recall_")  # what heads know of how well they solved their task, for metrics.json


def main() -> None:
    """Do the job in the folder named on the command line; exit 2 with ``error.json`` on a user's mistake."""
    job = Path(sys.argv[1])
    logging.basicConfig(handlers=[_Relay()], level=logging.INFO)
    document = json.loads((job / "job.json").read_text(encoding="utf-8"))
    try:
        {"fit": fit, "score": score, "add-tags": add_tags}[document["kind"]](job, document)
    except ToolkitError as error:
        text = json.dumps({"type": type(error).__name__, "message": str(error)})
        (job / "error.json").write_text(text, encoding="utf-8")
        sys.exit(2)


class _Data:
    """The labelled rows a job works on: X plain and augmented, Y, and the rows of each part."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        folder = Path(document["data"])
        self.X, *self._views = read_features(document["source"], np.load(folder / "rows.npy"))
        self.Y: sp.csr_array = load_labels(folder / "Y.npz")
        self.train, self.val, self.test, self.pool, self.fold = (
            np.load(folder / f"{name}.npy") for name in ("train", "val", "test", "pool", "fold")
        )

    def everything(self) -> Rows:
        return np.arange(len(self.X))

    def fit(self, head: Head, rows: Rows, val: Rows | None = None) -> Head:
        """Fit on some rows, choosing on others if so asked."""
        more: dict[str, Any] = {}
        if self._views and getattr(head, "uses_views", False):
            more["views"] = [view.take(rows) for view in self._views]
        if val is not None:
            more["val"] = (loaded(self.X.take(val)), self.Y[val])
        # a head of another package meets `Features` only where its rows are too many to load
        return head.fit(loaded(self.X.take(rows)), self.Y[rows], progress=_REPORT, **more)

    def score(self, head: Head, rows: Rows, out: "_ScoreFile", places: Rows | None = None) -> None:
        """Write the scores of some rows at their places in `out`, by default one after the other."""
        out.fill(head.scores, self.X.take(rows), places)

    def score_file(self, path: Path, rows: Rows) -> "_ScoreFile":
        return _ScoreFile(path, (len(rows), self.Y.shape[1]))


def fit(job: Path, document: dict[str, Any]) -> None:
    """Fit one head on the train rows, score the others, and fit it again on all rows if so asked.

    ``tuning_scores.npy`` are of the val rows or, with folds, of train and val rows, each scored by a head
    that was fitted without its fold; the head that scores the test rows is then fitted on all of these.
    """
    data, kind = _Data(document), get_head(document["head"])
    seconds = Stages()
    head = kind(**options_from_json(document["options"]))
    with seconds.timing("fit"):
        data.fit(head, data.train, data.val)
    chosen = head.chosen()
    history = getattr(head, "history_", None) or getattr(head, "tuning_", [])
    if len(data.fold):
        with seconds.timing("folds"):
            head = _out_of_fold(data, kind, chosen, data.score_file(job / "tuning_scores.npy", data.pool))
    else:
        data.score(head, data.val, data.score_file(job / "tuning_scores.npy", data.val))
    with seconds.timing("score"):
        data.score(head, data.test, data.score_file(job / "test_scores.npy", data.test))
    peak = peak_mb()
    if document["refit"]:
        with seconds.timing("refit"):
            head = data.fit(kind(**chosen), data.everything())
    folder = job / "head"
    folder.mkdir()
    with seconds.timing("save"):
        head.save(folder)
    told = {name.rstrip("_"): getattr(head, name) for name in TOLD if hasattr(head, name)}
    told["unconverged"] = [int(column) for column in getattr(head, "unconverged_", ())]
    result = {"seconds": seconds, "peak_mb": peak, "chosen": chosen, "history": history, "told": told}
    (job / "result.json").write_text(json.dumps(result), encoding="utf-8")


def _out_of_fold(data: _Data, kind: type[Head], chosen: dict[str, Any], out: "_ScoreFile") -> Head:
    """Score each fold of the pool by a head fitted on the others; return one fitted on the whole pool."""
    for fold in range(int(data.fold.max()) + 1):
        inside = data.fold == fold
        head = data.fit(kind(**chosen), data.pool[~inside])
        data.score(head, data.pool[inside], out, np.flatnonzero(inside))
    return data.fit(kind(**chosen), data.pool)


def score(job: Path, document: dict[str, Any]) -> None:
    """Score all rows of a source with a saved head into ``scores.npy``."""
    head = _saved(document)
    X = read_features(document["source"], np.load(job.parent / "rows.npy"))[0]
    _ScoreFile(job / "scores.npy", (len(X), document["n_tags"])).fill(head.scores, X)


def add_tags(job: Path, document: dict[str, Any]) -> None:
    """Learn new columns from the train rows to score the others, then from the head's rows, and save it."""
    data, head = _Data(document), _saved(document)
    scorer = new_tag_scorer(head, data.X.take(data.train), data.Y[data.train])
    for part, rows in (("val", data.val), ("test", data.test)):
        data.score_file(job / f"{part}_scores.npy", rows).fill(scorer, data.X.take(rows))
    own = np.load(Path(document["data"]) / "own.npy")
    head.add_tags(data.X.take(own), data.Y[own], progress=_REPORT)  # type: ignore[attr-defined]
    folder = job / "head"
    folder.mkdir()
    head.save(folder)


def _saved(document: Mapping[str, Any]) -> Head:
    """Load the saved head a job is about, going by what the user called it."""
    return load_head(Path(document["folder"]), document["head"])


class _ScoreFile:
    """A ``.npy`` (n, L) float32 written a block of rows at a time: pages of a mapped file count as memory."""

    def __init__(self, path: Path, shape: tuple[int, int]) -> None:
        self._path, self._row_bytes = path, 4 * shape[1]
        with path.open("wb") as file:
            write_header(file, "float32", shape)
            self._begin = file.tell()
            file.truncate(self._begin + shape[0] * self._row_bytes)

    def fill(self, scorer: Scorer, X: Features, places: Rows | None = None) -> None:
        """Score X (m, D) and write row i to place i, or to ``places[i]`` (ascending)."""
        where = np.arange(len(X)) if places is None else places
        with self._path.open("r+b") as file:
            for part, rows in blocks(X, SCORE_ROWS):
                scores = np.ascontiguousarray(scorer(rows), dtype=np.float32)
                for place, row in zip(where[part].tolist(), scores, strict=True):
                    file.seek(self._begin + place * self._row_bytes)
                    file.write(row)
                _REPORT("score", part.stop, len(X))


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


class _Reporter:
    """A `toolkit.runtime.progress.Progress` that writes lines, not too often."""

    def __init__(self) -> None:
        self._last: dict[str, float] = {}

    def __call__(self, stage: str, done: int, total: int | None, note: str = "") -> None:
        now = time.monotonic()
        if done != total and now - self._last.get(stage, 0) < REPORT_SECONDS:
            return
        self._last[stage] = now
        _say({"stage": stage, "done": done, "total": total, "note": note})


_REPORT = _Reporter()


class _Relay(logging.Handler):
    """Hands log records to the parent, which knows how to show them."""

    def emit(self, record: logging.LogRecord) -> None:
        _say({"level": record.levelno, "logger": record.name, "message": record.getMessage()})


def _say(document: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
