"""What a store is called."""

import pytest

from toolkit.errors import OptionError
from toolkit.verbs.embed import embed, store_name


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("data.2023/", "data.2023"),
        ("data.2024/", "data.2024"),
        ("train/", "train"),
        ("list.v2.csv", "list.v2"),
    ],
)
def test_store_name__a_folder_keeps_its_name_and_a_csv_loses_its_suffix(tmp_path, path, name):
    if path.endswith("/"):
        (tmp_path / path).mkdir()
    else:
        (tmp_path / path).touch()
    assert store_name(tmp_path / path) == name


@pytest.mark.parametrize("folder", [".hid", "n" * 250])
def test_embed__a_folder_whose_name_no_store_can_have(tmp_path, folder):
    (tmp_path / folder).mkdir()
    with pytest.raises(OptionError, match="the name of .* cannot name a store; give --name, such as"):
        embed(tmp_path / folder, artifacts=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [folder]


@pytest.mark.parametrize(("name", "bytes_"), [("n" * 250, 250), ("图" * 100, 300)])
def test_embed__a_name_too_long_for_the_disk(tmp_path, name, bytes_):
    text = rf"--name got '{name[:20]}'…, {bytes_} bytes long; give 240 or fewer"
    with pytest.raises(OptionError, match=text):
        embed(tmp_path, artifacts=tmp_path, name=name)
