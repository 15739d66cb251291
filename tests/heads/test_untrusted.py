"""Folders of heads from strangers: a head that is consistent, or one plain line."""

import json
import shutil

import faiss
import numpy as np
import pytest

from tests.heads.knn.test_knn_search import clustered
from toolkit.errors import HeadError, ToolkitError
from toolkit.heads.base import HeadBase
from toolkit.heads.knn import search as knn_search
from toolkit.heads.registry import get_head, load_head
from toolkit.testing.heads import example_rows

X, Y = example_rows(60)
KINDS = {
    "mlp": ("mlp", {"epochs": 2, "hidden": (6,)}),
    "logreg": ("logreg", {"C": 0.1}),
    "knn": ("knn", {"k": 5, "temperature": 0.1, "balance": 0.0, "calibration": (1.0, 0.0)}),
    "listed": ("knn", {"k": 5, "temperature": 0.1, "balance": 0.0, "calibration": (1.0, 0.0)}),
    "ensemble": ("ensemble", {"members": ("logreg", "knn"), "coefficients": (1.0, 0.5, 0.0)}),
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Folders of heads by kind; ``listed`` has an index."""
    home = tmp_path_factory.mktemp("saved")
    for kind, (name, options) in KINDS.items():
        head = get_head(name)(**options | ({"index": "approximate"} if kind == "listed" else {}))
        (home / kind).mkdir()
        head.fit(X, Y).save(home / kind)
    return home


@pytest.fixture
def copy(saved, tmp_path):
    """Copy a head to change it."""

    def make(kind):
        return shutil.copytree(saved / kind, tmp_path / "head", dirs_exist_ok=True)

    return make


def edit(folder, **changes):
    """Change values of head.json; dots lead into it."""
    document = json.loads((folder / "head.json").read_text(encoding="utf-8"))
    for place, value in changes.items():
        *parents, last = place.split("__")
        inner = document
        for name in parents:
            inner = inner[name]
        inner[last] = value
    (folder / "head.json").write_text(json.dumps(document), encoding="utf-8")


def replace(folder, name, change):
    path = folder / f"{name}.npy"
    np.save(path, change(np.load(path)))


def put(at, value):
    def change(array):
        array.reshape(-1)[at] = value
        return array

    return change


def halved(array):
    return array[: len(array) // 2]


ARRAYS = {
    "tags beyond the last": ("knn", "Y_indices", put(0, 2**31 - 1), "tags of the rows go beyond the 7 known"),
    "negative tags": ("knn", "Y_indices", put(0, -5), "from -5 to .*; allowed are 0 or more"),
    "tags repeat": ("knn", "Y_indices", np.zeros_like, "do not ascend, or repeat"),
    "ends beyond": ("knn", "Y_indptr", put(1, 2**31 - 1), "do not ascend from 0 to their number"),
    "ends fall": ("knn", "Y_indptr", put(3, 0), "do not ascend from 0 to their number"),
    "ends short": ("knn", "Y_indptr", halved, "do not ascend from 0 to their number"),
    "ends floats": ("knn", "Y_indptr", lambda a: a.astype(float), "float64, not numbers of an allowed kind"),
    "ends empty": ("knn", "Y_indptr", lambda a: a[:0], "it has no rows"),
    "rows short": ("knn", "rows", halved, "rows of 30 x 12 numbers, its other files are of 60 x 12"),
    "rows narrow": ("knn", "rows", lambda a: a[:, :7], "rows of 60 x 7 numbers"),
    "rows NaN": ("knn", "rows", put(5, np.nan), "rows.npy holds NaN or infinity"),
    "rows whole": ("knn", "rows", lambda a: a.astype(int), "holds int64 of shape"),
    "mean short": ("knn", "mean", halved, "mean.npy: it has the shape 6, not 12"),
    "scale zero": ("logreg", "scale", put(0, 0), "scale.npy: its values go from 0 to"),
    "list beyond": ("listed", "index_list", put(0, 77), "has rows in lists beyond its 1"),
    "list short": ("listed", "index_list", halved, "its index is not of 60 rows of 12 features"),
    "codes narrow": ("listed", "index_codes", lambda a: a[:, :5].copy(), "its index is not of 60 rows"),
    "codes signed": ("listed", "index_codes", lambda a: a.astype(np.int8), "holds int8, not uint8"),
    "axes wide": ("listed", "index_axes", lambda a: np.hstack([a, a]), "its index is not of 60 rows"),
    "centroids none": ("listed", "index_centroids", lambda a: a[:0], "beyond its 0"),
    "centroids NaN": ("listed", "index_centroids", put(0, np.nan), "NaN or infinity"),
    "ranges short": ("listed", "index_ranges", halved, "its index is not of 60 rows"),
    "coef narrow": ("logreg", "coef", lambda a: a[:, :3].copy(), "the shape 7 x 3, not 7 x 12"),
    "coef double": ("logreg", "coef", lambda a: a.astype(float), "it holds float64, not float32"),
    "coef NaN": ("logreg", "coef", put(0, np.nan), "coef.npy: it holds NaN or infinity"),
    "intercept short": ("logreg", "intercept", halved, "the shape 3, not 7"),
    "columns beyond": (
        "logreg",
        "constant",
        lambda a: np.array([0, 7]),
        "allowed are 0 or more and 6 or less",
    ),
    "columns twice": ("logreg", "unconverged", lambda a: np.array([1, 1]), "its values do not ascend"),
    "columns floats": ("logreg", "unconverged", lambda a: np.array([1.0]), "holds float64, not int64"),
    "weights turned": (
        "mlp",
        "weight0",
        lambda a: a.T.copy(),
        "layer 0 has weights of 12 x 6, not of 6 x 12",
    ),
    "weights cut": (
        "mlp",
        "weight1",
        lambda a: a[:, :2].copy(),
        "layer 1 has weights of 7 x 2, not of 7 x 6",
    ),
    "bias short": ("mlp", "bias1", halved, "layer 1 has weights of 7 x 6, not of 3 x 6"),
    "bias flat": ("mlp", "bias1", lambda a: a[None], "it has the shape 1 x 7, not any"),
    "objects": ("mlp", "bias1", lambda a: a.astype(object), "pickled Python objects"),
}


@pytest.mark.parametrize("case", ARRAYS)
def test_load__arrays_that_do_not_fit(case, copy):
    kind, name, change, text = ARRAYS[case]
    folder = copy(kind)
    replace(folder, name, change)
    with pytest.raises(HeadError, match=f"{text}.*fit (it|the head) again") as caught:
        load_head(folder)
    assert "\n" not in str(caught.value) and "allow_pickle" not in str(caught.value)


DOCUMENTS = {
    "outside": ("mlp", {"arrays": ["../../x"]}, "'../../x' is no name of an array"),
    "hidden": ("mlp", {"arrays": [".x"]}, "'.x' is no name of an array"),
    "unknown": ("mlp", {"arrays": ["weight0.old"]}, "no layer has an array"),
    "unknown of knn": ("knn", {"arrays": ["x"]}, "it has no array 'x'"),
    "one tag fewer": ("mlp", {"n_tags": 6}, "the network has 7 outputs for 6 tags"),
    "one feature more": ("mlp", {"n_features": 13}, "mean.npy: it has the shape 12, not 13"),
    "no layer": ("mlp", {"arrays": ["mean", "scale"]}, "the network has no layer"),
    "huge": ("logreg", {"n_tags": 10**12}, "expected int <= 16777216 at n_tags"),
    "negative": ("knn", {"n_tags": -1}, "expected int >= 1 at n_tags"),
    "word": ("logreg", {"n_features": "12"}, "expected int, got str at n_features"),
    "k": ("knn", {"facts__k": 0}, "expected int >= 1 at k"),
    "k words": ("knn", {"facts__k": "5"}, "expected int, got str at k"),
    "temperature": ("knn", {"facts__temperature": 0}, "expected float > 0.0 at temperature"),
    "balance": ("knn", {"facts__balance": None}, "expected float, got null at balance"),
    "calibration": ("knn", {"facts__calibration": [1.0]}, "expected array of length 2"),
    "slope": ("knn", {"facts__calibration": [-1, 0]}, "the slope of its calibration is -1.0, not 0 or more"),
    "recall": ("knn", {"facts__recall": 2}, "expected float <= 1.0 at recall"),
    "nprobe": ("listed", {"facts__nprobe": 9}, "its search scans 9 of 1 lists"),
    "nprobe zero": ("listed", {"facts__nprobe": 0}, "expected int >= 1 at nprobe"),
    "transform": ("knn", {"options__transform": "eval"}, "option 'transform' of head 'knn' got 'eval'"),
    "option": ("mlp", {"options__dropout": 7}, "option 'dropout' of head 'mlp' got 7"),
    "C": ("logreg", {"facts__C": -1}, "expected float > 0.0 at C"),
    "epoch": ("mlp", {"facts__epoch": "last"}, "expected int, got str at epoch"),
    "coefficients": ("ensemble", {"facts__coefficients": [1.0]}, "it has 1 coefficient; with 2 members .* 3"),
    "members": ("ensemble", {"options__members": ["knn", "knn"]}, "names of other heads, each once"),
    "itself": ("ensemble", {"options__members": ["ensemble", "knn"]}, "names of other heads, each once"),
    "members outside": (
        "ensemble",
        {"options__members": ["../x", "knn"]},
        "member '../x' is not in its folder",
    ),
    "no members": ("ensemble", {"options__members": []}, "names of other heads, each once"),
    "other sizes": ("ensemble", {"n_tags": 5}, "an ensemble of 12 features and 5 tags, but .* of 12 and 7"),
}


@pytest.mark.parametrize("case", DOCUMENTS)
def test_load__documents_that_do_not_fit(case, copy):
    kind, changes, text = DOCUMENTS[case]
    folder = copy(kind)
    edit(folder, **changes)
    with pytest.raises(HeadError, match=f"{text}.*; fit it again"):
        load_head(folder)


@pytest.mark.parametrize("text", ["[]", "5", "{", "{}", "[" * 10**6, '{"head": ' * 10**6, '{"head": NaN}'])
def test_load__a_document_that_is_none(text, copy):
    folder = copy("knn")
    (folder / "head.json").write_text(text)
    with pytest.raises(HeadError, match="does not hold a readable head .*; fit it again"):
        load_head(folder)


def test_load__an_ensemble_that_holds_itself(copy):
    folder = copy("ensemble")
    shutil.rmtree(folder / "knn")
    (folder / "knn").symlink_to(folder, target_is_directory=True)
    with pytest.raises(HeadError, match="has an ensemble as its member 'knn'; fit it again"):
        load_head(folder)
    (folder / "knn").unlink()
    shutil.copytree(folder, folder / "knn", ignore=lambda *_: ["knn"])
    with pytest.raises(HeadError, match="has an ensemble as its member 'knn'; fit it again"):
        load_head(folder)


def test_load__an_index_is_restored_from_plain_arrays_bit_by_bit(tmp_path, monkeypatch):
    monkeypatch.setattr(knn_search, "DIMS", 12)
    rows, queries = clustered(3000), clustered(80, seed=1)
    head = get_head("knn")(index="approximate", k=10, temperature=0.1).fit(rows, rows[:, :3] > 0)
    head.save(tmp_path)
    assert not (tmp_path / "index_lists.npy").exists()
    monkeypatch.setattr(faiss, "deserialize_index", lambda *_: pytest.fail("an index was deserialised"))
    again = load_head(tmp_path)
    assert again._index._lists.nlist == head._index._lists.nlist > 1
    np.testing.assert_array_equal(again.scores(queries), head.scores(queries))
    for name, array in head._arrays().items():
        np.testing.assert_array_equal(again._arrays()[name], array)


def test_load__an_index_of_an_earlier_version_is_built_again_and_never_parsed(copy, caplog, monkeypatch):
    folder = copy("listed")
    want = load_head(folder).scores(X)
    arrays = json.loads((folder / "head.json").read_text())["arrays"]
    kept = [name for name in arrays if not name.startswith("index_") or name == "index_axes"]
    edit(folder, arrays=[*kept, "index_lists"])
    np.save(folder / "index_lists.npy", np.frombuffer(b"IxSQ" + bytes(range(200)), np.uint8))
    monkeypatch.setattr(faiss, "deserialize_index", lambda *_: pytest.fail("an index was deserialised"))
    head = load_head(folder)
    np.testing.assert_array_equal(head.scores(X), want)
    assert "its index was saved by an earlier version and is not read; it is built again" in caplog.text


class Plugin(HeadBase):
    """A head of another package that declares nothing."""

    name = "plugin"

    def _arrays(self):
        return {"a.b": self.kept_}

    def _restore(self, arrays, facts):
        self.kept_ = arrays["a.b"]


def test_load__a_head_that_declares_nothing_gets_plain_and_finite_arrays(tmp_path):
    head = Plugin()
    head.n_features_, head.n_tags_, head.kept_ = 3, 2, np.arange(4.0)
    head.save(tmp_path)
    np.testing.assert_array_equal(Plugin.load(tmp_path).kept_, head.kept_)
    np.save(tmp_path / "a.b.npy", np.array([np.inf]))
    with pytest.raises(HeadError, match="a.b.npy: it holds NaN or infinity"):
        Plugin.load(tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_load__any_damage_is_a_head_error_or_a_head_that_scores(kind, copy, saved):
    """Flipped, cut and doubled bytes in every file; scores are in [0, 1] or refused."""
    random = np.random.default_rng(len(kind))
    folder = copy(kind)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    loaded = 0
    for number in range(100):
        path = files[number % len(files)]
        whole = path.read_bytes()
        data = bytearray(whole)
        for _ in range(random.integers(1, 3)):
            at = int(random.integers(0, len(data)))
            if random.integers(0, 2):
                data[at] ^= int(random.integers(1, 256))
            else:
                data[at : at + int(random.integers(1, 5))] = b"9" * int(random.integers(0, 4))
        path.write_bytes(data)
        try:
            with np.errstate(all="ignore"):
                scores = load_head(folder).scores(X)
        except ToolkitError as error:
            assert "\n" not in str(error) and "allow_pickle" not in str(error)
        else:
            loaded += 1
            assert scores.shape == Y.shape
        path.write_bytes(whole)
    assert loaded < 100
    np.testing.assert_array_equal(load_head(folder).scores(X), load_head(saved / kind).scores(X))
