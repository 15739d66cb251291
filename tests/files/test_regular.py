"""open_regular and read_regular: what is no regular file is refused at once."""

import os
import socket
import sys
from pathlib import Path

import pytest

from toolkit.files.regular import FileTooLargeError, NotRegularError, open_regular, read_regular

needs_posix = pytest.mark.skipif(sys.platform == "win32", reason="needs pipes and devices in the file system")


def test_open_regular__a_file_and_a_link_to_it(tmp_path):
    file = tmp_path / "a"
    file.write_bytes(b"123")
    link = tmp_path / "link"
    link.symlink_to(file)
    for path in (file, link):
        with open_regular(path) as opened:
            assert opened.read() == b"123"


@needs_posix
def test_open_regular__pipes_sockets_devices_and_folders_are_named_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.fsencode(tmp_path / "socket"))
        kinds = {
            tmp_path / "pipe": "a named pipe",
            tmp_path / "link": "a named pipe",
            tmp_path / "socket": "a socket",
            tmp_path.joinpath("/dev/zero"): "a device",
            tmp_path: "a folder",
        }
        for path, kind in kinds.items():
            with pytest.raises(NotRegularError, match=f"^it is {kind}; give a regular file$") as caught:
                open_regular(path)
            assert isinstance(caught.value, OSError)


@needs_posix
def test_open_regular__a_pipe_that_takes_the_place_of_the_file_is_refused_and_closed(tmp_path, monkeypatch):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    regular = Path(__file__).stat()
    monkeypatch.setattr("toolkit.files.regular.Path.stat", lambda path: regular)
    closed = []
    close = os.close
    monkeypatch.setattr("toolkit.files.regular.os.close", lambda fd: (closed.append(fd), close(fd)))
    with pytest.raises(NotRegularError, match="it is a named pipe"):
        open_regular(pipe)
    assert len(closed) == 1


def test_open_regular__a_missing_file_is_the_usual_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "none")


def test_read_regular__up_to_the_limit(tmp_path):
    file = tmp_path / "a"
    file.write_bytes(b"12345")
    assert read_regular(file, most=5) == b"12345"
    with pytest.raises(FileTooLargeError, match="^it has 5 bytes, more than the 4 allowed$"):
        read_regular(file, most=4)


def test_read_regular__a_sparse_giant_is_refused_without_reading(tmp_path):
    file = tmp_path / "giant"
    with file.open("wb") as opened:
        opened.truncate(1 << 40)
    with pytest.raises(FileTooLargeError, match="1,099,511,627,776 bytes"):
        read_regular(file, most=1000)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
def test_read_regular__a_file_that_claims_no_size_is_bounded_too(tmp_path):
    with pytest.raises(FileTooLargeError, match="more than the 3 allowed"):
        read_regular(tmp_path.joinpath("/proc/self/status"), most=3)
