"""Folders replaced while a command reads them, at every disk operation of the command."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.faults.lab import ROWS, TRAIN, Lab, run
from tests.made_up import made_up, names, write_labels, write_store
from toolkit.errors import StoreError
from toolkit.files.csv import read_csv
from toolkit.files.folders import replace

CHANGED = "changed meanwhile; run the same command again"
PREDICT = ("predict", "train", "--head", "knn", "--rule", "top-k:1", "--out", "out.csv")
FIT = ("fit", "--head", "knn", "-o", "k=3", *TRAIN)
FIT_OTHER = ("fit", "--head", "knn", "-o", "k=9", *TRAIN)


def add_others(lab: Lab) -> None:
    """Give the lab's folder a store ``other`` of as many images, and a second knn head beside all."""
    X, Y = made_up(seed=9, n=ROWS)
    images = [f"b/{number}.jpg" for number in range(ROWS)]
    write_store(lab.base, "other", X[::-1], images)
    with lab.copy() as home:
        ended = run(FIT_OTHER, home)
        assert ended.status == 0, ended
        shutil.copytree(home / "artifacts" / "heads" / "knn", lab.base / "other-knn")
    write_labels(lab.base / "labels.csv", [*names(ROWS), *images], np.vstack([made_up(n=ROWS)[1], Y]))


def _predictions(home: Path) -> Any:
    return [tuple(cells) for _, cells in read_csv(home / "out.csv", error=StoreError)]


def _rows(home: Path) -> Any:
    head = home / "artifacts" / "heads" / "knn"
    return (head / "rows.npy").read_bytes(), (head / "Y_indices.npy").read_bytes()


@dataclass(frozen=True)
class Race:
    """A command, the folder that is replaced under it, by what, and the command's result."""

    command: tuple[str, ...]
    folder: str
    by: str
    result: Callable[[Path], Any]


RACES = {
    "predict, store replaced": Race(PREDICT, "embeddings/train", "artifacts/embeddings/other", _predictions),
    "predict, head replaced": Race(PREDICT, "heads/knn", "other-knn", _predictions),
    "fit, store replaced": Race(FIT, "embeddings/train", "artifacts/embeddings/other", _rows),
}


@dataclass
class Counts:
    """How the command ended, by the moment of the replacement."""

    moments: int = 0
    refused: int = 0
    old: int = 0
    new: int = 0
    wrong: int = 0


def run_race(lab: Lab, race: Race, step: int) -> Counts:
    """Replace the folder at every `step`-th disk operation of the command; sort what came of it."""
    results = []
    for replaced in (False, True):
        with lab.copy() as home:
            if replaced:
                replace(home / race.by, home / "artifacts" / race.folder)
            ended = run(race.command, home)
            assert ended.status == 0, ended
            results.append(race.result(home))
    old, new = results
    assert old != new
    counts, moment = Counts(), 0
    while True:
        with lab.copy() as home:
            ended = run(race.command, home, _replacing(home, race, moment))
            if (home / race.by).exists():
                return counts  # the command ended before that moment
            counts.moments += 1
            if ended.status:
                refused = ended.status == 2 and ended.is_one_line and CHANGED in ended.err
                counts.refused += refused
                counts.wrong += not refused
            else:
                got = race.result(home)
                counts.old += got == old
                counts.new += got == new
                counts.wrong += got not in (old, new)
        moment += step


def _replacing(home: Path, race: Race, moment: int) -> Callable[[int, str, str], None]:
    def before(number: int, kind: str, path: str) -> None:
        if number == moment:
            replace(home / race.by, home / "artifacts" / race.folder)

    return before
