"""Signals end every command in one line, with 128 and the number of the signal, and its workers with it."""

import contextlib
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.faults.lab import COMMANDS, Lab, start, state
from toolkit.experiment.leftovers import leftovers

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has other signals")

LINES = {
    signal.SIGINT: "interrupted; finished work is kept, run the same command to resume\n",
    signal.SIGTERM: "terminated; finished work is kept, run the same command to resume\n",
    signal.SIGHUP: "the terminal was closed; finished work is kept, run the same command to resume\n",
}


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    return Lab(tmp_path_factory.mktemp("lab"))


def wait_until(condition, process):
    end = time.monotonic() + 60
    while not condition() and process.poll() is None:
        assert time.monotonic() < end
        time.sleep(0.005)


def worker_of(process):
    """Return the first child process, or None."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return next(iter(psutil.Process(process.pid).children()), None)
    return None


def gone(worker):
    """Return whether a process has ended, waiting for it as long as it may take."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.wait_procs([worker], timeout=20)[1] == []
    return True


@pytest.mark.parametrize("number", LINES)
def test_signal__while_a_worker_fits(lab, number):
    with lab.copy() as home:
        process = start(COMMANDS["compare"], home)
        wait_until(lambda: worker_of(process) is not None, process)
        worker = worker_of(process)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
        assert (process.returncode, err, out) == (128 + number, LINES[number], "")
        assert gone(worker)
        now = state(home)
        assert now == lab.before
        assert leftovers(home / "artifacts") == []


INTERRUPTED_IMPORT = """
import os, signal, sys

module = sys.argv.pop(1)

class Finder:
    def find_spec(self, name, *_):
        if name == module:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.SIGINT)

from toolkit.cli.start import main
sys.meta_path.insert(0, Finder())
main()
"""


@pytest.mark.parametrize(
    "module",
    ["click", "toolkit.cli.main", "toolkit.verbs.options", "numpy", "scipy.sparse", "toolkit.verbs.tune"],
)
def test_signal__while_importing(lab, module):
    with lab.copy() as home:
        done = subprocess.run(
            [sys.executable, "-c", INTERRUPTED_IMPORT, module, *COMMANDS["tune"]],
            cwd=home,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (130, LINES[signal.SIGINT])
        assert state(home) == lab.before


def test_signal__ignored_by_the_caller_stays_ignored(tmp_path):
    code = (
        "import signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN);"
        "from toolkit.cli.signals import Signals; s = Signals(); s.listen();"
        "print(signal.getsignal(signal.SIGHUP) is signal.SIG_IGN, callable(signal.getsignal(signal.SIGTERM)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True True\n"


def test_worker__ends_after_its_parent_was_killed(lab):
    with lab.copy() as home:
        process = start(COMMANDS["compare"], home)
        wait_until(lambda: worker_of(process) is not None, process)
        worker = worker_of(process)
        process.kill()
        process.communicate(timeout=60)
        assert gone(worker)


def test_output__that_nobody_reads(lab):
    with lab.copy() as home:
        process = start(("info",), home)
        process.stdout.close()
        process.wait(60)
        assert (process.returncode, process.stderr.read()) == (1, "")
        process.stderr.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_output__to_a_full_disk(lab):
    with lab.copy() as home, Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "toolkit", "info"],
            cwd=home,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr.startswith("toolkit: ") and done.stderr.count("\n") == 1
    assert "No space left on device; free some space" in done.stderr
