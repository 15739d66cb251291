"""``import toolkit``: the verbs by name, nothing heavy before one is used."""

import subprocess
import sys

import numpy as np
import pytest

import toolkit


def test_names__are_all_there():
    assert {"embed", "fit", "compare", "predict", "evaluate", "demo"} <= set(dir(toolkit))
    for name in toolkit.__all__:
        assert callable(getattr(toolkit, name))


def test_unknown_name():
    with pytest.raises(AttributeError, match="No toolkit attribute emebd"):
        _ = toolkit.emebd


def test_import__is_light():
    code = "import sys, toolkit; print(sorted({'torch', 'numpy', 'scipy', 'faiss'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_heads__on_plain_arrays():
    X = np.random.default_rng(0).normal(size=(60, 5)).astype(np.float32)
    Y = X[:, :2] > 0
    head = toolkit.get_head("logreg")(C=1.0).fit(X, Y)
    rule = toolkit.parse_rule("global").fit(head.scores(X), toolkit.heads.base.as_labels(Y))
    assert (rule.apply(head.scores(X)).toarray() == Y).mean() > 0.95
