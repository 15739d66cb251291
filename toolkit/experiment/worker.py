"""What runs in a process of its own: fitting a head, scoring with it, teaching it further tags.

A separate process keeps torch and faiss apart (each brings an OpenMP runtime, and both in one process crash
on macOS) and makes the peak memory it reports that of the head alone. Arrays are exchanged as files.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.arrays.features import Features, blocks, loaded
from toolkit.arrays.types import Float32Array, RowNumbers
from toolkit.errors import HeadError
from toolkit.experiment.jobs import load_labels
from toolkit.experiment.stores import read_features
from toolkit.files.npy import read_array, write_header
from toolkit.heads.adding import new_tag_scorer
from toolkit.heads.base import Head
from toolkit.heads.options import options_from_json
from toolkit.heads.registry import get_head, load_head
from toolkit.runtime.memory import peak_mb
from toolkit.runtime.messages import counted
from toolkit.runtime.progress import Progress
from toolkit.runtime.stages import Stages

SCORE_ROWS = 4096  # rows scored at a time


class _Data:
    """The labelled rows a job works on: X plain and augmented, Y, and the rows of each part."""

    def __init__(self, folder: Path, store_set: dict[str, Any], progress: Progress) -> None:
        self.X, *self._views = read_features(store_set, read_array(folder / "rows.npy"))
        self.Y = load_labels(folder / "Y.npz")
        self.train, self.val, self.test, self.pool, self.fold = (
            read_array(folder / f"{name}.npy") for name in ("train", "val", "test", "pool", "fold")
        )
        self._progress = progress

    def fit(self, head: Head, rows: RowNumbers, val: RowNumbers | None = None) -> Head:
        """Fit on some rows; choose options on the rows `val`."""
        more: dict[str, Any] = {}
        if self._views and head.uses_views:
            more["views"] = [view.take(rows) for view in self._views]
        if val is not None:
            more["val"] = (loaded(self.X.take(val)), self.Y[val])
        # a head meets `Features` only where its rows are too many to load
        return head.fit(loaded(self.X.take(rows)), self.Y[rows], progress=self._progress, **more)

    def score(self, head: Head, rows: RowNumbers, path: Path) -> None:
        """Write the scores of some rows."""
        self.score_file(path, rows).fill(head.scores, self.X.take(rows))

    def score_file(self, path: Path, rows: RowNumbers) -> "_ScoreFile":
        return _ScoreFile(path, (len(rows), self.Y.shape[1]), self._progress)


def fit(progress: Progress, job: Mapping[str, Any]) -> dict[str, Any]:
    """Fit one head on the train rows, score the others, and fit it again on all rows if so asked.

    ``tuning_scores.npy`` are of the val rows or, with folds, of train and val rows, each scored by a head
    that was fitted without its fold; the head that scores the test rows is then fitted on all of these.
    """
    folder: Path = job["folder"]
    data, kind = _Data(job["data"], job["store_set"], progress), get_head(job["head"])
    seconds = Stages()
    head = kind(**options_from_json(job["options"]))
    with seconds.timing("fit"):
        data.fit(head, data.train, data.val)
    options, history = head.chosen(), head.history
    if len(data.fold):
        with seconds.timing("folds"):
            scores = data.score_file(folder / "tuning_scores.npy", data.pool)
            head = _out_of_fold(data, kind, options, scores)
    else:
        data.score(head, data.val, folder / "tuning_scores.npy")
    with seconds.timing("score"):
        data.score(head, data.test, folder / "test_scores.npy")
    peak = peak_mb()
    if job["refit"]:
        with seconds.timing("refit"):
            head = data.fit(kind(**options), np.arange(len(data.X)))
    with seconds.timing("save"):
        _save(head, folder)
    return {
        "seconds": dict(seconds),
        "peak_mb": peak,
        "chosen": options,
        "history": history,
        "diagnostics": head.diagnostics(),
    }


def _out_of_fold(data: _Data, kind: type[Head], options: dict[str, Any], scores: "_ScoreFile") -> Head:
    """Score each fold of the pool by a head fitted on the others; return one fitted on the whole pool."""
    for fold in range(int(data.fold.max()) + 1):
        inside = data.fold == fold
        head = data.fit(kind(**options), data.pool[~inside])
        scores.fill(head.scores, data.X.take(data.pool[inside]), np.flatnonzero(inside))
    return data.fit(kind(**options), data.pool)


def score(progress: Progress, job: Mapping[str, Any]) -> None:
    """Score all rows of some stores with a saved head into ``scores.npy``."""
    head = load_head(job["saved"], job["head"])
    X = read_features(job["store_set"], job["rows"])[0]
    _ScoreFile(job["folder"] / "scores.npy", (len(X), job["n_tags"]), progress).fill(head.scores, X)


def add_tags(progress: Progress, job: Mapping[str, Any]) -> None:
    """Learn new columns from the train rows to score the others, then from the head's rows, and save it."""
    folder: Path = job["folder"]
    data, head = _Data(job["data"], job["store_set"], progress), load_head(job["saved"], job["head"])
    scorer = new_tag_scorer(head, data.X.take(data.train), data.Y[data.train])
    for part, rows in (("val", data.val), ("test", data.test)):
        data.score_file(folder / f"{part}_scores.npy", rows).fill(scorer, data.X.take(rows))
    rows = job["rows"]
    head.add_tags(data.X.take(rows), data.Y[rows], progress=progress)
    _save(head, folder)


def _save(head: Head, folder: Path) -> None:
    (folder / "head").mkdir()
    head.save(folder / "head")


class _ScoreFile:
    """A ``.npy`` (n, L) float32 written a block of rows at a time: pages of a mapped file count as memory."""

    def __init__(self, path: Path, shape: tuple[int, int], progress: Progress) -> None:
        self._path, self._row_bytes, self._progress = path, 4 * shape[1], progress
        with path.open("wb") as file:
            write_header(file, "float32", shape)
            self._begin = file.tell()
            file.truncate(self._begin + shape[0] * self._row_bytes)

    def fill(
        self, scorer: Callable[[Float32Array], Float32Array], X: Features, places: RowNumbers | None = None
    ) -> None:
        """Score X (m, D) and write row i to place i, or to ``places[i]`` (ascending)."""
        places = np.arange(len(X)) if places is None else places
        with self._path.open("r+b") as file:
            for part, rows in blocks(X, SCORE_ROWS):
                scores = np.ascontiguousarray(scorer(rows), dtype=np.float32)
                if scores.shape != (len(rows), self._row_bytes // 4):
                    raise HeadError(
                        f"the head gives scores of shape {scores.shape} for {counted(len(rows), 'row')} and "
                        f"{counted(self._row_bytes // 4, 'tag')}; fit it again"
                    )
                for place, row in zip(places[part].tolist(), scores, strict=True):
                    file.seek(self._begin + place * self._row_bytes)
                    file.write(row)
                self._progress("score", part.stop, len(X))
