"""The cache of graphs, filled by several at once."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from toolkit.backbones.graphs import make_folder

FILES = ("graph.xml", "graph.bin", "graph.json")


def fill(folder):
    for name in FILES:
        (folder / name).write_text(name)


def make_and_read(folder):
    make_folder(folder, fill)
    return [(folder / name).read_text() for name in FILES]


@pytest.mark.parametrize("before", [[], ["fidelity-bf16-0.json"]])
def test_make_folder__many_at_once_see_a_whole_one_and_leave_nothing_behind(tmp_path, before):
    for number in range(20):
        folder = tmp_path / "graphs" / f"{number}"
        for name in before:
            folder.mkdir(parents=True)
            (folder / name).write_text("kept")
        with ThreadPoolExecutor(8) as pool:
            seen = list(pool.map(make_and_read, [folder] * 16))
        assert seen == [list(FILES)] * 16
        assert {path.name for path in folder.iterdir()} == {*FILES, *before}
    assert len(list((tmp_path / "graphs").iterdir())) == 20


def test_make_folder__keeps_the_graph_that_is_there(tmp_path):
    make_folder(tmp_path / "g", fill)
    before = {path.name: path.stat().st_ino for path in (tmp_path / "g").iterdir()}
    make_folder(tmp_path / "g", fill)
    assert {path.name: path.stat().st_ino for path in (tmp_path / "g").iterdir()} == before


def test_make_folder__one_that_cannot_be_filled_leaves_nothing(tmp_path):
    def fails(folder):
        fill(folder)
        raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        make_folder(tmp_path / "g", fails)
    assert not list(tmp_path.iterdir())
