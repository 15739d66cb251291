"""Isolated decoding in a pass, special files among its images, and the names of slow ones."""

import io
import logging
import os
import sys
import threading

import numpy as np
import pytest
from PIL import Image

from tests.embedding.test_run import MeanBackbone
from toolkit.backbones.options import NetworkOptions
from toolkit.backbones.preprocessing import Preprocessing, Recipe
from toolkit.embedding import watch
from toolkit.embedding.forward import embed_entries
from toolkit.embedding.options import ReadOptions
from toolkit.embedding.read import Known, Reader
from toolkit.embedding.watch import Watch
from toolkit.errors import OptionError
from toolkit.images.files import digest_of
from toolkit.images.manifest import Entry, read_manifest
from toolkit.images.memory import BUDGET
from toolkit.runtime.options import option_fields
from toolkit.store.records import Row
from toolkit.verbs.embed import _pictures, embed
from toolkit.verbs.options import EmbedOptions, PredictOptions

posix = pytest.mark.skipif(sys.platform == "win32", reason="special files of POSIX")


@pytest.fixture
def entries(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(12):
        size = (30 + number, 40)
        image = Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8))
        image.save(tmp_path / f"{number:02d}.{'jpg' if number % 2 else 'png'}")
    (tmp_path / "bad.jpg").write_bytes(b"junk")
    if sys.platform != "win32":
        os.mkfifo(tmp_path / "pipe.jpg")
    return [(slot, Entry(path.name, path)) for slot, path in enumerate(sorted(tmp_path.iterdir()))]


def outcomes(entries, **options):
    images = embed_entries(entries, MeanBackbone(), ReadOptions(num_workers=2, batch_size=4, **options))
    return {image.slot: image for image in images}


@posix
def test_rows_and_reasons_are_the_same_with_and_without(entries):
    plain, isolated = outcomes(entries, views=1), outcomes(entries, views=1, isolate=True)
    assert plain.keys() == isolated.keys() and len(plain) == 14
    for slot, image in plain.items():
        other = isolated[slot]
        assert (image.row, image.reason) == (other.row, other.reason)
        assert [row.tobytes() for row in image.rows] == [row.tobytes() for row in other.rows]
    reasons = {entry.id: plain[slot].reason for slot, entry in entries if plain[slot].reason}
    assert reasons["pipe.jpg"] == "is a named pipe, not a regular file"
    assert reasons["bad.jpg"].startswith("not an image Pillow can read")
    assert BUDGET._held == 0


@posix
def test_pictures_for_calibration_are_the_same_with_and_without(entries, tmp_path):
    recipe = Recipe(resize_size=32, crop_size=32, mean=(0.0,), std=(1.0,))
    preprocessing = Preprocessing.of(recipe, NetworkOptions())
    manifest = read_manifest(tmp_path)
    plain, isolated = (
        _pictures(manifest, EmbedOptions(tmp_path, isolate=isolate))(preprocessing)
        for isolate in (False, True)
    )
    assert len(plain) == 12 and all(map(np.array_equal, plain, isolated))


def test_isolation_and_decoding_on_the_device_exclude_each_other(tmp_path):
    with pytest.raises(OptionError, match="^--isolate cannot be used with --decode device, which decodes in"):
        embed(tmp_path, artifacts=tmp_path, isolate=True, decode="device")


@pytest.mark.parametrize("kind", [EmbedOptions, PredictOptions])
def test_embed_and_predict_take_the_options(kind):
    names = {each.name for each in option_fields(kind)}
    assert {"isolate", "image_timeout", "decode_memory"} <= names


@posix
def test_a_row_of_what_became_a_pipe_is_not_kept(tmp_path):
    path = tmp_path / "a.jpg"
    os.mkfifo(path)
    status = path.stat()
    row = Row("a.jpg", status.st_size, status.st_mtime_ns, digest_of(b""), 1, 1, "RGB")
    known = Known([Entry("a.jpg", path), Entry("b.jpg", path)], by_content=True)
    assert known("a.jpg", {"a.jpg": row}) is None and known("b.jpg", {"a.jpg": row}) is None


def test_a_large_file_waits_for_memory_as_a_whole(tmp_path, monkeypatch):
    """It is read only when there is memory for its bytes too, after the files before it."""
    stream = io.BytesIO()
    Image.new("RGB", (40, 30)).save(stream, "BMP")
    small, large = tmp_path / "a.png", tmp_path / "b.bmp"
    Image.new("RGB", (40, 30)).save(small)
    large.write_bytes(stream.getvalue() + bytes(2**24))
    asked, hold = [], BUDGET.hold

    def recorded(amount, limit):
        asked.append((amount, BUDGET._held, limit))
        return hold(amount, limit)

    monkeypatch.setattr(BUDGET, "hold", recorded)
    with Reader(MeanBackbone(), ReadOptions(decode_memory=100)) as reader:
        first, second = reader.read([Entry("a.png", small), Entry("b.bmp", large)])
    assert first.row.width == second.row.width == 40 and second.row.bytes == large.stat().st_size
    (a, _, _), (b, held, limit) = asked
    assert a < 2**20 and 2**24 < b < 2**24 + 2**20 and held == 0 and limit == 100 * 2**20


def test_an_image_too_large_to_resize_has_a_reason(tmp_path):
    class Narrow(MeanBackbone):
        def preprocess(self, image):
            raise MemoryError

    Image.new("RGB", (40, 30)).save(tmp_path / "a.png")
    with Reader(Narrow(), ReadOptions()) as reader:
        assert reader.read([Entry("a.png", tmp_path / "a.png")]) == [
            "not enough memory to resize 40 x 30 pixels"
        ]


# ---------------------------------------------------------------------- slow images


def test_watch_names_a_slow_image_once(caplog, monkeypatch):
    monkeypatch.setattr(watch, "LOOK_SECONDS", 0.01)
    seen, enough = threading.Event(), threading.Event()

    class Handler(logging.Handler):
        def emit(self, record):
            seen.set()

    handler = Handler()
    watch.logger.addHandler(handler)
    watched = Watch(0.05)
    watched.start()
    try:
        with watched.decoding("slow.jpg"):
            assert seen.wait(30)
            enough.wait(0.2)  # some looks more
        with watched.decoding("quick.jpg"):
            pass
    finally:
        watched.stop()
        watch.logger.removeHandler(handler)
    assert [record.getMessage() for record in caplog.records] == [
        "slow.jpg has been decoding for 0.05 s; --isolate ends such images"
    ]


def test_pillow_stops_at_the_limit_where_it_reads(tmp_path, monkeypatch):
    """A decoder that has not read everything when the time is up gets an error instead of its next block."""
    from toolkit.images import decode as module

    pixels = np.random.default_rng(0).integers(0, 256, (400, 400, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    clock = iter(range(0, 10**6, 30))
    monkeypatch.setattr(module.time, "monotonic", lambda: float(next(clock)))
    with Reader(MeanBackbone(), ReadOptions()) as reader:
        (reason,) = reader.read([Entry("a.png", tmp_path / "a.png")])
    assert reason == "takes longer than 60 s to decode (--image-timeout)"
