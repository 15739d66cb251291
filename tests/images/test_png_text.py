"""PNGs whose text, profiles and EXIF are large: the picture is read, and what changes pixels is applied."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from tests.layouts.grid import chunk, png
from toolkit.errors import ImageError
from toolkit.images import png as module
from toolkit.images.decode import check_header, decode_image
from toolkit.images.options import ImagePolicy
from toolkit.images.png import MOST_PROFILE, without_text

VALUES = np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8)
PLAIN = png(VALUES, 8, 2)
MUCH = b"x" * (2**20 + 1)  # more than Pillow unpacks
LONG = MOST_PROFILE + 1


def text(kind, content, name=b"Comment"):
    body = {
        b"tEXt": name + b"\0" + content,
        b"zTXt": name + b"\0\0" + zlib.compress(content),
        b"iTXt": name + b"\0\1\0en\0Comment\0" + zlib.compress(content),
        b"iCCP": name + b"\0\0" + zlib.compress(content),
    }[kind]
    return kind, body


def pixels(data):
    check_header(io.BytesIO(data))
    return np.asarray(decode_image(data).rgb)


@pytest.mark.parametrize("kind", [b"tEXt", b"zTXt", b"iTXt"])
@pytest.mark.parametrize("size", [len(MUCH), LONG])
@pytest.mark.parametrize("after", [False, True], ids=["before the pixels", "after them"])
def test_text_of_any_length_changes_nothing(kind, size, after):
    part = text(kind, b"x" * size)
    data = png(VALUES, 8, 2) if after else png(VALUES, 8, 2, part)
    if after:
        data = data[:-12] + chunk(*part) + data[-12:]
    assert np.array_equal(pixels(data), VALUES)


def test_many_texts_change_nothing():
    _, body = text(b"zTXt", b"x" * 10**6, b"")
    parts = [(b"zTXt", b"%d" % number + body) for number in range(70)]  # 70 MB
    assert np.array_equal(pixels(png(VALUES, 8, 2, *parts)), VALUES)


@pytest.mark.parametrize("kind", [b"tEXt", b"zTXt", b"iTXt"])
def test_orientation_in_text_is_kept(kind):
    """EXIF and XMP may be stored as text; a long comment beside them must not take them away."""
    exif = b"MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0"
    raw = b"\nexif\n%8d\n%s\n" % (len(exif), exif.hex().encode())
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    if kind == b"iTXt":
        turning = (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp)
    else:
        turning = text(kind, raw, b"Raw profile type exif")
    data = png(VALUES, 8, 2, text(b"zTXt", MUCH), turning)
    assert np.array_equal(pixels(data), np.rot90(VALUES, -1))


def test_large_profile_is_applied():
    from tests.images.test_pixels import LINEAR_RGB, icc

    assert LINEAR_RGB and icc
    padded = bytearray(LINEAR_RGB + bytes(3 * 2**20))
    struct.pack_into(">I", padded, 0, len(padded))
    stream = io.BytesIO()
    Image.fromarray(VALUES).save(stream, "PNG", icc_profile=LINEAR_RGB)
    wanted = np.asarray(decode_image(stream.getvalue()).rgb)
    assert not np.array_equal(wanted, VALUES)
    assert np.array_equal(pixels(png(VALUES, 8, 2, text(b"iCCP", bytes(padded)))), wanted)


def test_profile_that_is_a_bomb_is_left_out():
    assert np.array_equal(pixels(png(VALUES, 8, 2, text(b"iCCP", bytes(LONG)))), VALUES)


def test_nothing_is_copied_where_nothing_is_long():
    small = png(VALUES, 8, 2, text(b"tEXt", b"by me"), text(b"zTXt", b"x" * 500))
    for data in (PLAIN, small, b"", b"\x89PNG", b"GIF89a" + bytes(20), PLAIN[:20]):
        stream = io.BytesIO(data)
        assert without_text(stream) is None and stream.tell() == 0


def test_damaged_behind_the_text_is_still_damaged():
    data = bytearray(png(VALUES, 8, 2, text(b"tEXt", MUCH)))
    data[-30:-20] = bytes(10)
    with pytest.raises(ImageError, match=r"^(damaged: this PNG cannot be decoded|truncated)"):
        decode_image(bytes(data))
    with pytest.raises(ImageError, match="^truncated"):
        decode_image(png(VALUES, 8, 2, text(b"tEXt", MUCH))[:-30])


def test_memory_counts_the_copy():
    data = png(VALUES, 8, 2, text(b"tEXt", MUCH))
    asked = []

    def reserve(amount):
        asked.append(amount)
        from toolkit.images.memory import held_already

        return held_already(amount)

    decode_image(data, reserve=reserve)
    assert asked[0] >= 2 * len(data)
    assert check_header(io.BytesIO(data)) >= 3 * len(data)
    huge = png(VALUES, 8, 2, text(b"tEXt", b"x" * (40 * 2**20)))
    with pytest.raises(ImageError, match="decoding it may take 80 MB of memory, over the limit of 64"):
        decode_image(huge, ImagePolicy(decode_memory=64))


def test_a_file_of_zeros_behind_the_signature_is_one_damaged_chunk():
    stream = io.BytesIO(b"\x89PNG\r\n\x1a\n" + bytes(1_000_000))
    assert module._chunks(stream, header=False) == [(8, b"\0\0\0\0", 0)]


def test_more_chunks_than_any_picture_has_are_left_to_pillow(monkeypatch):
    monkeypatch.setattr(module, "_MOST_CHUNKS", 10)
    chunk = b"\0\0\0\0teXt\0\0\0\0"
    assert len(module._chunks(io.BytesIO(b"\x89PNG\r\n\x1a\n" + 5 * chunk), header=False)) == 5
    assert module._chunks(io.BytesIO(b"\x89PNG\r\n\x1a\n" + 50 * chunk), header=False) == []
