"""One plan, several processes: two on the processor stand in for two GPUs."""

import gc
import multiprocessing
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
from toolkit.embedding.read import ReadOptions
from toolkit.embedding.runners import MORE, ManyDevices
from toolkit.errors import OptionError, SpecMismatchError, WeightsError
from toolkit.images.manifest import Entry
from toolkit.verbs.embed import embed

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
    said = iter([("ready", "first"), ("ready", "second")])

    class Spec(str):
        def require(self, other, *, have, want, remedy):
            if self != other:
                raise SpecMismatchError(f"{have} and {want} differ; {remedy}")

    def receive(self, connection):
        kind, spec = next(said)
        return kind, Spec(spec), {}

    monkeypatch.setattr(module.ManyDevices, "_receive", receive)
    with pytest.raises(SpecMismatchError, match="differ; name --engine and --precision yourself"):
        ManyDevices(["cpu", "cpu"], NETWORK, ReadOptions())


def processes(runner):
    return [process for _, process in runner._devices.values()]


def test_processes_end__with_close_which_may_come_twice(pictures):
    runner = ManyDevices(["cpu", "cpu"], NETWORK, ReadOptions())
    started = processes(runner)
    assert all(process.is_alive() for process in started)
    runner.close()
    runner.close()
    assert not any(process.is_alive() for process in started)
    with pytest.raises(RuntimeError, match="have ended; make another one"):
        next(runner.embed([(0, Entry("000.png", pictures / "000.png"))]))


def test_processes_end__with_the_object():
    runner = ManyDevices(["cpu"], NETWORK, ReadOptions())
    started = processes(runner)
    del runner
    gc.collect()
    assert not any(process.is_alive() for process in started)


def test_processes_end__when_one_of_them_cannot_be_started(monkeypatch):
    started, start = [], module._start

    def second_fails(job):
        if started:
            raise OSError("no more processes")
        started.append(start(job))
        return started[0]

    monkeypatch.setattr(module, "_start", second_fails)
    with pytest.raises(OSError, match="no more processes"):
        ManyDevices(["cpu", "cpu"], NETWORK, ReadOptions())
    assert not started[0][1].is_alive()


def test_a_process_whose_parent_goes_with_rows_unread_is_silent(pictures, capfd):
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    job = module._Job(NETWORK | {"device": "cpu"}, ReadOptions(batch_size=8))
    process = context.Process(target=module._work, args=(there, job))
    process.start()
    there.close()
    assert (here.recv()[0], here.recv()) == ("ready", (MORE,))
    here.send([(slot, Entry(f"{slot:03d}.png", pictures / f"{slot:03d}.png")) for slot in range(64)])
    assert here.poll(60)
    here.close()
    process.join(60)
    assert process.exitcode == 0 and capfd.readouterr().err == ""


def test_an_error_nobody_expected_is_told():
    with pytest.raises(OptionError, match="^while starting, the process for cpu failed: TypeError: .*'nope'"):
        ManyDevices(["cpu", "cpu"], NETWORK | {"nope": 1}, ReadOptions())


SCRIPT = """
from toolkit.embedding import embed
from toolkit.errors import OptionError
try:
    embed({folder!r}, artifacts={out!r}, backbone="resnet18", weights="random:0", device="cpu,cpu")
except OptionError as error:
    print("said:", error)
"""


def test_a_script_without_a_guard_is_told_so(pictures, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(folder=str(pictures), out=str(tmp_path / "out")), encoding="utf-8")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    (said,) = done.stdout.splitlines()
    assert said.startswith("said: while starting, the process for cpu ended (exit status ")
    assert said.endswith(
        'what it printed says why; a script that calls embed has to do that below if __name__ == "__main__":'
    )
    assert "is kept" not in done.stdout


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
        while len(started.children()) < 3 and time.monotonic() < deadline:  # multiprocessing has one more
            time.sleep(0.01)
        family = started.children(recursive=True)
        time.sleep(seconds)
        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert said.lstrip("\n") == "interrupted; what is done is kept, the same command goes on from there\n"
    assert process.returncode == 130
    assert not psutil.wait_procs(family, timeout=10)[1]
