"""Folders replaced as a whole, and readers that see one of them only."""

import pytest

from toolkit.errors import ChangedError
from toolkit.files.folders import (
    ATTEMPTS,
    beside,
    copied,
    digest_of,
    names_of,
    read_steadily,
    replace,
    restore,
    standing,
)


def make(path, text):
    path.mkdir()
    for name in ("a", "b"):
        (path / name).write_text(text)
    return path


def both(folder):
    return (folder / "a").read_text() + (folder / "b").read_text()


def test_read_steadily__reads_again_if_it_was_replaced(tmp_path):
    target = make(tmp_path / "s", "old")
    seen = []

    def read(folder):
        first = (folder / "a").read_text()
        if not seen:
            replace(make(tmp_path / "new", "new"), target)
        seen.append(first)
        return first + (folder / "b").read_text()

    assert read_steadily(target, read) == "newnew" and seen == ["old", "new"]


def test_read_steadily__gives_up_on_a_folder_that_never_stays(tmp_path):
    target = make(tmp_path / "s", "0")
    reads = []

    def read(folder):
        reads.append(folder)
        replace(make(tmp_path / "new", "new"), target)

    with pytest.raises(ChangedError, match=r"s changed meanwhile; run the same command again"):
        read_steadily(target, read)
    assert len(reads) == ATTEMPTS


def test_read_steadily__between_the_two_renames(tmp_path):
    target = make(tmp_path / "s", "old")
    target.rename(beside(target, "previous"))
    assert standing(target) == beside(target, "previous")
    assert read_steadily(target, both) == "oldold"
    assert names_of(tmp_path, "a") == ["s"]
    make(target, "new")
    assert read_steadily(target, both) == "newnew" and names_of(tmp_path, "a") == ["s"]


def test_read_steadily__moved_aside_while_it_is_looked_for(tmp_path):
    target = make(tmp_path / "s", "old")
    moved = []

    def read(folder):
        if not moved:
            moved.append(target.rename(beside(target, "previous")))
        return both(folder)

    assert read_steadily(target, read) == "oldold"


def test_read_steadily__an_error_of_a_folder_that_stayed_is_raised_at_once(tmp_path):
    reads = []

    def read(folder):
        reads.append(folder)
        return both(folder)

    with pytest.raises(FileNotFoundError):
        read_steadily(tmp_path / "gone", read)
    assert len(reads) == 1


def test_restore__puts_back_what_a_kill_moved_aside(tmp_path):
    target = make(tmp_path / "s", "old")
    target.rename(beside(target, "previous"))
    make(beside(target, "trash"), "half deleted")
    restore(target)
    assert both(target) == "oldold" and [path.name for path in tmp_path.iterdir()] == ["s"]


def test_replace__the_old_one_comes_back_where_the_second_rename_fails(tmp_path):
    target = make(tmp_path / "s", "old")
    with pytest.raises(FileNotFoundError):
        replace(tmp_path / "gone", target)
    assert both(target) == "oldold" and [path.name for path in tmp_path.iterdir()] == ["s"]


def test_copied__shares_files_but_not_changes(tmp_path):
    make(tmp_path / "s", "old")
    copied(tmp_path / "s", tmp_path / "copy")
    assert (tmp_path / "copy" / "a").samefile(tmp_path / "s" / "a")
    (tmp_path / "fresh").write_text("new")
    (tmp_path / "fresh").replace(tmp_path / "copy" / "a")
    assert both(tmp_path / "s") == "oldold" and both(tmp_path / "copy") == "newold"


def test_digest_of__tells_a_missing_file_from_an_empty_one(tmp_path):
    (tmp_path / "a").touch()
    with_a = digest_of(tmp_path, ["a"])
    (tmp_path / "a").unlink()
    assert digest_of(tmp_path, ["a"]) != with_a
