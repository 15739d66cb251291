"""The commands and the Python of the README and the guide run, in a folder as they describe it."""

import os
import re
import shlex
import subprocess
import sys

import numpy as np
import pytest

from tests.docs.pages import blocks
from toolkit.files.csv import read_csv, write_csv
from toolkit.images.drawn_set import draw_demo_images

# in this order: a page uses what the pages before it made
GUIDE = ["predict", "decision-rules", "compare", "resume"]


def prepare(folder):
    """Make ``train/`` with ``labels.csv``, ``test/`` with ``test_labels.csv``, and more labels."""
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


def run(command, home):
    env = os.environ | {"TOOLKIT_WEIGHTS": "random:0"}
    finished = subprocess.run(command, cwd=home, env=env, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, f"{shlex.join(command)}\n{finished.stderr}"
    return finished.stdout


def run_page(page, home, *, skip=()):
    """Run the commands of a page in order, without those in `skip`; return the output of each."""
    lines = [line for block in blocks(page, "sh") for line in block.splitlines() if line not in skip]
    return {line: run([sys.executable, "-m", "toolkit", *shlex.split(line)[1:]], home) for line in lines}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder in which the commands of the README were run, and what they printed."""
    folder = tmp_path_factory.mktemp("home")
    prepare(folder)
    return folder, run_page("README.md", folder)


def test_readme__commands_do_the_job(home):
    folder, printed = home
    assert len(printed) == 4
    assert "59 embedded, 0 unchanged, 0 gone, 1 failed" in printed["toolkit embed train/"]
    assert printed["toolkit compare"].count("★") == 2
    assert "submit.csv: 40 images by" in printed["toolkit predict test/ --out submit.csv"]
    header = (folder / "submit.csv").read_text(encoding="utf-8").splitlines()[0]
    assert header == "img_path,tags"
    assert (folder / "submit.scores.npz").is_file()


def test_files__are_those_listed(home):
    tree = next(text for text in blocks("docs/reference/files.md", "text") if text.startswith("artifacts/"))
    names = set(re.findall(r"[a-z_]+\.(?:npy|csv|json|txt|html)\b", tree))
    assert "index.csv" in names and "report.html" in names
    assert [name for name in names if not list(home[0].rglob(name))] == []


def test_readme__python_runs(home):
    folder = home[0]
    (code,) = blocks("README.md", "python")
    assert code == blocks("docs/guide/tag-a-folder.md", "python")[0]
    best, f1, f1_on_test = run([sys.executable, "-c", code], folder).split()
    assert best in ("logreg", "knn", "ensemble") and 0 < float(f1) < 1 and 0 < float(f1_on_test) < 1


@pytest.mark.timeout(900)
def test_guide__commands_run(tmp_path):
    prepare(tmp_path)
    readme = run_page("README.md", tmp_path)
    printed = {page: run_page(f"docs/guide/{page}.md", tmp_path, skip=readme) for page in GUIDE}
    added = printed["compare"]["toolkit fit --head logreg --add-tags --labels more_labels.csv"]
    assert "1 tag added to logreg" in added
    assert "logreg.joblib: " in printed["compare"]["toolkit export logreg --format joblib"]
    assert "head ensemble" in printed["compare"]["toolkit info"]
    assert "agrees: " in printed["resume"]["toolkit verify train"]


def test_output_shown__has_the_columns_there_are():
    from toolkit.cli.tables import TITLES

    for page in ("README.md", "docs/guide/tag-a-folder.md"):
        table = next(text for text in blocks(page, "text") if " ★ " in text)
        header = next(line for line in table.splitlines() if line.startswith(" head"))
        assert re.split(r"\s{2,}", header.strip()) == list(TITLES.values())
