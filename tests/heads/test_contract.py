"""Every head of the registry fulfils the contract that `toolkit.testing` ships."""

from toolkit.heads.ensemble import Ensemble
from toolkit.heads.knn import Knn
from toolkit.heads.logreg import Logreg
from toolkit.heads.mlp import Mlp
from toolkit.heads.registry import get_head, head_names
from toolkit.testing.heads import HeadContract

MLP = {"epochs": 30, "hidden": (16,), "lr": 0.01, "patience": 8}
ENSEMBLE = {"members": ("logreg", "knn")}


class TestMlp(HeadContract):
    head_class = Mlp
    options = MLP


class TestLogreg(HeadContract):
    head_class = Logreg


class TestKnn(HeadContract):
    head_class = Knn


class TestEnsemble(HeadContract):
    head_class = Ensemble
    options = ENSEMBLE


def test_every_registered_head_is_tested():
    tested = {kind.head_class for name, kind in globals().items() if name.startswith("Test")}
    assert tested == {get_head(name) for name in head_names()}
