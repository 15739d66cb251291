"""Features as other programs save them: what is converted, what is found in a file, and what is refused."""

import csv
import logging
import pickle

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from toolkit.backbones.tensors import save_array
from toolkit.errors import MachineError, StoreError
from toolkit.verbs.import_features import import_features

X = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
NAMES = ["a.jpg", "b/二.jpg", "c.jpg", "d,e.jpg", "f.jpg"]


def imported(tmp_path, file, *, names=False, **options):
    given = None
    if names:
        given = tmp_path / "names.txt"
        given.write_text("\n".join(NAMES), encoding="utf-8")
    store = import_features(tmp_path / file, given, tmp_path / "store", **options)
    assert store.ids == tuple(NAMES)
    return np.asarray(store.embeddings())


def refusal(tmp_path, file, *, names=False, **options):
    with pytest.raises(StoreError) as caught:
        imported(tmp_path, file, names=names, **options)
    assert "\n" not in str(caught.value) and "allow_pickle" not in str(caught.value)
    assert not (tmp_path / "store").exists()
    return str(caught.value)


# ---------------------------------------------------------------------- dtypes and shapes


@pytest.mark.parametrize(
    ("array", "note"),
    [
        (X.astype(np.float64), "float64 became float32, which keeps about 7 digits"),
        (X.astype(">f4"), "the other byte order became this computer's"),
        (X.astype(">f8"), "float64 became float32, which keeps about 7 digits; the other byte order became"),
        (X.reshape(5, 4, 1, 1), "5 x 4 x 1 x 1 became 5 x 4"),
        (X.reshape(5, 1, 4), "5 x 1 x 4 became 5 x 4"),
        (X.reshape(5, 1, 1, 4), "5 x 1 x 1 x 4 became 5 x 4"),
        (np.asfortranarray(X.reshape(5, 4, 1)), "5 x 4 x 1 became 5 x 4"),
        (X, ""),
        (np.asfortranarray(X), ""),
    ],
)
def test_conversions_are_exact_and_said(tmp_path, caplog, array, note):
    np.save(tmp_path / "x.npy", array)
    got = imported(tmp_path, "x.npy", names=True)
    assert got.dtype == np.float32 and got.dtype.isnative
    np.testing.assert_array_equal(got, X)
    assert note in caplog.text and bool(note) == bool(caplog.records)


@pytest.mark.parametrize("kind", ["int64", "uint8", "int16", "bool", ">i4"])
def test_whole_numbers_become_float32(tmp_path, caplog, kind):
    values = (np.arange(20).reshape(5, 4) % 2 if kind == "bool" else np.arange(20).reshape(5, 4)).astype(kind)
    np.save(tmp_path / "x.npy", values)
    got = imported(tmp_path, "x.npy", names=True)
    np.testing.assert_array_equal(got, values.astype(np.float64))
    assert got.dtype == np.float32 and f"{np.dtype(kind).name} became float32" in caplog.text


@pytest.mark.parametrize("order", "<>")
def test_float16_stays(tmp_path, order):
    np.save(tmp_path / "x.npy", X.astype(f"{order}f2"))
    got = imported(tmp_path, "x.npy", names=True)
    assert got.dtype == np.float16
    np.testing.assert_array_equal(got, X.astype(np.float16))


def test_float64_is_rounded_to_the_nearest(tmp_path):
    values = X.astype(np.float64) / 3
    np.save(tmp_path / "x.npy", values)
    got = imported(tmp_path, "x.npy", names=True)
    assert 0 < np.abs(got - values).max() <= np.abs(values).max() * 2.0**-24


def test_names_are_needed(tmp_path):
    np.save(tmp_path / "x.npy", X)
    assert "holds no names of images; give them with --names FILE" in refusal(tmp_path, "x.npy")


# ---------------------------------------------------------------------- npz


@pytest.mark.parametrize("key", ["features", "Embeddings", "arr_0", "whatever"])
@pytest.mark.parametrize("names", ["names", "img_path", "strings"])
def test_npz__features_and_names(tmp_path, key, names):
    np.savez_compressed(tmp_path / "x.npz", **{key: X, names: np.array(NAMES), "labels": np.arange(5)})
    np.testing.assert_array_equal(imported(tmp_path, "x.npz"), X)


def test_npz__names_as_bytes(tmp_path):
    np.savez(tmp_path / "x.npz", x=X, files=np.array([name.encode() for name in NAMES]))
    np.testing.assert_array_equal(imported(tmp_path, "x.npz"), X)


def test_npz__usual_name_among_several_and_key(tmp_path, caplog):
    np.savez(tmp_path / "x.npz", features=X.astype(np.float64), boxes=np.zeros((5, 2)), names=np.array(NAMES))
    np.testing.assert_array_equal(imported(tmp_path, "x.npz"), X)
    assert "x.npz, features: float64 became float32" in caplog.text
    got = imported(tmp_path, "x.npz", key="boxes", force=True)
    np.testing.assert_array_equal(got, np.zeros((5, 2)))


def test_npz__names_given_win_and_it_is_said(tmp_path, caplog):
    np.savez(tmp_path / "x.npz", x=X, names=np.array([f"{n}.png" for n in range(5)]))
    imported(tmp_path, "x.npz", names=True)
    assert "its own names are not used, as --names gives others" in caplog.text


@pytest.mark.parametrize(
    ("arrays", "options", "text"),
    [
        (
            {"p": X, "q": X},
            {},
            "several that may be the features: 'p' (5 x 4), 'q' (5 x 4); choose one with --key",
        ),
        ({"p": X}, {"key": "q"}, "has no array 'q' of numbers; it has 'p' (5 x 4)"),
        (
            {"labels": np.arange(5)},
            {},
            "has no array of features, with one row an image; it has 'labels' (5)",
        ),
        ({"x": X, "a": np.array(NAMES), "b": np.array(NAMES)}, {}, "holds no names of images"),
        ({"x": X, "names": np.array(NAMES[:4])}, {}, "holds no names of images"),
        ({"x": X, "names": np.array([*NAMES[:4], "a.jpg"])}, {}, "names 'a.jpg' twice, in rows 1 and 5"),
        ({"x": np.array([[{}]], dtype=object)}, {"key": "x"}, "pickled Python objects, which could run code"),
    ],
)
def test_npz__refused(tmp_path, arrays, options, text):
    np.savez(tmp_path / "x.npz", **arrays)
    assert text in refusal(tmp_path, "x.npz", **options)


# ---------------------------------------------------------------------- tables


def write_table(path, header, *, index=False):
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        if header:
            writer.writerow([*([""] if index else []), "img_path", *(f"f{n}" for n in range(4))])
        for number, (name, row) in enumerate(zip(NAMES, X, strict=True)):
            writer.writerow([*([number] if index else []), name, *(repr(float(value)) for value in row)])


@pytest.mark.parametrize(("header", "index"), [(True, False), (False, False), (True, True)])
def test_csv__names_first(tmp_path, caplog, header, index):
    write_table(tmp_path / "x.csv", header, index=index)
    got = imported(tmp_path, "x.csv")
    np.testing.assert_array_equal(got, X)
    assert "its numbers became float32" in caplog.text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("img_path,f0\na.jpg,1\nb.jpg,x\n", "line 3: 'x' is no number; the first column must be names"),
        ("img_path,f0\na.jpg,1e39\n", "line 2 holds infinity or values beyond float32"),
        ("img_path,f0\na.jpg,nan\n", "row 0 holds NaN or infinity"),
        ("img_path\na.jpg\n", "line 1 has one column"),
        ("img_path,f0\n", "has no rows"),
        ("img_path,f0\na.jpg,1\na.jpg,2\n", "names 'a.jpg' twice, in rows 1 and 2"),
    ],
)
def test_csv__refused(tmp_path, text, reason):
    (tmp_path / "x.csv").write_text(text)
    assert reason in refusal(tmp_path, "x.csv")


@pytest.mark.parametrize("form", ["lists", "fixed", "columns"])
def test_parquet(tmp_path, form):
    arrow = pytest.importorskip("pyarrow", reason="parquet needs pyarrow")
    from pyarrow import parquet

    columns = {"img_path": arrow.array(NAMES), "label": arrow.array([1, 2, 3, 4, 5])}
    if form == "columns":
        columns = {"img_path": columns["img_path"], **{f"f{n}": arrow.array(X[:, n]) for n in range(4)}}
    else:
        kind = arrow.list_(arrow.float64()) if form == "lists" else arrow.list_(arrow.float32(), 4)
        columns["embedding"] = arrow.array(X.tolist(), kind)
    parquet.write_table(arrow.table(columns), tmp_path / "x.parquet")
    np.testing.assert_array_equal(imported(tmp_path, "x.parquet"), X)


@pytest.mark.parametrize(
    ("rows", "text"),
    [([[1.0], [1.0, 2.0]], "its lists have different lengths"), ([[1.0], None], "some features are missing")],
)
def test_parquet__refused(tmp_path, rows, text):
    arrow = pytest.importorskip("pyarrow", reason="parquet needs pyarrow")
    from pyarrow import parquet

    parquet.write_table(arrow.table({"name": ["a", "b"], "x": rows}), tmp_path / "x.parquet")
    assert text in refusal(tmp_path, "x.parquet")


def test_parquet__damaged_or_without_its_reader(tmp_path, monkeypatch):
    (tmp_path / "x.parquet").write_bytes(b"PAR1 and no more")
    text = refusal(tmp_path, "x.parquet")
    assert "cannot be read as parquet" in text or "pip install pyarrow" in text
    import sys

    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert "pyarrow, which is not installed; pip install pyarrow" in refusal(tmp_path, "x.parquet")


# ---------------------------------------------------------------------- tensors


def read(tmp_path, file, key=None):
    """Read tensors in this process: the real reader runs in one of its own, which takes seconds to start."""
    names, where = save_array(None, tmp_path / file, key, tmp_path / "out.npy")
    return np.load(tmp_path / "out.npy"), names, where


def test_torch__becomes_a_store(tmp_path):
    content = {"features": torch.tensor(X, dtype=torch.float64).reshape(5, 4, 1, 1), "names": NAMES}
    torch.save(content, tmp_path / "x.pt")
    np.testing.assert_array_equal(imported(tmp_path, "x.pt"), X)


@pytest.mark.parametrize(
    ("content", "names", "where"),
    [
        (torch.tensor(X), None, ""),
        (torch.nn.Parameter(torch.tensor(X)), None, ""),
        ({"y": torch.tensor(X), "img_path": tuple(NAMES), "n": 3, "tags": ["t"] * 5}, NAMES, "y"),
        ({"features": torch.tensor(X), "other": torch.zeros(5, 2), "anything": NAMES}, NAMES, "features"),
        ({"x": torch.tensor(X).T.contiguous().T, "labels": torch.zeros(5), "short": ["a"]}, None, "x"),
    ],
)
def test_torch(tmp_path, content, names, where):
    torch.save(content, tmp_path / "x.pt")
    array, found, key = read(tmp_path, "x.pt")
    np.testing.assert_array_equal(array, X)
    assert (found, key) == (names, where)


def test_torch__bfloat16_keeps_its_values(tmp_path):
    half = torch.tensor(X).bfloat16()
    torch.save(half, tmp_path / "x.pth")
    array, _, _ = read(tmp_path, "x.pth")
    np.testing.assert_array_equal(array, half.float().numpy())


class Harmful:
    def __reduce__(self):
        return (exec, ("raise SystemExit('it ran')",))


def test_torch__objects_are_never_unpickled(tmp_path):
    torch.save({"x": torch.tensor(X), "y": Harmful()}, tmp_path / "x.pt")
    with pytest.raises(
        StoreError, match="holds more than tensors and could run code, and is not loaded; save"
    ):
        read(tmp_path, "x.pt")
    (tmp_path / "y.pt").write_bytes(pickle.dumps(Harmful()))
    with pytest.raises(StoreError, match="could run code, and is not loaded"):
        read(tmp_path, "y.pt")


@pytest.mark.parametrize("file", ["x.pt", "x.safetensors"])
def test_tensors__damaged_or_missing(tmp_path, file):
    assert "there is no file" in refusal(tmp_path, file)
    (tmp_path / file).write_bytes(b"PK\3\4 rubbish" * 9)
    with pytest.raises(StoreError, match=r"cannot be read as tensors \(.*\); save its array with numpy.save"):
        read(tmp_path, file)


@pytest.mark.parametrize(
    ("content", "key", "text"),
    [
        (
            {"p": torch.zeros(5, 2), "q": torch.zeros(5, 3)},
            None,
            r"'p' \(5 x 2\), 'q' \(5 x 3\); choose one with --key",
        ),
        ({"p": torch.zeros(5)}, None, r"has no tensor of features, .*it has 'p' \(5\)"),
        ([torch.zeros(5, 2)], None, "has no tensor of features, with one row an image; it has none"),
        (torch.zeros(5, 2), "z", "--key got 'z', but .* holds one tensor only; leave --key out"),
        (torch.eye(5).to_sparse(), None, "that is not plain; save a dense one of floats"),
        (torch.zeros(5, 2, dtype=torch.complex64), None, "that is not plain"),
    ],
)
def test_tensors__refused(tmp_path, content, key, text):
    torch.save(content, tmp_path / "x.pt")
    with pytest.raises(StoreError, match=text):
        read(tmp_path, "x.pt", key)


def test_safetensors(tmp_path):
    save_file({"embeddings": X, "other": np.zeros((5, 2), np.float32)}, tmp_path / "x.safetensors")
    array, names, where = read(tmp_path, "x.safetensors")
    np.testing.assert_array_equal(array, X)
    assert names is None and where == "embeddings"
    with pytest.raises(StoreError, match="has no tensor 'z'"):
        read(tmp_path, "x.safetensors", "z")


def test_another_ending_is_refused(tmp_path):
    (tmp_path / "x.mat").write_bytes(b"MATLAB")
    assert (
        "ends in '.mat'; features are read from .npy, .npz, .csv, .parquet, .pt, .pth, .safetensors"
        in refusal(tmp_path, "x.mat")
    )


def test_key_where_there_is_nothing_to_choose(tmp_path):
    np.save(tmp_path / "x.npy", X)
    assert "--key got 'a', but" in refusal(tmp_path, "x.npy", key="a")


def test_a_full_disk_is_not_blamed_on_the_features(tmp_path, monkeypatch):
    from toolkit.verbs import import_features as module

    def fail(*_):
        raise OSError("no space left")

    monkeypatch.setattr(module, "_copy", fail)
    np.save(tmp_path / "x.npy", X)
    with pytest.raises(MachineError, match="a file: no space left; "):
        imported(tmp_path, "x.npy", names=True)


@pytest.fixture(autouse=True)
def all_notes(caplog):
    caplog.set_level(logging.WARNING)
