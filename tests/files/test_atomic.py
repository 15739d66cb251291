"""Files are replaced whole, two that belong together both or neither, and leftovers of the dead are swept."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from toolkit.files.atomic import partials, replacing, replacing_both, settle
from toolkit.files.locks import try_lock


def write_both(folder, text):
    with replacing_both(folder / "a.csv", folder / "a.npz") as (first, second):
        first.write_text(text)
        second.write_text(text)


def read_both(folder):
    return [(folder / name).read_text() for name in ("a.csv", "a.npz") if (folder / name).exists()]


def test_replacing__an_error_leaves_the_old_file(tmp_path):
    (tmp_path / "a").write_text("old")
    with pytest.raises(RuntimeError, match="stop"), replacing(tmp_path / "a") as fresh:
        fresh.write_text("new")
        raise RuntimeError("stop")
    assert [path.name for path in tmp_path.iterdir()] == ["a"] and (tmp_path / "a").read_text() == "old"


def test_replacing__names_the_file_the_user_knows(tmp_path):
    with pytest.raises(OSError) as error, replacing(tmp_path / "gone" / "a"):
        pass
    assert error.value.filename == str(tmp_path / "gone" / "a")


def test_replacing__two_at_once_do_not_mix(tmp_path):
    with replacing(tmp_path / "a") as one, replacing(tmp_path / "a") as other:
        assert one != other and len(list(partials(tmp_path))) == 2
        one.write_text("one")
        other.write_text("other")
    assert (tmp_path / "a").read_text() == "one"  # the one that ended last


def test_replacing__sweeps_what_a_killed_process_left(tmp_path):
    code = (
        "import sys, os, signal; from pathlib import Path; from toolkit.files.atomic import replacing\n"
        "with replacing(Path(sys.argv[1])) as fresh:\n"
        "    fresh.write_text('half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "a"], check=False)
    assert done.returncode == -signal.SIGKILL and len(list(partials(tmp_path, "a"))) == 1
    with replacing(tmp_path / "a") as fresh:
        fresh.write_text("whole")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_replacing_both__both_files(tmp_path):
    write_both(tmp_path, "old")
    write_both(tmp_path, "new")
    assert read_both(tmp_path) == ["new", "new"] and len(list(tmp_path.iterdir())) == 2


def test_replacing_both__an_error_leaves_both(tmp_path):
    write_both(tmp_path, "old")
    with (
        pytest.raises(RuntimeError, match="stop"),
        replacing_both(tmp_path / "a.csv", tmp_path / "a.npz") as (first, _),
    ):
        first.write_text("new")
        raise RuntimeError("stop")
    assert read_both(tmp_path) == ["old", "old"] and len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("moment", range(6))
def test_replacing_both__stopped_between_two_renames(tmp_path, monkeypatch, moment):
    write_both(tmp_path, "old")
    left = [moment]

    def stops(real):
        def call(self, *arguments, **options):
            if self.name.startswith(".a.") or self.name == "a.npz":  # not the clearing away after the stop
                left[0] -= 1
                if left[0] < 0:
                    raise KeyboardInterrupt
            return real(self, *arguments, **options)

        return call

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", stops(Path.replace))
        patch.setattr(Path, "unlink", stops(Path.unlink))
        try:
            write_both(tmp_path, "new")
            stopped = False
        except KeyboardInterrupt:
            stopped = True
    assert stopped
    # never two files that do not belong together
    assert read_both(tmp_path) in (["old", "old"], ["new", "new"], ["old"], ["new"])
    settle(tmp_path / "a.csv", tmp_path / "a.npz")
    assert read_both(tmp_path) in (["old", "old"], ["new", "new"])
    write_both(tmp_path, "newer")
    assert read_both(tmp_path) == ["newer", "newer"] and len(list(tmp_path.iterdir())) == 2


def test_try_lock__one_at_a_time(tmp_path):
    path = tmp_path / "a"
    path.touch()
    with try_lock(path) as first, try_lock(path) as second:
        assert first and not second
    with try_lock(path) as third:
        assert third
    with try_lock(tmp_path / "gone") as missing:
        assert not missing


def test_try_lock__a_path_deleted_before_it_was_locked(tmp_path, monkeypatch):
    path = tmp_path / "a"
    path.touch()
    real = os.open

    def opened_then_deleted(name, *arguments):
        descriptor = real(name, *arguments)
        path.unlink()
        return descriptor

    monkeypatch.setattr(os, "open", opened_then_deleted)
    with try_lock(path, own=True) as got:
        assert not got
