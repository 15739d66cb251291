"""Arrays from files that may lie: nothing is allocated, unpickled or believed before it is checked."""

import os
import pickle
import struct
import warnings

import numpy as np
import pytest

from toolkit.errors import StoreError
from toolkit.files.npy import Expected, copy_rows, map_array, open_array, read_array, write_header


def npy(text, data=b"", version=(1, 0)):
    """Return an .npy of that header text, padded as numpy pads it."""
    raw = text.encode("latin-1")
    size = struct.pack("<H" if version[0] == 1 else "<I", len(raw))
    return b"\x93NUMPY" + bytes(version) + size + raw + data


def header(shape="(2, 3)", descr="'<f4'", fortran="False"):
    return f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}\n"


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=np.float32).reshape(2, 3),
        np.asfortranarray(np.arange(6, dtype=np.int64).reshape(2, 3)),
        np.arange(6, dtype=">f8").reshape(3, 2),
        np.array(["天空", "b"]),
        np.array("text"),
        np.array([True, False]),
        np.zeros((0, 5), np.float16),
    ],
    ids=lambda array: f"{array.dtype.name}{array.shape}",
)
def test_read__what_numpy_wrote(array, tmp_path):
    np.save(tmp_path / "x.npy", array)
    for again in (read_array(tmp_path / "x.npy"), map_array(tmp_path / "x.npy")):
        np.testing.assert_array_equal(again, array)
        assert again.shape == array.shape and again.dtype.newbyteorder("=") == array.dtype.newbyteorder("=")


DAMAGED = {
    "": "does not begin as an .npy file",
    "no magic": "does not begin as an .npy file",
    "version": "is of version 9.0 of the .npy format",
    "cut header": "ends within its header",
    "lost brace": "its header cannot be read",
    "no dict": "its header cannot be read",
    "no shape": "its header cannot be read",
    "long header": "its header has 200,000 bytes; 10,000 are allowed",
    "deep header": "its header cannot be read",
    "negative": "no tuple of whole numbers",
    "fraction": "no tuple of whole numbers",
    "overflow": "too large for any array",
    "empty but wide": "too large for any array",
    "lies": "announces float32 of shape 1000000000000 x 2048, which are .* bytes, but it has 24",
    "cut data": "announces float32 of shape 2 x 3, which are 24 bytes, but it has 20",
    "longer": "which are 24 bytes, but it has 28",
    "objects": "pickled Python objects, which could run code and are never loaded",
    "record": "records of several fields",
    "odd type": "values of type '<f3' are not read|its header cannot be read",
    "no bytes": "values of type '<U0' are not read",
    "pickle": "does not begin as an .npy file",
}


def damaged(kind):
    data = bytes(24)
    deep = "[" * 4000 + "]" * 4000
    return {
        "": b"",
        "no magic": b"img_path,tags\na,b\n",
        "version": npy(header(), data, (9, 0)),
        "cut header": npy(header())[:40],
        "lost brace": npy(header().replace("}", " "), data),
        "no dict": npy("[1, 2]\n", data),
        "no shape": npy("{'descr': '<f4', 'fortran_order': False}\n", data),
        "long header": npy(header() + " " * (200_000 - len(header())), data, (2, 0)),
        "deep header": npy(header(deep), data, (2, 0)),
        "negative": npy(header("(-2, 3)"), data),
        "fraction": npy(header("(2.0, 3)"), data),
        "overflow": npy(header(f"({2**62}, {2**62})"), data),
        "empty but wide": npy(header(f"(0, {2**70})")),
        "lies": npy(header("(1000000000000, 2048)"), data),
        "cut data": npy(header(), data[:20]),
        "longer": npy(header(), data + b"more"),
        "objects": npy(header("(1,)", "'|O'"), pickle.dumps([print])),
        "record": npy(header("(2,)", "[('a', '<f4'), ('b', '<f8')]"), data),
        "odd type": npy(header(descr="'<f3'"), data),
        "no bytes": npy(header(f"({2**60},)", "'<U0'")),
        "pickle": pickle.dumps({"a": 1}),
    }[kind]


@pytest.mark.parametrize("kind", DAMAGED, ids=lambda kind: kind or "empty")
def test_read__one_plain_line_and_no_advice_to_unpickle(kind, tmp_path):
    path = tmp_path / "x.npy"
    path.write_bytes(damaged(kind))
    for read in (read_array, map_array):
        with pytest.raises(ValueError, match=f"^x.npy: .*({DAMAGED[kind]})") as caught:
            read(path)
        assert "\n" not in str(caught.value) and "allow_pickle" not in str(caught.value)
    with pytest.raises(StoreError, match=r"x.npy cannot be read \(.*\); embed again with --force"):
        open_array(path)


def test_read__nothing_is_allocated_for_a_lie(tmp_path):
    """A sparse file of a terabyte has all the bytes that its header announces."""
    resource = pytest.importorskip("resource")
    path = tmp_path / "x.npy"
    with path.open("wb") as file:
        write_header(file, "float32", (2**28, 1024))
        file.truncate(file.tell() + 2**40)
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (2**36, hard))
    try:
        with pytest.raises(ValueError, match="its 1,099,511,627,776 bytes do not fit into memory"):
            read_array(path)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    with pytest.raises(ValueError, match="it has the shape 268435456 x 1024, not any x 3"):
        read_array(path, Expected(shape=(None, 3)))


def test_read__only_regular_files(tmp_path):
    os.mkfifo(tmp_path / "pipe.npy")
    for name, text in (("pipe.npy", "named pipe"), (".", "folder"), ("/dev/zero", "device")):
        for read in (read_array, map_array):
            with pytest.raises(OSError, match=text):
                read(tmp_path / name)
    with pytest.raises(StoreError, match=r"pipe.npy cannot be read \(it is a named pipe"):
        open_array(tmp_path / "pipe.npy")


@pytest.mark.parametrize(
    ("array", "expected", "text"),
    [
        (np.zeros(3, np.float64), Expected(dtype="float32"), "it holds float64, not float32"),
        (np.zeros(3), Expected(kinds="iu"), "it holds float64, not numbers of an allowed kind"),
        (np.zeros((2, 3)), Expected(shape=(None, 4)), "the shape 2 x 3, not any x 4"),
        (np.zeros((2, 3)), Expected(shape=(6,)), "the shape 2 x 3, not 6"),
        (np.zeros(3), Expected(shape=()), "the shape 3, not of one value"),
        (np.array([1, np.nan]), Expected(), "NaN or infinity"),
        (np.array([1, -np.inf]), Expected(), "NaN or infinity"),
        (np.array([0, 7]), Expected(low=0, high=6), "from 0 to 7; allowed are 0 or more and 6 or less"),
        (np.array([-1.5]), Expected(low=0), "from -1.5 to -1.5; allowed are 0 or more"),
        (np.array([1, 1]), Expected(ascending=True), "do not ascend"),
        (np.array([2, 255], np.uint8).view(bool), Expected(), "no truth values"),
        (np.array([0x110000], np.uint32).view("U1"), Expected(), "no text"),
    ],
)
def test_read__what_is_expected(array, expected, text, tmp_path):
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(ValueError, match=f"^x.npy: .*{text}"):
        read_array(tmp_path / "x.npy", expected)


def test_read__infinity_where_it_is_allowed(tmp_path):
    np.save(tmp_path / "x.npy", [np.inf])
    assert read_array(tmp_path / "x.npy", Expected(finite=False)) == [np.inf]


def test_copy_rows__of_a_file_that_is_cut(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((4, 2), np.float32))
    os.truncate(tmp_path / "x.npy", 140)
    with (tmp_path / "y").open("wb") as target, pytest.raises(StoreError, match="which are 32 bytes, but it"):
        copy_rows(tmp_path / "x.npy", target, 0, [(0, 0)], 8)


def test_read__any_bytes_are_an_array_or_a_plain_error(tmp_path):
    """Mutations of valid files: a flipped byte, a cut, a doubled part, a number made large."""
    random, path = np.random.default_rng(0), tmp_path / "x.npy"
    np.save(path, np.arange(6, dtype=np.float32).reshape(2, 3))
    valid = path.read_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(1500):
            data = bytearray(valid)
            for _ in range(random.integers(1, 4)):
                at = int(random.integers(0, len(data)))
                choice = random.integers(0, 4)
                if choice == 0:
                    data[at] = random.integers(0, 256)
                elif choice == 1:
                    del data[at : at + int(random.integers(1, 9))]
                elif choice == 2:
                    data[at:at] = data[at : at + 9]
                else:
                    data[at:at] = b"9999999999"
                if not data:
                    data = bytearray(b"\x93")
            path.write_bytes(data)
            try:
                array = read_array(path)
            except ValueError as error:
                assert "\n" not in str(error) and "allow_pickle" not in str(error)
            else:
                assert array.nbytes < 1000
