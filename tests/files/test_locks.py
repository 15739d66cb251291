"""One pass at a time: a second one is refused, and a lock ends with its process."""

import errno
import os
import signal
import subprocess
import sys
import threading

import filelock
import numpy as np
import pytest

from tests.store.test_store import as_they_were, begin, build, close_writers, fill, spec, values, visible
from toolkit.errors import StoreError
from toolkit.files.locks import StoreLock
from toolkit.store.records import StoreMeta
from toolkit.store.writing import StoreWriter

__all__ = ["close_writers"]  # a fixture

REFUSED = "another pass is writing the store .*s; wait for it or give another --name"
HOLDER = """
import sys, time
from pathlib import Path
from toolkit.files.locks import StoreLock
lock = StoreLock(Path(sys.argv[1]))
print("locked", flush=True)
time.sleep(60)
"""


def second(target, ids, **options):
    """Begin a pass while the first one is alive."""
    return StoreWriter(target, StoreMeta(spec=spec(), dtype="float32"), ids, keep=as_they_were, **options)


@pytest.mark.parametrize("force", [False, True])
def test_begin__a_second_pass_is_refused_and_harms_nothing(tmp_path, force):
    writer = begin(tmp_path / "s", ["a", "b"])
    fill(writer, [0])
    with pytest.raises(StoreError, match=REFUSED):
        second(tmp_path / "s", ["a", "b", "c"], force=force)
    second(tmp_path / "other", ["a"]).abandon()
    fill(writer)
    np.testing.assert_array_equal(writer.finish().embeddings(), [values(name) for name in "ab"])
    assert second(tmp_path / "s", ["a", "b"]).finish().ids == ("a", "b")
    assert visible(tmp_path) == ["s"]


@pytest.mark.parametrize("end", ["finish", "close", "abandon"])
def test_begin__after_the_end_of_the_first(tmp_path, end):
    writer = begin(tmp_path / "s", ["a"])
    fill(writer)
    getattr(writer, end)()
    second(tmp_path / "s", ["a"]).abandon()


def test_begin__a_refused_begin_lets_go(tmp_path):
    build(tmp_path / "s", ["a"])
    with pytest.raises(StoreError, match="dtype float32, this pass float16"):
        begin(tmp_path / "s", ["a"], dtype="float16")
    StoreLock(tmp_path / "s").release()  # it was free


def test_lock__ends_with_a_killed_process(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, tmp_path / "s"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "locked\n"
        with pytest.raises(StoreError, match=REFUSED):
            StoreLock(tmp_path / "s")
        process.send_signal(signal.SIGKILL)
    assert (tmp_path / ".s.lock").is_file()
    with StoreLock(tmp_path / "s"), pytest.raises(StoreError, match=REFUSED):
        StoreLock(tmp_path / "s")


def test_lock__two_never_hold_it_at_once(tmp_path):
    inside, most, taken = 0, 0, 0
    guard = threading.Lock()

    def work():
        nonlocal inside, most, taken
        for _ in range(300):
            try:
                lock = StoreLock(tmp_path / "s")
            except StoreError:
                continue
            with guard:
                inside += 1
                taken += 1
                most = max(most, inside)
            with guard:
                inside -= 1
            lock.release()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1 and taken > 10


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOLCK, os.strerror(errno.ENOLCK)), NotImplementedError("FileSystem ...")]
)
def test_lock__on_a_file_system_without_locks_only_warns(tmp_path, monkeypatch, caplog, error):
    def unsupported(self):
        raise error

    monkeypatch.setattr(filelock.FileLock, "_acquire", unsupported)
    with StoreLock(tmp_path / "s"):
        assert "s.lock: this disk does not support locks; do not let two passes write one" in caplog.text


def test_lock__in_a_folder_that_may_not_be_written(tmp_path, monkeypatch):
    def refused(path, *_):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(os, "open", refused)
    with pytest.raises(StoreError, match=r"\.s\.lock cannot be written \(Permission denied\); fix"):
        StoreLock(tmp_path / "s")
