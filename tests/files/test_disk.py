"""What the disk refuses: one line with a remedy, and no finished work is lost."""

import contextlib
import errno
import os
from pathlib import Path

import numpy as np
import pytest

from tests.store.test_store import begin, build, close_writers, fill, plan, values, visible
from toolkit.errors import StoreError

__all__ = ["close_writers"]  # a fixture

resource = pytest.importorskip("resource")
FIX = "fix the permissions, or give another folder (--artifacts, --out)"
AGAIN = "then run the same command again: what is embedded is kept"


class Full:
    """A file on a full disk."""

    def __init__(self, file, code):
        self.file = file
        self.code = code

    def seek(self, place):
        self.file.seek(place)

    def refuse(self, *_):
        raise OSError(self.code, os.strerror(self.code))

    write = flush = refuse

    def close(self):
        self.file.close()
        self.refuse()


def refusing(code):
    def call(self, *_, **__):
        raise OSError(code, os.strerror(code), str(self))

    return call


@contextlib.contextmanager
def size_limit(limit):
    """Let no file grow beyond `limit` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def one_line(error):
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("call", ["write", "flush"])
def test_full_disk__in_the_middle_keeps_what_is_written(tmp_path, call):
    writer = begin(tmp_path / "s", ["a", "b", "c"])
    fill(writer, [1])
    writer.flush()
    writer._files[0] = Full(writer._files[0], errno.ENOSPC)
    with pytest.raises(StoreError) as error:
        fill(writer, [0]) if call == "write" else writer.flush()
    assert one_line(error) == (
        f"{tmp_path / 's'} cannot be written (No space left on device); free some space, {AGAIN}"
    )
    writer.close()
    again = begin(tmp_path / "s", ["a", "b", "c"])
    assert again.todo() == [0, 2]
    fill(again)
    np.testing.assert_array_equal(again.finish().embeddings(), [values(name) for name in "abc"])


def test_full_disk__on_the_way_out_is_only_logged(tmp_path, caplog):
    writer = begin(tmp_path / "s", ["a", "b"])
    writer._files[0] = Full(writer._files[0], errno.ENOSPC)
    writer.close()
    assert "No space left on device" in caplog.text


def test_full_disk__nothing_follows_a_cut_off_line_of_the_journal(tmp_path):
    names = [f"{number}{'n' * 200}" for number in range(30)]
    writer = begin(tmp_path / "s", names)
    written = 0
    with size_limit(2001), pytest.raises(StoreError, match=r"s cannot be written \(File too large\); raise"):
        for slot in range(30):
            fill(writer, [slot])
            writer.flush()
            written += 1
    writer.close()
    again = begin(tmp_path / "s", names)
    assert 0 < written < 30 and again.todo() == list(range(written, 30))


@pytest.mark.parametrize("finished", [True, False])
def test_full_disk__at_the_begin_leaves_what_was_there(tmp_path, finished):
    if finished:
        build(tmp_path / "s", ["a", "b"])
    else:
        fill(writer := begin(tmp_path / "s", ["a", "b"]))
        writer.close()
    before = visible(tmp_path)
    with (
        size_limit(100_000),
        pytest.raises(StoreError, match=r"\(File too large\); raise the limit"),
    ):
        begin(tmp_path / "s", ["a", "b", *map(str, range(10_000))])
    assert visible(tmp_path) == before
    assert begin(tmp_path / "s", ["a", "b"]).todo() == []


def test_full_disk__at_the_end_keeps_what_is_written(tmp_path):
    names = ["bad", *map(str, range(10_000))]
    writer = begin(tmp_path / "s", names)
    fill(writer, range(1, 10_001))
    writer.fail(0, "bad")
    writer.flush()
    with size_limit(100_000), pytest.raises(StoreError, match="File too large"):
        writer.finish()
    writer.close()
    assert visible(tmp_path) == [".s.partial"]
    assert begin(tmp_path / "s", names).todo() == [0]


def test_full_disk__the_old_store_stays_where_the_last_rename_is_refused(tmp_path, monkeypatch):
    build(tmp_path / "s", ["a"])
    writer = begin(tmp_path / "s", ["a", "b"])
    fill(writer)
    rename = Path.rename

    def refused(self, target):
        return refusing(errno.EIO)(self) if self.name == ".s.partial" else rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", refused)
        with pytest.raises(StoreError, match=r"partial cannot be written \(Input/output error\)"):
            writer.finish()
    assert (tmp_path / "s" / "meta.json").is_file()
    assert begin(tmp_path / "s", ["a", "b"]).todo() == []


def test_finish__on_a_disk_that_may_not_be_written(tmp_path, monkeypatch):
    build(tmp_path / "s", ["a"])
    writer = plan(tmp_path / "s", ["a", "b"])
    writer.fail(1, "bad")
    monkeypatch.setattr(Path, "open", refusing(errno.EROFS))
    with pytest.raises(StoreError) as error:
        writer.finish()
    assert one_line(error).endswith(f"cannot be written (Read-only file system); {FIX}, {AGAIN}")


def test_begin__where_a_file_is_in_the_way(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreError) as error:
        begin(tmp_path / "file" / "embeddings" / "s", ["a"])
    assert "cannot be written (Not a directory); a file is where a folder is needed, or a" in one_line(error)


def test_begin__in_a_folder_that_may_not_be_written(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "mkdir", refusing(errno.EACCES))
    with pytest.raises(StoreError) as error:
        begin(tmp_path / "artifacts" / "s", ["a"])
    text = f"cannot be written (Permission denied); {FIX}, {AGAIN}"
    assert one_line(error).endswith(text)


def test_begin__a_name_longer_than_the_disk_allows(tmp_path):
    with pytest.raises(StoreError) as error:
        begin(tmp_path / ("n" * 260), ["a"])
    assert f"cannot be written (File name too long); give a shorter name, {AGAIN}" in one_line(error)
