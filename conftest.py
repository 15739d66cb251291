"""Doctests of the package run on a small artifacts folder made for each of them."""

from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(autouse=True)
def _doctest_artifacts(request, doctest_namespace, tmp_path_factory):
    """Name a folder `artifacts` in every doctest: a store ``train`` of 60 rows with two tags."""
    if not isinstance(request.node, pytest.DoctestItem):
        return
    from toolkit.verbs.import_features import import_features

    folder = tmp_path_factory.mktemp("artifacts")
    rows = np.arange(60)
    X = np.stack([rows % 2, 1 - rows % 2, rows % 7 / 70], axis=1).astype(np.float32)
    np.save(folder / "train.npy", X)
    (folder / "names.txt").write_text("".join(f"{row}.jpg\n" for row in rows))
    lines = (f"{row}.jpg,{('sea', 'tree')[row % 2]}\n" for row in rows)
    (folder / "labels.csv").write_text("img_path,tags\n" + "".join(lines))
    store = import_features(folder / "train.npy", folder / "names.txt", folder / "embeddings" / "train")
    _remember_labels(store.folder, folder / "labels.csv")
    doctest_namespace["artifacts"] = str(folder)


def _remember_labels(store: Path, labels: Path) -> None:
    from toolkit.files.json import read_json, write_json

    meta = read_json(store / "meta.json", dict)
    write_json(store / "meta.json", meta | {"files": {"labels": str(labels)}})
