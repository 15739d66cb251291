"""Archives of arrays that may lie about their members."""

import io
import struct
import zipfile

import numpy as np
import pytest

from toolkit.files.npy import Expected
from toolkit.files.npz import open_npz

ANY = Expected()


def read(path, name="a", expected=ANY, **more):
    with open_npz(path) as archive:
        return archive.read(name, expected, **more)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_read__what_numpy_wrote(save, tmp_path):
    arrays = {"a": np.arange(6).reshape(2, 3), "b": np.array(["一", "b"]), "c": np.array(1.5)}
    save(tmp_path / "x.npz", **arrays)
    with open_npz(tmp_path / "x.npz") as archive:
        assert archive.names == ["a", "b", "c"]
        for name, array in arrays.items():
            np.testing.assert_array_equal(archive.read(name, ANY), array)


def test_read__a_bomb_is_refused_by_its_announced_size(tmp_path):
    np.savez_compressed(tmp_path / "x.npz", a=np.zeros(2**22, np.uint8))
    assert (tmp_path / "x.npz").stat().st_size < 10_000
    assert read(tmp_path / "x.npz").shape == (2**22,)
    with pytest.raises(ValueError, match="a: it unpacks to 4,194,432 bytes; 1,000,000 are allowed"):
        read(tmp_path / "x.npz", most=10**6)
    with pytest.raises(ValueError, match="a: it has the shape 4194304, not any x 7"):
        read(tmp_path / "x.npz", expected=Expected(shape=(None, 7)))


def _announcing(tmp_path, size):
    """Return an archive whose directory and header announce `size` bytes of data, but holds 8."""
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "|u1", "fortran_order": False, "shape": (size,)})
    data = head.getvalue() + bytes(8)
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w") as members:
        members.writestr("a.npy", data)
    raw = bytearray(path.read_bytes())
    at = raw.index(b"PK\1\2") + 24  # uncompressed size, in the directory
    raw[at : at + 4] = struct.pack("<I", len(head.getvalue()) + size)
    path.write_bytes(raw)
    return path


def test_read__a_member_that_announces_what_cannot_be_in_the_file(tmp_path):
    with pytest.raises(ValueError, match=r"a: it announces 3,000,000,128 bytes, which cannot be in \d+"):
        read(_announcing(tmp_path, 3 * 10**9))


def _member(path, data, **more):
    with zipfile.ZipFile(path, "w") as members:
        members.writestr("a.npy", data, **more)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda path: path.write_bytes(b"PK\3\4 no archive"), "it is not an .npz archive"),
        (lambda path: path.write_bytes(b""), "it is not an .npz archive"),
        (lambda path: _member(path, b"text"), "a: it does not begin as an .npy file does"),
        (lambda path: _member(path, b"", compress_type=zipfile.ZIP_LZMA), "a: it is compressed by method 14"),
        (lambda path: np.savez(path, b=1), "a is missing from it"),
        (lambda path: np.savez(path, a=np.array([{}], object)), "a: .*pickled Python objects"),
        (lambda path: np.savez(path, **{f"a{n}": n for n in range(1001)}), "it has 1,001 members"),
    ],
)
def test_read__damaged(make, text, tmp_path):
    make(tmp_path / "x.npz")
    with pytest.raises(ValueError, match=text) as caught:
        read(tmp_path / "x.npz")
    assert "allow_pickle" not in str(caught.value)


def test_read__a_flipped_bit_fails_the_checksum(tmp_path):
    np.savez(tmp_path / "x.npz", a=np.arange(1000))
    raw = bytearray((tmp_path / "x.npz").read_bytes())
    raw[4000] ^= 1
    (tmp_path / "x.npz").write_bytes(raw)
    with pytest.raises(ValueError, match="a: Bad CRC-32"):
        read(tmp_path / "x.npz")


def test_read__any_bytes_are_arrays_or_a_plain_error(tmp_path):
    random, path = np.random.default_rng(0), tmp_path / "x.npz"
    np.savez_compressed(path, a=np.arange(6).reshape(2, 3), b=np.array(["x", "y"]))
    valid = path.read_bytes()
    for _ in range(800):
        data = bytearray(valid)
        for _ in range(random.integers(1, 4)):
            at = int(random.integers(0, len(data)))
            if random.integers(0, 2):
                data[at] = random.integers(0, 256)
            else:
                del data[at : at + int(random.integers(1, 9))]
        path.write_bytes(data)
        try:
            with open_npz(path) as archive:
                arrays = [archive.read(name, ANY) for name in archive.names]
        except ValueError as error:
            assert "\n" not in str(error)
        else:
            assert all(array.nbytes < 1000 for array in arrays)
