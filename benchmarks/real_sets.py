"""Real data and how it is split: what the benchmarks of F1 have in common."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from toolkit.evaluation.splits import stratified_split
from toolkit.experiment.dataset import DataOptions, load_dataset

Part = tuple[np.ndarray, sp.csr_array]
Rows = np.ndarray
RESAMPLES = 2000


@dataclass(frozen=True, eq=False)
class RealSet:
    """X (N, D) float32, Y (N, L) boolean CSR, and rows of train, val and test for each split."""

    name: str
    X: np.ndarray
    Y: sp.csr_array
    splits: list[tuple[Rows, Rows, Rows]]

    @cached_property
    def resamples(self) -> np.ndarray:
        """How often each row is drawn in every bootstrap sample of the test images, (B, N) float64.

        A row counts equally often in every split it is a test image of: splits share images, so they are no
        independent sample; the images are.
        """
        drawn_from = np.unique(np.concatenate([test for _, _, test in self.splits]))
        even = np.full(len(drawn_from), 1 / len(drawn_from))
        times = np.zeros((RESAMPLES, len(self.X)))
        times[:, drawn_from] = np.random.default_rng(0).multinomial(len(drawn_from), even, size=RESAMPLES)
        return times

    def part(self, rows: Rows) -> Part:
        """Return features and tags of the rows."""
        return self.X[rows], self.Y[rows]


def real_sets(stores: Sequence[str], archives: Sequence[Path], splits: int) -> Iterator[RealSet]:
    """Yield embedding stores, given as ARTIFACTS:STORE:LABELS (A+B: side by side), then ``.npz`` files.

    A store is split at random, `splits` times; of an archive, which has a test part, only the training rows.
    """
    for text in stores:
        artifacts, store, labels = text.split(":")
        where = DataOptions(artifacts=Path(artifacts), store=store.split("+"), labels=Path(labels))
        data = load_dataset(where)
        yield RealSet(store, data.source.features()[:], data.Y, random_splits(len(data.ids), splits))
    for path in archives:
        with np.load(path, allow_pickle=False) as saved:
            X, Y = (np.concatenate([saved[f"{key}_train"], saved[f"{key}_test"]]) for key in "XY")
            n_train = len(saved["X_train"])
        tags = sp.csr_array(Y.astype(bool))
        yield RealSet(path.stem, X.astype(np.float32), tags, given_test(tags, n_train, splits))


def random_splits(N: int, n: int) -> list[tuple[Rows, Rows, Rows]]:
    """Return `n` seeded random splits of N rows, 70, 15 and 15 %."""
    cuts = [int(0.7 * N), int(0.85 * N)]
    out = []
    for seed in range(n):
        train, val, test = np.split(np.random.default_rng(seed).permutation(N), cuts)
        out.append((train, val, test))
    return out


def given_test(Y: sp.csr_array, n_train: int, n: int) -> list[tuple[Rows, Rows, Rows]]:
    """Return `n` seeded splits of the first `n_train` rows, 85 and 15 %; the rest is test in all of them."""
    test = np.arange(n_train, Y.shape[0])
    drawn = (stratified_split(Y[:n_train], (0.85, 0.15), seed=seed) for seed in range(n))
    return [(rest, held, test) for rest, held in drawn]
