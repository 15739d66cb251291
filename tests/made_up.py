"""A store of made-up features whose tags they predict, with its label file: no backbone needed."""

from pathlib import Path

import numpy as np
import pytest

from toolkit.files.csv import write_csv
from toolkit.verbs.import_features import import_features

TAGS = ("天空", "sea", "tree", "car")
N, D = 160, 10


def made_up(seed=0, n=N):
    random = np.random.default_rng(seed)
    X = np.abs(random.normal(size=(n, D))).astype(np.float32)
    Z = X @ np.random.default_rng(5).normal(size=(D, len(TAGS))) * 2
    return X, np.median(Z, axis=0) + 0.3 < Z


def write_store(home: Path, name: str, X, ids):
    home.mkdir(exist_ok=True)
    np.save(home / f"{name}.npy", X)
    (home / f"{name}.txt").write_text("".join(f"{image}\n" for image in ids), encoding="utf-8")
    import_features(home / f"{name}.npy", home / f"{name}.txt", home / "artifacts" / "embeddings" / name)


def write_labels(path: Path, ids, Y):
    rows = ((image, ",".join(np.array(TAGS)[row])) for image, row in zip(ids, Y, strict=True))
    write_csv(path, ("img_path", "tags"), rows)


def names(n=N):
    return [f"a/图 {number:03d}.jpg" for number in range(n)]


@pytest.fixture
def home(tmp_path):
    """A folder with ``artifacts/embeddings/train`` and ``labels.csv``."""
    X, Y = made_up()
    write_store(tmp_path, "train", X, names())
    write_labels(tmp_path / "labels.csv", names(), Y)
    return tmp_path


@pytest.fixture
def given(home):
    """Options every verb needs in that folder."""
    return {"artifacts": home / "artifacts", "labels": home / "labels.csv"}
