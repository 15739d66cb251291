"""What the README shows, run: its commands and its Python, in a folder as it describes."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from toolkit.files.text import read_csv, write_csv
from toolkit.images.drawn_set import draw_demo_images

README = (Path(__file__).resolve().parents[1] / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """``train/`` with ``labels.csv``, ``test/`` with ``test_labels.csv``, and features to import."""
    folder = tmp_path_factory.mktemp("home")
    data = draw_demo_images(folder / "drawn", n=60, size=(64, 64))
    for images, labels, name, file in (
        (data.images, data.labels, "train", "labels.csv"),
        (data.new, data.new_labels, "test", "test_labels.csv"),
    ):
        images.rename(folder / name)
        rows = [cells for _, cells in read_csv(labels, error=ValueError)][1:]
        write_csv(
            folder / file, ("img_path", "tags"), ((path.partition("/")[2], tags) for path, tags in rows)
        )
    rows = [cells for _, cells in read_csv(folder / "labels.csv", error=ValueError)][1:]
    more = ((path, f"{tags},pretty" if number % 3 else tags) for number, (path, tags) in enumerate(rows))
    write_csv(folder / "more_labels.csv", ("img_path", "tags"), more)
    np.save(folder / "clip.npy", np.ones((2, 5), np.float16))
    (folder / "names.txt").write_text("1.jpg\n2.jpg\n")
    return folder


def run(command, home):
    env = os.environ | {"TOOLKIT_WEIGHTS": "random:0"}
    done = subprocess.run(command, cwd=home, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_commands__run_in_order(home):
    commands = [line for block in blocks("sh") for line in block.splitlines()]
    assert len(commands) == 18 and all(command.startswith("toolkit ") for command in commands)
    out = {c: run([sys.executable, "-m", "toolkit", *shlex.split(c)[1:]], home) for c in commands}
    assert "59 embedded, 0 unchanged, 0 gone, 1 failed" in out["toolkit embed train/"]
    assert out["toolkit compare"].count("★") == 2
    assert "submit.csv: 40 images by" in out["toolkit predict test/ --out submit.csv"]
    assert "1 tag added to logreg" in out["toolkit fit --head logreg --add-tags --labels more_labels.csv"]
    assert "logreg.joblib: " in out["toolkit export logreg --format joblib"]
    assert "agrees: " in out["toolkit verify train"] and "head ensemble" in out["toolkit info"]
    header = (home / "submit.csv").read_text(encoding="utf-8").splitlines()[0]
    assert header == "img_path,tags"


def test_files__are_those_listed(home):
    tree = next(block for block in blocks("text") if block.startswith("artifacts/"))
    for name in re.findall(r"[\w]+\.(?:npy|csv|json|txt|html|npz)", tree.replace("scores.npz", "")):
        if name != "submit":
            assert list(home.rglob(name)), name
    assert (home / "submit.scores.npz").is_file()


@pytest.mark.parametrize("number", range(3))
def test_python__runs(home, number):
    code = blocks("python")[number]
    shutil.rmtree(home / "artifacts" / "embeddings" / "train-crop", ignore_errors=True)  # one store is clear
    printed = run([sys.executable, "-c", code], home).splitlines()
    assert len(blocks("python")) == 3
    if number == 0:
        assert printed[0].split()[0] in ("logreg", "knn", "ensemble") and 0 < float(printed[1]) < 1
    else:
        assert printed == [["(50, 3)"], ["[[0.33333334 0.33333334 0.33333334]]"]][number - 1]


def test_output_shown__has_the_columns_there_are():
    from toolkit.cli.tables import TITLES

    shown = next(block for block in blocks("text") if " ★ " in block)
    header = next(line for line in shown.splitlines() if line.startswith(" head"))
    assert re.split(r"\s{2,}", header.strip()) == list(TITLES.values())
