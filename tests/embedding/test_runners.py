"""One plan, several processes: two on the processor stand in for two GPUs."""

import os
import signal
import threading
import time

import numpy as np
import pytest
from PIL import Image

from toolkit.embedding import embed
from toolkit.embedding.read import ReadOptions
from toolkit.embedding.runners import ManyDevices
from toolkit.errors import OptionError, SpecMismatchError, WeightsError
from toolkit.manifest import Entry

NETWORK = {"name": "resnet18", "weights": "random:0", "input_size": 64, "precision": "fp32"}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(150):
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((64, 64)).save(folder / f"{number:03d}.png")
    (folder / "bad.jpg").write_bytes(b"junk")
    return folder


def test_two_devices_make_the_store_that_one_makes(pictures, tmp_path):
    options = {"artifacts": tmp_path, "backbone": "resnet18", "weights": "random:0", "input_size": 64}
    one = embed(pictures, name="one", device="cpu", **options)
    two = embed(pictures, name="two", device="cpu,cpu", **options)
    assert (two.embedded, two.failed) == (150, 1) and one.store.ids == two.store.ids
    np.testing.assert_array_equal(one.store.embeddings(), two.store.embeddings())
    assert one.store.meta.spec == two.store.meta.spec and two.store.meta.made_with["device"] == "cpu,cpu"
    again = embed(pictures, name="two", device="cpu", **options)
    assert (again.embedded, again.kept) == (0, 150)


def test_what_goes_wrong_in_a_process_is_raised_here():
    with pytest.raises(WeightsError, match="--weights got 'nope'; allowed are"):
        ManyDevices(["cpu", "cpu"], NETWORK | {"weights": "nope"}, ReadOptions())


def test_a_process_that_dies_ends_the_pass_with_a_reason(pictures):
    runner = ManyDevices(["cpu", "cpu"], NETWORK, ReadOptions())
    process = next(iter(runner._devices.values()))[1]
    threading.Timer(0.5, lambda: os.kill(process.pid, signal.SIGKILL)).start()

    def slow_plan():
        for slot in range(100_000):
            time.sleep(0.001)
            yield slot, Entry("000.png", pictures / "000.png")

    with pytest.raises(OptionError, match=r"the process for cpu ended \(exit status -9\); what is embedded"):
        for _ in runner.embed(slow_plan()):
            pass
    assert not any(process.is_alive() for _, process in runner._devices.values())


def test_devices_that_would_mix_features_are_refused(monkeypatch):
    import toolkit.embedding.runners as module

    said = iter([("ready", "first"), ("ready", "second")])

    class Spec(str):
        def require(self, other, *, have, want, remedy):
            if self != other:
                raise SpecMismatchError(f"{have} and {want} differ; {remedy}")

    def receive(self, connection):
        kind, spec = next(said)
        return kind, Spec(spec), {}

    monkeypatch.setattr(module.ManyDevices, "_receive", receive)
    with pytest.raises(SpecMismatchError, match="differ; name --precision yourself"):
        ManyDevices(["cpu", "cpu"], NETWORK, ReadOptions())
