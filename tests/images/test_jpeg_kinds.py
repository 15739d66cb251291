"""JPEGs of kinds that Pillow cannot open are named; damaged ones are not."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from toolkit.errors import ImageError
from toolkit.images.decode import check_header, decode_image


def start(marker, bits, width=8, height=8, before=b""):
    """Write a JPEG up to its frame header, and rubbish behind it."""
    frame = struct.pack(">BHHBBBB", bits, height, width, 1, 1, 0x11, 0)
    return (
        b"\xff\xd8" + before + bytes((0xFF, marker)) + struct.pack(">H", len(frame) + 2) + frame + bytes(40)
    )


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (start(0xC1, 12), "a JPEG of 12 bits"),
        (start(0xC3, 16), "a JPEG of 16 bits"),
        (start(0xF7, 8), "a JPEG-LS of 8 bits"),
        (start(0xC1, 12, before=b"\xff\xe1\0\6abcd\xff\xfe\0\4xy"), "a JPEG of 12 bits"),
        (start(0xC1, 12, before=b"\xff\xff\xfe\0\4xy"), "a JPEG of 12 bits"),
    ],
)
def test_kinds_that_are_not_supported(data, what):
    for decode in (decode_image, lambda data: check_header(io.BytesIO(data))):
        with pytest.raises(ImageError) as caught:
            decode(data)
        assert str(caught.value) == f"not supported: {what}; save it as PNG with 8 bits a channel"


@pytest.mark.parametrize(
    "data",
    [
        start(0xC1, 12, width=0),
        b"\xff\xd8\xff\xe1\xff\xff" + bytes(50),
        b"\xff\xd8\xff" + b"\xff" * 60,
        b"\xff\xd8\xff\xc1\0\x0b\x0c",
    ],
)
def test_damaged_headers_are_damaged(data):
    with pytest.raises(ImageError, match="^(damaged: begins like JPEG|truncated: )"):
        decode_image(data)


def test_usual_jpegs_are_read():
    for options in ({}, {"progressive": True}, {"optimize": True}):
        stream = io.BytesIO()
        Image.fromarray(np.full((8, 8, 3), 90, np.uint8)).save(stream, "JPEG", **options)
        assert decode_image(stream.getvalue()).rgb.getpixel((3, 3)) == (90, 90, 90)
