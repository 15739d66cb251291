"""Only regular files are opened, and never in a way that waits."""

import os
import socket
import stat
import sys
from pathlib import Path

import pytest

from toolkit.errors import ImageError, ManifestError
from toolkit.files import regular as module
from toolkit.files.regular import open_regular, special_kind
from toolkit.images.files import digest_of, digest_of_file, read_content
from toolkit.images.manifest import read_manifest
from toolkit.images.options import ImagePolicy
from toolkit.images.reading import read_file

posix = pytest.mark.skipif(sys.platform == "win32", reason="special files of POSIX")


def reason(path):
    with pytest.raises(ImageError) as caught:
        read_file(path, ImagePolicy(), name="a.jpg")
    with pytest.raises(OSError):
        digest_of_file(path)
    return str(caught.value)


@posix
def test_special_files_are_named_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "link.jpg").symlink_to("pipe.jpg")
    (tmp_path / "folder.jpg").mkdir()
    with socket.socket(socket.AF_UNIX) as listening:
        before = Path.cwd()
        os.chdir(tmp_path)  # the name of a socket must be short
        try:
            listening.bind("s.jpg")
        finally:
            os.chdir(before)
        assert reason(tmp_path / "s.jpg") == "is a socket, not a regular file"
    for name in ("pipe.jpg", "link.jpg"):
        assert reason(tmp_path / name) == "is a named pipe, not a regular file"
    assert reason(tmp_path / "folder.jpg") == "is a folder, not a regular file"
    for device in ("/dev/zero", "/dev/null"):
        assert reason(Path(device)) == "is a device, not a regular file"
    assert reason(tmp_path / "gone.jpg") == "file not found"
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    assert reason(tmp_path / "loop.jpg").startswith("cannot be read: Too many levels of symbolic links")


@posix
def test_what_was_opened_counts_not_what_the_name_was(tmp_path, monkeypatch):
    """A pipe put in the place of a file between a look and the opening is refused, and not waited for."""
    pipe, opened = tmp_path / "a.jpg", []
    os.mkfifo(pipe)
    monkeypatch.setattr(Path, "stat", lambda self: os.stat_result((stat.S_IFREG, *[0] * 9)))
    real = os.close
    monkeypatch.setattr(module.os, "close", lambda number: (opened.append(number), real(number)))
    with pytest.raises(module.NotRegularError, match="^it is a named pipe; give a regular file$"):
        open_regular(pipe)
    assert len(opened) == 1


def test_a_file_that_grows_is_read_to_its_size_when_opened(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(b"x" * 1000)

    class Growing:
        def __init__(self, file):
            self._file = file

        def fileno(self):
            return self._file.fileno()

        def read(self, size):
            with path.open("ab") as more:
                more.write(b"y" * 1000)
            return self._file.read(size)

    with open_regular(path) as file:
        content = read_content(Growing(file))
    assert content.data == b"x" * 1000 and content.size == 1000 and path.stat().st_size == 2000


def test_digests(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"abc" * 100_000)
    assert digest_of_file(path) == digest_of(b"abc" * 100_000) != digest_of(b"")


def test_kinds():
    assert special_kind(stat.S_IFREG | 0o644) == ""
    assert special_kind(stat.S_IFBLK) == "a device" and special_kind(0o170000) == "a special file"


@posix
def test_source_that_is_no_file_is_one_line(tmp_path):
    for name in ("a.jpg", "a.csv"):
        os.mkfifo(tmp_path / name)
        text = f"^{tmp_path / name} is a named pipe, not a regular file; give a folder, a csv or one image$"
        with pytest.raises(ManifestError, match=text):
            read_manifest(tmp_path / name)
    with pytest.raises(ManifestError, match="^/dev/zero is a device, not a regular file"):
        read_manifest(Path("/dev/zero"))
