"""libtiff's lines: a warning with the image's name, of the right image, and nothing on standard error."""

import io
import re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, features

from toolkit.errors import ImageError
from toolkit.images import libtiff
from toolkit.images.decode import counted_lines, decode_image

pytestmark = pytest.mark.skipif(
    not (features.check("libtiff") and libtiff.collect_errors()),
    reason="this Pillow's libtiff is not reachable",
)


def damaged(seed, compression="tiff_lzw"):
    rng = np.random.default_rng(seed)
    stream = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(
        stream, "TIFF", compression=compression
    )
    data = bytearray(stream.getvalue())
    data[100:140] = bytes(rng.integers(0, 256, 40, dtype=np.uint8))
    return bytes(data)


def decoded(data, name):
    try:
        decode_image(data, name=name)
    except ImageError as error:
        return str(error)
    return ""


def test_a_line_becomes_a_warning_with_the_name(caplog, capfd):
    reason = decoded(damaged(0), "a.tif")
    assert reason.startswith("damaged: this TIFF cannot be decoded")
    (record,) = caplog.records
    assert re.match("a.tif: (Using code not yet in table|Not enough data|Corrupted)", record.getMessage())
    assert capfd.readouterr() == ("", "")


def test_formatted_arguments_are_in_the_line(caplog):
    decoded(damaged(1, "tiff_deflate"), "a.tif")
    assert re.search(r"a.tif: Decoding error at scanline \d+, ", caplog.records[0].getMessage())


def test_every_line_has_the_name_of_its_own_image(caplog, capfd):
    files = {f"{number}.tif": damaged(number, "tiff_deflate") for number in range(40)}
    whole = io.BytesIO()
    Image.new("RGB", (64, 64)).save(whole, "TIFF", compression="tiff_lzw")
    files |= {f"whole{number}.tif": whole.getvalue() for number in range(40)}
    with ThreadPoolExecutor(6) as pool:
        failed = dict(zip(files, pool.map(decoded, files.values(), files), strict=True))
    named = {record.getMessage().partition(": ")[0] for record in caplog.records}
    assert named == {name for name, reason in failed.items() if reason} and len(named) > 30
    assert capfd.readouterr() == ("", "")


def test_many_lines_are_counted():
    assert counted_lines(["one"]) == "one"
    assert counted_lines([" one ", "two", "three"]) == "one (and 2 more such lines)"


def test_without_libtiff_nothing_changes(monkeypatch):
    monkeypatch.setattr(libtiff.ctypes, "CDLL", lambda name: object())
    assert libtiff.collect_errors.__wrapped__() is False
