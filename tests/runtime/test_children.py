"""Functions in child processes: results, progress, log records, errors, and how a child ends."""

import contextlib
import logging
import os
import signal
import subprocess
import sys
import time
from queue import SimpleQueue

import psutil
import pytest

from toolkit.errors import OptionError
from toolkit.runtime import children
from toolkit.runtime.children import Child, ChildError, call_in_child

WORK = """
import logging, os, signal, sys, time
from toolkit.errors import OptionError

def advance(channel, total):
    for number in range(total + 1):
        channel("count", number, total, f"at {number}")
    channel("other", 0, None)
    return "counted"

def warn(channel):
    logging.getLogger("work.deep").warning("%d of %s", 3, "them")
    logging.getLogger("work.deep").info("not shown at this level")

def mistake(channel):
    raise OptionError("--n got 0; give 1 or more")

def fault(channel):
    [][3]

def kill(channel):
    os.kill(os.getpid(), signal.SIGKILL)

def leave(channel):
    print("out of luck")
    os._exit(7)

def noise(channel):
    print("printed by python")
    os.system("echo printed by a program")
    return sys.stdin.read()

def unpicklable(channel):
    return lambda: None

def double(channel, factor):
    while True:
        number = channel.receive()
        if number is None:
            return "done"
        channel.send(number * factor)

def sleep(channel):
    channel.send(os.getpid())
    time.sleep(60)

def stubborn(channel):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sleep(channel)

def variable(channel, name):
    return os.environ.get(name)
"""


@pytest.fixture(autouse=True)
def work(tmp_path, monkeypatch):
    """A module that child processes find because they get `sys.path`."""
    (tmp_path / "work.py").write_text(WORK)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.fixture
def start():
    with contextlib.ExitStack() as stack:
        yield lambda *args, **options: stack.enter_context(contextlib.closing(Child(*args, **options)))


def test_progress__is_relayed_and_the_end_of_a_stage_is_never_left_out():
    calls = []
    assert call_in_child("work:advance", 1000, progress=lambda *call: calls.append(call)) == "counted"
    assert calls[0] == ("count", 0, 1000, "at 0") and ("count", 1000, 1000, "at 1000") in calls
    assert calls[-1] == ("other", 0, None, "")
    assert len(calls) < 100  # not each of a thousand steps


def test_log_records__are_relayed_with_name_and_level(caplog):
    with caplog.at_level(logging.WARNING):
        assert call_in_child("work:warn") is None
    assert caplog.record_tuples == [("work.deep", logging.WARNING, "3 of them")]


def test_errors__a_toolkit_error_is_raised_as_itself():
    with pytest.raises(OptionError, match="^--n got 0; give 1 or more$") as caught:
        call_in_child("work:mistake")
    assert "in mistake" in str(caught.value.__cause__)  # the child's traceback


def test_errors__others_are_child_errors_with_the_traceback():
    with pytest.raises(ChildError, match="^failed: IndexError: list index out of range$") as caught:
        call_in_child("work:fault")
    assert caught.value.status is None and "in fault" in str(caught.value.__cause__)


def test_errors__a_result_that_cannot_be_sent():
    with pytest.raises(ChildError, match="pickle"):
        call_in_child("work:unpicklable")


def test_errors__a_function_that_does_not_exist():
    with pytest.raises(ChildError, match="no attribute 'nothing'"):
        call_in_child("work:nothing")


def test_end__a_killed_child():
    with pytest.raises(ChildError, match="was killed by signal 9, as happens when memory runs out") as caught:
        call_in_child("work:kill")
    assert caught.value.status == -signal.SIGKILL


def test_end__an_exit_status_with_the_last_line_printed():
    with pytest.raises(ChildError, match=r"^ended with exit status 7 \(out of luck\)$") as caught:
        call_in_child("work:leave", quiet=True)
    assert caught.value.status == 7


def test_prints__go_to_standard_error_and_corrupt_no_message(capfd):
    assert call_in_child("work:noise") == ""  # nor does it read the messages to it
    out, err = capfd.readouterr()
    assert out == "" and sorted(err.splitlines()) == ["printed by a program", "printed by python"]
    assert call_in_child("work:noise", quiet=True) == ""
    assert capfd.readouterr() == ("", "")


def test_environment__is_set_in_the_child_only(monkeypatch):
    monkeypatch.setenv("COLOUR", "red")
    assert call_in_child("work:variable", "COLOUR") == "red"
    assert call_in_child("work:variable", "COLOUR", environment={"COLOUR": "blue"}) == "blue"
    assert os.environ["COLOUR"] == "red"


def test_inbox__several_children_are_waited_for_at_once(start):
    inbox = SimpleQueue()
    factors = {start("work:double", factor, inbox=inbox): factor for factor in (2, 3)}
    results = {child: [] for child in factors}
    for child in factors:
        child.send(10)
    ends = 0
    while ends < 2:
        child, message = inbox.get()
        if message is None:
            ends += 1
            continue
        kind, answer = child.handle(message)
        results[child].append((kind, answer))
        if kind == "sent":
            child.send(answer if len(results[child]) < 3 else None)
    for child, factor in factors.items():
        numbers = [10 * factor, 10 * factor**2, 10 * factor**3]
        assert results[child] == [*(("sent", number) for number in numbers), ("returned", "done")]


@pytest.mark.parametrize("function", ["work:sleep", "work:stubborn"])
def test_close__ends_the_process_and_may_come_twice(start, monkeypatch, function):
    monkeypatch.setattr(children, "PATIENCE", 0.5)
    child = start(function)
    kind, pid = child.receive()
    assert kind == "sent" and psutil.pid_exists(pid)
    child.close()
    child.close()
    assert not psutil.pid_exists(pid)
    with pytest.raises(ChildError, match="was killed by signal|ended with exit status 143"):
        child.send(1)


def test_close__right_after_the_result_is_silent(capfd):
    for _ in range(5):
        assert call_in_child("toolkit.runtime.children:echo", 3) == 3
    assert capfd.readouterr() == ("", "")


ORPHANS = """
import os, sys
from toolkit.runtime.children import Child
idle, busy = Child("work:double", 2), Child("work:sender")
print(idle._process.pid, busy._process.pid, flush=True)
busy.receive()
os._exit(0)
"""
SENDER = """
def sender(channel):
    while True:
        channel.send(bytes(100_000))
"""


def test_orphans__end_without_a_sound(tmp_path):
    (tmp_path / "work.py").write_text(WORK + SENDER)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)])}
    command = [sys.executable, "-c", ORPHANS]
    parent = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=True)
    pids = [int(pid) for pid in parent.stdout.split()]
    deadline = time.monotonic() + 30
    while any(map(psutil.pid_exists, pids)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert len(pids) == 2 and not any(map(psutil.pid_exists, pids))
    assert parent.stderr == ""  # their standard error too: it is read until all of them have ended
