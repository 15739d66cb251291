"""Batches: shapes, memory, order, and several in flight; every case with a device that is made up."""

import threading
import time

import numpy as np
import pytest
from PIL import Image

from tests.embedding.test_run import MeanBackbone, picture
from toolkit.backbones.base import DeviceMemoryError
from toolkit.embedding.forward import Forward, embed_entries
from toolkit.embedding.options import ReadOptions
from toolkit.errors import OptionError
from toolkit.images.manifest import Entry


class Shaped(MeanBackbone):
    """Keeps the shape of a picture and embeds it as its mean colour, with room for `room` pictures."""

    def __init__(self, *, room=1000, pads=True, in_flight=1):
        super().__init__()
        self.room, self.pads, self.in_flight = room, pads, in_flight
        self.busy, self.most = 0, 0
        self.lock = threading.Lock()

    def preprocess(self, image):
        return np.asarray(image)

    def forward(self, batch):
        with self.lock:
            self.busy += 1
            self.most = max(self.most, self.busy)
        time.sleep(0.02)
        with self.lock:
            self.busy -= 1
        if len(batch) > self.room:
            raise DeviceMemoryError(f"{len(batch)} pictures do not fit on the toy")
        self.shapes.append(batch.shape)
        return batch.mean(axis=(1, 2), dtype=np.float32)


@pytest.fixture
def entries(tmp_path):
    """Nineteen pictures of three shapes, mixed."""
    made = []
    for number in range(19):
        height, width = ((8, 8), (8, 12), (12, 8))[number * 7 % 3]
        pixels = np.random.default_rng(number).integers(0, 256, (height, width, 3), dtype=np.uint8)
        path = tmp_path / f"{number:02d}.png"
        Image.fromarray(pixels).save(path)
        made.append(((number, Entry(path.name, path)), pixels.mean(axis=(0, 1))))
    return [entry for entry, _ in made], np.array([mean for _, mean in made])


def embedded(entries, backbone, **options):
    images = sorted(embed_entries(entries, backbone, ReadOptions(**options)), key=lambda image: image.slot)
    assert [image.slot for image in images] == [slot for slot, _ in entries]
    return np.array([image.rows[0] for image in images])


@pytest.mark.parametrize("pads", [True, False])
@pytest.mark.parametrize("in_flight", [1, 3])
def test_shapes_are_never_mixed_and_every_row_is_its_own(entries, pads, in_flight):
    backbone = Shaped(pads=pads, in_flight=in_flight)
    np.testing.assert_allclose(embedded(entries[0], backbone, batch_size=4), entries[1], rtol=1e-5)
    if pads:
        assert {shape[0] for shape in backbone.shapes} == {4}
    else:
        assert sum(shape[0] for shape in backbone.shapes) == 19


def test_several_batches_run_at_once_and_never_more_than_asked_for(entries):
    backbone = Shaped(in_flight=3)
    embedded(entries[0], backbone, batch_size=1)
    assert backbone.most == 3


@pytest.mark.parametrize("in_flight", [1, 3])
def test_memory__batches_are_halved_until_they_fit_and_nothing_is_lost(entries, caplog, in_flight):
    backbone = Shaped(room=2, in_flight=in_flight)
    np.testing.assert_allclose(embedded(entries[0], backbone, batch_size=16), entries[1], rtol=1e-5)
    assert {shape[0] for shape in backbone.shapes} == {2}
    messages = [record.getMessage() for record in caplog.records]
    assert (
        len(messages) == 3
        and "16 pictures do not fit on the toy: continuing with batches of 8" in messages[0]
    )
    assert messages[0].endswith("; that may change the last bits of rows")
    # a handler keeps its records, and an exception keeps the activations of the batch that did not fit
    assert not any(isinstance(value, Exception) for record in caplog.records for value in record.args)


def test_memory__not_even_one(entries):
    with pytest.raises(OptionError, match="1 pictures do not fit on the toy, not even one; give a smaller"):
        embedded(entries[0], Shaped(room=0), batch_size=2)


def test_reading__is_never_far_ahead_of_the_device(tmp_path):
    picture(tmp_path / "p.png", 0)
    taken = []

    def plan():
        for slot in range(400):
            taken.append(slot)
            yield slot, Entry("p.png", tmp_path / "p.png")

    outcomes = embed_entries(plan(), MeanBackbone(), ReadOptions(batch_size=4, num_workers=2))
    next(outcomes)
    assert len(taken) < 40
    outcomes.close()


def test_forward__views_of_one_picture_keep_their_places(tmp_path):
    path = tmp_path / "p.png"
    picture(path, 0)
    entry = [(7, Entry("p.png", path))]
    (one,) = embed_entries(entry, MeanBackbone(), ReadOptions(views=2))
    assert one.slot == 7 and len(one.rows) == 3 and one.row.img_path == "p.png"


def test_forward__pads_with_what_cannot_leak():
    backbone = MeanBackbone()
    pixels = [np.full((8, 8, 3), value, np.uint8) for value in (10, 20, 30)]
    rows = Forward(backbone, 2).rows(pixels)
    np.testing.assert_array_equal(rows, np.repeat([[10.0], [20.0], [30.0]], 12, axis=1))
    assert backbone.shapes == [(2, 8, 8, 3), (2, 8, 8, 3)]
