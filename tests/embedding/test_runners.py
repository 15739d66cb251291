"""One plan, several processes: two on the CPU stand in for two GPUs."""

import gc
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import psutil
import pytest
from PIL import Image

import toolkit.embedding.runners as module
from toolkit.backbones.options import NetworkOptions
from toolkit.embedding.options import ReadOptions
from toolkit.embedding.runners import ManyDevices
from toolkit.errors import OptionError, SpecMismatchError, WeightsError
from toolkit.images.manifest import Entry
from toolkit.runtime.children import Child
from toolkit.verbs.embed import embed

SMALL = {"backbone": "resnet18", "weights": "random:0", "input_size": 64}
NETWORK = NetworkOptions(**SMALL, precision="fp32")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(150):
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((64, 64)).save(folder / f"{number:03d}.png")
    (folder / "bad.jpg").write_bytes(b"junk")
    return folder


def processes(runner):
    return [child._process for child in runner._children]


def test_two_devices_make_the_store_that_one_makes(pictures, tmp_path):
    one = embed(pictures, artifacts=tmp_path, name="one", device="cpu", **SMALL)
    two = embed(pictures, artifacts=tmp_path, name="two", device="cpu,cpu", **SMALL)
    assert (two.embedded, two.failed) == (150, 1) and one.store.ids == two.store.ids
    np.testing.assert_array_equal(one.store.embeddings(), two.store.embeddings())
    assert one.store.meta.spec == two.store.meta.spec and two.store.meta.made_with["device"] == "cpu,cpu"
    again = embed(pictures, artifacts=tmp_path, name="two", device="cpu", **SMALL)
    assert (again.embedded, again.kept) == (0, 150)


def test_both_devices_get_images(pictures):
    runner = ManyDevices(["cpu", "cpu"], NETWORK, ReadOptions())
    lots, send = [], runner._send

    def record(child, lot):
        lots.append((child, len(lot)))
        send(child, lot)

    runner._send = record
    rows = list(runner.embed((slot, Entry("000.png", pictures / "000.png")) for slot in range(150)))
    assert sorted(image.slot for image in rows) == list(range(150))
    assert {child for child, n in lots if n} == set(runner._children) and sum(n for _, n in lots) == 150


def test_a_toolkit_error_in_a_process_is_raised_here():
    network = NetworkOptions(backbone="resnet18", weights="nope")
    with pytest.raises(WeightsError, match="--weights got 'nope'; allowed are"):
        ManyDevices(["cpu", "cpu"], network, ReadOptions())


def test_another_error_in_a_process_is_named(pictures):
    runner = ManyDevices(["cpu"], NETWORK, ReadOptions())
    with pytest.raises(OptionError, match="^the process for cpu failed: TypeError: .*; what is embedded is"):
        list(runner.embed([3, 4]))


def test_a_process_that_dies_ends_the_pass_with_a_reason(pictures):
    runner = ManyDevices(["cpu", "cpu"], NETWORK, ReadOptions())
    first, second = processes(runner)
    threading.Timer(0.5, lambda: os.kill(first.pid, signal.SIGKILL)).start()

    def slow_plan():
        for slot in range(100_000):
            time.sleep(0.001)
            yield slot, Entry("000.png", pictures / "000.png")

    reason = "was killed by signal 9, as happens when memory runs out"
    text = f"the process for cpu {reason}; what is embedded is kept, run the same command to resume"
    with pytest.raises(OptionError, match=text):
        for _ in runner.embed(slow_plan()):
            pass
    assert first.poll() is not None and second.poll() is not None


def test_a_process_that_dies_while_it_starts_is_named(monkeypatch):
    class Killed(Child):
        def __init__(self, *arguments, inbox):
            super().__init__(*arguments, inbox=inbox)
            self._process.kill()

    monkeypatch.setattr(module, "Child", Killed)
    with pytest.raises(OptionError, match="^while starting, the process for cpu was killed by signal 9"):
        ManyDevices(["cpu", "cpu"], NETWORK, ReadOptions())


def test_devices_that_would_mix_features_are_refused(monkeypatch):
    started = []

    class Other(Child):
        """Loads other weights in the second process."""

        def __init__(self, function, network, *arguments, inbox):
            weights = f"random:{len(started)}"
            started.append(self)
            network = NetworkOptions(backbone="resnet18", weights=weights, input_size=64, precision="fp32")
            super().__init__(function, network, *arguments, inbox=inbox)

    monkeypatch.setattr(module, "Child", Other)
    text = "cpu and cpu differ in weights_sha256: .*; name --engine and --precision yourself"
    with pytest.raises(SpecMismatchError, match=text):
        ManyDevices(["cpu", "cpu"], NETWORK, ReadOptions())
    assert [child._process.poll() is not None for child in started] == [True, True]


def test_processes_end__with_close_which_may_come_twice(pictures):
    runner = ManyDevices(["cpu", "cpu"], NETWORK, ReadOptions())
    started = processes(runner)
    assert [process.poll() for process in started] == [None, None]
    runner.close()
    runner.close()
    assert all(process.poll() is not None for process in started)
    with pytest.raises(RuntimeError, match="have ended; make another one"):
        next(runner.embed([(0, Entry("000.png", pictures / "000.png"))]))


def test_processes_end__with_the_object():
    runner = ManyDevices(["cpu"], NETWORK, ReadOptions())
    (started,) = processes(runner)
    del runner
    gc.collect()
    assert started.poll() is not None


def test_processes_end__when_one_of_them_cannot_be_started(monkeypatch):
    started = []

    def second_fails(*args, **options):
        if started:
            raise OSError("no more processes")
        started.append(Child(*args, **options))
        return started[0]

    monkeypatch.setattr(module, "Child", second_fails)
    with pytest.raises(OSError, match="no more processes"):
        ManyDevices(["cpu", "cpu"], NETWORK, ReadOptions())
    assert started[0]._process.poll() is not None


LEAVE = """
import os
from pathlib import Path
from toolkit.backbones.options import NetworkOptions
from toolkit.embedding.options import ReadOptions
from toolkit.embedding.runners import ManyDevices
from toolkit.images.manifest import Entry
runner = ManyDevices(["cpu"], NetworkOptions(**{network!r}), ReadOptions(batch_size=8))
print(*(child._process.pid for child in runner._children), flush=True)
next(runner.embed((slot, Entry("000.png", Path({picture!r}))) for slot in range(1000)))
os._exit(0)
"""


def test_a_process_whose_parent_has_ended_ends_silently(pictures):
    code = LEAVE.format(network=SMALL, picture=str(pictures / "000.png"))
    parent = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=True
    )  # it returns when the child has closed standard error too
    assert parent.stderr == ""
    deadline = time.monotonic() + 30
    while psutil.pid_exists(int(parent.stdout)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not psutil.pid_exists(int(parent.stdout))


SCRIPT = """
import toolkit
report = toolkit.embed({folder!r}, artifacts={out!r}, device="cpu,cpu", **{network!r})
print(report.embedded, report.failed)
"""


def test_a_script_needs_no_guard(pictures, tmp_path):
    script = tmp_path / "script.py"
    code = SCRIPT.format(folder=str(pictures), out=str(tmp_path / "out"), network=SMALL)
    script.write_text(code, encoding="utf-8")
    process = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert (process.stdout, process.stderr) == ("150 1\n", "")


@pytest.mark.parametrize("seconds", [0.0, 0.2, 0.5])
def test_ctrl_c_while_processes_start_is_one_line(pictures, tmp_path, seconds):
    command = ["-m", "toolkit", "embed", str(pictures), "--artifacts", str(tmp_path), "--device", "cpu,cpu"]
    with subprocess.Popen(
        [sys.executable, *command, "--weights", "random:0", "--quiet"],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        started, deadline = psutil.Process(process.pid), time.monotonic() + 60
        while len(started.children()) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        family = started.children(recursive=True)
        time.sleep(seconds)
        os.killpg(process.pid, signal.SIGINT)
        _, message = process.communicate(timeout=60)
    assert message.lstrip("\n").startswith("interrupted; ") and message.count("\n") <= 2
    assert process.returncode == 130
    assert len(family) >= 2 and not psutil.wait_procs(family, timeout=10)[1]
