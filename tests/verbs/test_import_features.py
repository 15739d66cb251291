"""Features computed elsewhere: what is taken, and what is refused with which words."""

import io
import os

import numpy as np
import pytest

from toolkit.errors import StoreError
from toolkit.verbs.import_features import import_features


def make(tmp_path, X, names):
    np.save(tmp_path / "x.npy", X, allow_pickle=X.dtype == object)
    (tmp_path / "n.txt").write_text(names, encoding="utf-8")
    return import_features(tmp_path / "x.npy", tmp_path / "n.txt", tmp_path / "stores" / "s")


def test_import__float32_rows_in_order(tmp_path):
    X = np.random.default_rng(0).normal(size=(5000, 3)).astype(np.float32)
    store = make(tmp_path, X, "\n".join(f"{row}.jpg" for row in range(5000)))
    np.testing.assert_array_equal(store.embeddings(), X)
    assert store.ids[4999] == "4999.jpg" and store.meta.spec.backbone == "imported"


@pytest.mark.parametrize(
    ("X", "names", "text"),
    [
        (np.zeros((2, 3), np.float32), "a\n", "has 2 rows but .* has 1 name;"),
        (np.zeros((2, 3), np.float32), "a\na\n", "names 'a' twice, in lines 1 and 2"),
        (np.zeros((2, 3), np.float32), "a\n\nb\n", "line 2 is blank"),
        (np.zeros(3, np.float32), "a\n", r"float32 of shape \(3,\); it must be \(rows, features\)"),
        (np.full((2, 3), 1e39), "a\nb\n", "row 0 holds values beyond float32; scale the features first"),
        (np.full((2, 3), 2**24 + 1), "a\nb\n", "row 0 holds whole numbers beyond 16,777,216, which float32"),
        (
            np.zeros((2, 7, 3), np.float32),
            "a\nb\n",
            r"shape \(2, 7, 3\), more than one row an image; pool them",
        ),
        (np.zeros((2, 3), np.complex64), "a\nb\n", "values of type '<c8' are not read"),
        (np.zeros((0, 3), np.float32), "", r"float32 of shape \(0, 3\); it must be"),
        (np.float32([[1, 2], [np.nan, 0]]), "a\nb\n", "row 1 holds NaN or infinity"),
        (np.array([[{}]], dtype=object), "a\n", "is not a plain .npy array"),
    ],
)
def test_import__refused(tmp_path, X, names, text):
    with pytest.raises(StoreError, match=text):
        make(tmp_path, X, names)
    assert not (tmp_path / "stores" / "s").exists()


def test_import__a_file_of_another_kind(tmp_path):
    (tmp_path / "x.npy").write_text("img_path,tags\n")
    (tmp_path / "names.txt").write_text("a\n")
    with pytest.raises(
        StoreError,
        match=r"is not a plain .npy array \(x.npy: it does not begin as an .npy",
    ):
        import_features(tmp_path / "x.npy", tmp_path / "names.txt", tmp_path / "stores" / "s")


def test_import__names_the_store_after_the_array_or_by_name(tmp_path):
    np.save(tmp_path / "x.npy", np.ones((1, 3), np.float32))
    (tmp_path / "n.txt").write_text("a.jpg\n")
    arguments = (tmp_path / "x.npy", tmp_path / "n.txt")
    for options, name in (({}, "x"), ({"name": "y"}, "y")):
        store = import_features(*arguments, artifacts=tmp_path / "artifacts", **options)
        assert store.folder == tmp_path / "artifacts" / "embeddings" / name and store.ids == ("a.jpg",)
        assert store.meta.spec.options == {}
    with pytest.raises(StoreError, match="there is a store at .*x already; give another --name, or --force"):
        import_features(*arguments, artifacts=tmp_path / "artifacts")
    import_features(*arguments, artifacts=tmp_path / "artifacts", force=True)


def _archive(path):
    with path.open("wb") as file:
        np.savez(file, a=1)


def _header(shape):
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return file.getvalue()


@pytest.mark.parametrize(
    ("write", "text"),
    [
        (
            lambda path: path.write_bytes(_header((10**12, 2048))),
            "announces float32 of shape 1000000000000 x",
        ),
        (
            lambda path: path.write_bytes(_header((2, 3)).replace(b"}", b" ") + bytes(24)),
            "header cannot be read",
        ),
        (
            lambda path: path.write_bytes(_header((10**9, 0))),
            r"holds float32 of shape \(1000000000, 0\); it must",
        ),
        (os.mkfifo, "it is a named pipe"),
        (lambda path: path.symlink_to("/dev/zero"), "it is a device"),
        (lambda path: path.mkdir(), "it is a folder"),
        (_archive, "does not begin as an .npy file does"),
    ],
)
def test_import__a_lying_or_endless_file(write, text, tmp_path):
    write(tmp_path / "x.npy")
    (tmp_path / "n.txt").write_text("a\n")
    with pytest.raises(StoreError, match=f"x.npy .*{text}") as caught:
        import_features(tmp_path / "x.npy", tmp_path / "n.txt", tmp_path / "stores" / "s")
    assert "allow_pickle" not in str(caught.value) and not (tmp_path / "stores" / "s").exists()
