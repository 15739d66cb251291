"""Heads by name: near misses, import strings, entry points."""

import subprocess
import sys

import pytest

from toolkit.errors import OptionError
from toolkit.heads.knn.head import Knn
from toolkit.heads.registry import get_head, head_names


def test_names__ours_in_order():
    assert head_names()[:4] == ("mlp", "logreg", "knn", "ensemble")


def test_get__by_name_and_import_string():
    assert get_head("knn") is Knn is get_head("toolkit.heads.knn.head:Knn")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("logrg", "there is no head 'logrg'; did you mean 'logreg'\\? heads are mlp, logreg, knn, ensemble"),
        ("nope.module:Head", "cannot be imported from 'nope.module:Head'"),
        ("toolkit.heads.knn.head:K_GRID", "is no head: a head is a class with name, fit, scores"),
    ],
)
def test_get__errors(name, message):
    with pytest.raises(OptionError, match=message):
        get_head(name)


def test_get__a_head_of_another_package(monkeypatch):
    from importlib import metadata

    point = metadata.EntryPoint("mine", "toolkit.heads.knn.head:Knn", "toolkit.heads")
    stolen = metadata.EntryPoint("mlp", "toolkit.heads.knn.head:Knn", "toolkit.heads")
    monkeypatch.setattr(metadata, "entry_points", lambda group: [point, stolen])
    assert get_head("mine") is Knn and head_names()[-1] == "mine"
    assert get_head("mlp") is not Knn


@pytest.mark.parametrize(
    ("name", "banned"), [("logreg", ("torch", "faiss")), ("knn", ("torch",)), ("mlp", ("torch", "faiss"))]
)
def test_scoring__imports_only_what_it_needs(name, banned, tmp_path):
    """faiss and torch each bring an OpenMP runtime; loading both crashes on macOS."""
    import numpy as np

    X = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
    get_head(name)().fit(X, X[:, :2] > 0).save(tmp_path)
    np.save(tmp_path / "X.npy", X)
    code = (
        "import sys, numpy as np; from pathlib import Path; from toolkit.heads.registry import load_head\n"
        f"f = Path({str(tmp_path)!r}); load_head(f).scores(np.load(f / 'X.npy'))\n"
        f"print(sorted(set({banned!r}) & set(sys.modules)))"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert output.stdout.strip() == "[]"
