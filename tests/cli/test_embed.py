"""The command line as its user meets it: a process, its exit code and what it prints."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from toolkit.cli.main import COMMANDS

from toolkit.files.locks import StoreLock
from toolkit.store.reading import EmbeddingStore


@pytest.fixture
def home(tmp_path):
    (tmp_path / "train").mkdir()
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (30, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "train" / f"图 {number}.png")
    (tmp_path / "train" / "bad.jpg").write_bytes(b"nothing")
    for name in ("film.MP4", "film2.mp4", "labels.csv"):
        (tmp_path / "train" / name).write_bytes(b"nothing")
    return tmp_path


def test_embed__folder_then_again(toolkit, home):
    first = toolkit("embed", "train/", "--json", "--num_workers", "1", cwd=home)
    assert first.returncode == 0, first.stderr
    document = json.loads(first.stdout)
    assert (document["rows"], document["embedded"], document["failed"]) == (3, 3, 1)
    assert document["skipped"] == 3
    store = EmbeddingStore(home / "artifacts" / "embeddings" / "train")
    assert store.ids == ("图 0.png", "图 1.png", "图 2.png") and store.failures[0].img_path == "bad.jpg"
    again = toolkit("embed", "train", "--strict", cwd=home)
    assert "  3 other files skipped (.mp4, .csv)\n" in again.stderr
    assert again.returncode == 1
    assert "0 embedded, 3 unchanged, 0 gone, 1 failed" in again.stdout
    assert "failed: bad.jpg: " in again.stderr


def test_embed__says_how_and_finds_renamed_images(toolkit, home):
    first = toolkit("embed", "train", cwd=home)
    assert re.search("3 rows of 2,048 float32, by openvino (bf16|fp16|fp32) on cpu", first.stdout)
    (home / "train" / "图 1.png").rename(home / "train" / "neu.png")
    again = toolkit("embed", "train", cwd=home)
    assert "0 embedded, 3 unchanged (1 renamed), 0 gone, 1 failed" in again.stdout
    text = toolkit("info", cwd=home).stdout
    assert "engine auto: openvino" in text and "network resnet50, random:0 (prepared, " in text
    assert re.search(r"openvino \w+ \(.*(cosine to fp32 [01]\.|no faster precision)", text)


def test_verify__says_what_was_compared_and_exits_1_on_damage(toolkit, home):
    toolkit("embed", "train", "--precision", "fp32", cwd=home)
    done = toolkit("verify", "train", cwd=home)
    assert done.returncode == 0 and "train: 3 rows again by openvino fp32 on cpu" in done.stdout
    assert "agrees: relative difference at most 1e-05" in done.stdout
    path = home / "artifacts" / "embeddings" / "train" / "embeddings.npy"
    rows = np.lib.format.open_memmap(path, mode="r+")
    rows[:] = rows[:, ::-1]
    rows.flush()
    done = toolkit("verify", "train", "--json", cwd=home)
    assert done.returncode == 1 and json.loads(done.stdout)["agrees"] is False
    done = toolkit("verify", "nope", cwd=home)
    assert done.returncode == 2 and "there is no embedding store at" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["embed", "nowhere"], "nowhere"),
        (["embed", "train", "--weights", "nope"], "toolkit: --weights got 'nope'; allowed are"),
        (["embed", "train", "--batch-size", "0"], "toolkit: --batch-size got 0; give 1 or more"),
        (["embed", "train", "--name", "../x"], "toolkit: --name got '../x'; give a plain folder name"),
        (["embed", "train", "--resize", "stretch"], "'stretch' is not one of 'full', 'crop'"),
        (["embed", "train", "--device", "gpu"], "toolkit: --device got 'gpu'; allowed are auto, cpu, cuda"),
        (["embed", "train", "--engine", "tf"], "'tf' is not one of 'auto', 'openvino', 'torch'"),
        (["fly"], "No such command 'fly'"),
        (["import", "x.npy", "--names", "n.txt"], "toolkit: there is no file x.npy"),
    ],
)
def test_errors__exit_2_and_one_line(toolkit, home, arguments, text):
    done = toolkit(*arguments, cwd=home)
    assert done.returncode == 2
    assert text in done.stderr and "Traceback" not in done.stderr and done.stdout == ""
    assert done.stderr.startswith("toolkit: ") and done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            ["--artifacts", "train/bad.jpg"],
            "a file is where a folder is needed, or a folder where a file is; give another path",
        ),
        (
            ["--name", "n" * 250],
            "toolkit: --name got 'nnnnnnnnnnnnnnnnnnnn'…, 250 bytes long; give 240 or fewer",
        ),
        (["--name", "图" * 100], "300 bytes long; give 240 or fewer"),
    ],
)
def test_embed__where_the_store_cannot_be(toolkit, home, arguments, text):
    done = toolkit("embed", "train", *arguments, cwd=home)
    assert done.returncode == 2 and text in done.stderr
    assert done.stderr.startswith("toolkit: ") and done.stderr.count("\n") == 1


def test_embed__a_hidden_folder_needs_a_name(toolkit, home):
    (home / "train").rename(home / ".hid")
    done = toolkit("embed", ".hid", cwd=home)
    assert done.returncode == 2
    assert done.stderr == "toolkit: the name of .hid cannot name a store; give --name, such as --name train\n"


def test_embed__while_another_pass_is_on(toolkit, home):
    with StoreLock(home / "artifacts" / "embeddings" / "train"):
        done = toolkit("embed", "train", cwd=home)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "another pass is writing the store artifacts/embeddings/train; wait for it or give" in done.stderr


def test_no_command__is_the_help(toolkit, home):
    done = toolkit(cwd=home)
    assert done.returncode == 2 and "Commands:" in done.stderr + done.stdout


@pytest.mark.parametrize(
    "arguments",
    [["--debug", "embed", "nowhere"], ["embed", "--debug", "nowhere"], ["embed", "nowhere", "--debug"]],
)
def test_debug__shows_the_traceback(toolkit, home, arguments):
    done = toolkit(*arguments, cwd=home)
    assert done.returncode != 0 and "Traceback" in done.stderr


def test_help__answers_without_heavy_imports(home):
    code = (
        "import sys, toolkit.cli.main as m\ntry:\n m.toolkit.main(['--help'])\nexcept SystemExit: pass\n"
        "print(sorted({'torch', 'numpy', 'rich', 'PIL'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]" and "embed" in done.stdout


@pytest.mark.parametrize("command", list(COMMANDS))
def test_help__of_every_command(toolkit, home, command):
    done = toolkit(command, "--help", cwd=home)
    assert done.returncode == 0 and "Options:" in done.stdout and len(done.stdout.splitlines()) > 8


def test_import__makes_a_store(toolkit, home):
    X = np.random.default_rng(0).normal(size=(3, 7)).astype(np.float16)
    np.save(home / "clip.npy", X)
    (home / "names.txt").write_text("a.jpg\nb.jpg\n图.jpg\n", encoding="utf-8")
    done = toolkit("import", "clip.npy", "--names", "names.txt", "--name", "clip", cwd=home)
    assert done.returncode == 0, done.stderr
    store = EmbeddingStore(home / "artifacts" / "embeddings" / "clip")
    np.testing.assert_array_equal(store.embeddings(), X)
    assert store.ids == ("a.jpg", "b.jpg", "图.jpg") and store.meta.spec.dim == 7
    again = toolkit("import", "clip.npy", "--names", "names.txt", "--name", "clip", cwd=home)
    assert again.returncode == 2 and "there is a store at" in again.stderr
