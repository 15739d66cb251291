"""The reference contest's files, small: 200 images (some CMYK), 300 Chinese tags, csv, npz and tag list."""

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from toolkit.experiment.dataset import load_dataset
from toolkit.experiment.options import DataOptions
from toolkit.files.csv import read_csv, write_csv

CHARACTERS = "天地玄黄宇宙洪荒日月盈昃辰宿列张寒来暑往秋收冬藏"
TAGS = [a + b for a in CHARACTERS[:20] for b in CHARACTERS[:15]]


def draw(path, number):
    """A picture whose colour and brightness depend on its number, every tenth stored as CMYK."""
    random = np.random.default_rng(number)
    pixels = random.integers(0, 80, (40, 50, 3)) + np.array([number % 5, number % 7, number % 3]) * 25
    image = Image.fromarray(pixels.astype(np.uint8))
    image.convert("CMYK" if number % 10 == 0 else "RGB").save(path, quality=95)


@pytest.fixture(scope="module")
def contest(tmp_path_factory):
    home = tmp_path_factory.mktemp("contest")
    (home / "train").mkdir()
    (home / "valid").mkdir()
    names = [f"{(number * 37) % 200:05d}.jpg" for number in range(200)]  # the csv's order is its own
    Y = np.zeros((200, 300), np.uint8)
    for row, name in enumerate(names):
        number = int(name[:5])
        draw(home / "train" / name, number)
        Y[row, [number % 5, 10 + number % 7, 20 + number % 3, *range(30 + number % 90, 300, 90)]] = 1
    (home / "valid_tags.txt").write_text("".join(f"{tag}\n" for tag in TAGS), encoding="utf-8")
    rows = ((name, ",".join(np.array(TAGS)[hot == 1])) for name, hot in zip(names, Y, strict=True))
    write_csv(home / "visual_china_train.csv", ("img_path", "tags"), rows)
    np.savez_compressed(home / "tag_train.npz", tag_train=Y)
    for number in range(20):
        draw(home / "valid" / f"{number:05d}.jpg", number)
    (home / "valid" / "00020.jpg").write_bytes(b"")
    return home


def run(home, *arguments):
    command = [sys.executable, "-m", "toolkit", *arguments]
    done = subprocess.run(command, cwd=home, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done


def test_round_trip__from_three_files_to_submit_csv(contest, monkeypatch):
    monkeypatch.setenv("TOOLKIT_WEIGHTS", "random:0")
    embedded = json.loads(run(contest, "embed", "train/", "--tags", "valid_tags.txt", "--json").stdout)
    assert (embedded["rows"], embedded["failed"]) == (200, 0)
    fitted = json.loads(
        run(contest, "fit", "--head", "logreg", "--json").stdout
    )  # the csv is found by its name
    done = run(contest, "predict", "valid/", "--out", "submit.csv")
    assert "1 image could not be read" in done.stderr and "00020.jpg" in done.stderr
    data = (contest / "submit.csv").read_bytes()
    assert data.startswith(b"img_path,tags\n") and b"\r" not in data
    rows = [cells for _, cells in read_csv(contest / "submit.csv", error=ValueError)][1:]
    assert [row[0] for row in rows] == [f"{number:05d}.jpg" for number in range(21)]
    assert rows[20][1] == "" and all(set(row[1].split(",")) <= set(TAGS) for row in rows[:20])
    # tags that follow the colour are learned: pictures 0..19 were in train under the same numbers
    assert sum(TAGS[int(row[0][:5]) % 5] in row[1].split(",") for row in rows[:20]) >= 15
    assert fitted["micro_f1"] > 0.3


def test_npz_and_csv__say_the_same(contest, monkeypatch):
    monkeypatch.setenv("TOOLKIT_WEIGHTS", "random:0")
    run(contest, "embed", "train/", "--tags", "valid_tags.txt")
    one, other = (
        load_dataset(DataOptions(artifacts=contest / "artifacts", store="train", labels=contest / name))
        for name in ("visual_china_train.csv", "tag_train.npz")
    )
    assert one.space.tags == other.space.tags == tuple(TAGS) and one.ids == other.ids
    np.testing.assert_array_equal(one.Y.toarray(), other.Y.toarray())
