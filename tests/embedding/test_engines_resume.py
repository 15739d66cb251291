"""Every engine and precision: the same bits whatever the order, the workers, and after a kill."""

import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from toolkit.backbones.engines.openvino import fast_precisions
from toolkit.store.reading import EmbeddingStore
from toolkit.verbs.embed import embed

NETWORK = {"backbone": "resnet18", "weights": "random:0", "input_size": 96, "device": "cpu"}
ENGINES = [("openvino", "fp32"), ("torch", "fp32"), *(("openvino", name) for name in fast_precisions())]
SHAPES = [(120, 90), (90, 120), (100, 100), (200, 90)]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(40):
        pixels = np.random.default_rng(number).integers(0, 256, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize(SHAPES[number % 4]).save(folder / f"{number:02d}.jpg")
    return folder


@pytest.mark.parametrize(("engine", "precision"), ENGINES)
def test_rows__have_the_same_bits_in_any_order_and_with_any_workers(pictures, tmp_path, engine, precision):
    options = NETWORK | {"engine": engine, "precision": precision, "artifacts": tmp_path}
    one = embed(pictures, name="one", num_workers=1, **options).store
    other = embed(pictures, name="other", num_workers=4, views=1, **options).store
    np.testing.assert_array_equal(one.embeddings(), other.embeddings())
    backwards = tmp_path / "backwards"
    backwards.mkdir()
    names = {path.name: f"{99 - int(path.stem):02d}.jpg" for path in pictures.iterdir()}
    for name, new in names.items():
        shutil.copy(pictures / name, backwards / new)
    turned = embed(backwards, name="turned", **options).store
    place = {name: row for row, name in enumerate(turned.ids)}
    order = [place[names[name]] for name in one.ids]
    np.testing.assert_array_equal(turned.embeddings()[order], one.embeddings())


@pytest.mark.slow
@pytest.mark.parametrize(("engine", "precision"), ENGINES)
def test_kill_9_and_rerun__is_bit_equal(pictures, tmp_path, engine, precision):
    many = tmp_path / "many"
    many.mkdir()
    for copy in range(40):
        for path in pictures.iterdir():
            # what follows a JPEG's end is no picture, but makes another file of it
            (many / f"{copy:02d}{path.name}").write_bytes(path.read_bytes() + bytes([copy]))
    options = NETWORK | {"engine": engine, "precision": precision, "artifacts": tmp_path}
    whole = embed(many, name="whole", **options).store
    command = [
        sys.executable, "-m", "toolkit", "embed", str(many), "--name", "killed", "--artifacts", str(tmp_path),
        "--engine", engine, "--precision", precision, "--backbone", "resnet18", "--weights", "random:0",
        "--input-size", "96", "--device", "cpu", "--quiet",
    ]  # fmt: skip
    journal = tmp_path / "embeddings" / ".killed.partial" / "journal.csv"
    with subprocess.Popen(command) as process:
        deadline = time.monotonic() + 100
        while process.poll() is None and time.monotonic() < deadline:
            if journal.is_file() and journal.stat().st_size > 1000:
                process.send_signal(signal.SIGKILL)
                break
            time.sleep(0.01)
    assert process.returncode == -signal.SIGKILL and not (tmp_path / "embeddings" / "killed").exists()
    report = embed(many, name="killed", **options)
    assert report.kept > 0 and report.embedded > 0 and report.kept + report.embedded == 1600
    np.testing.assert_array_equal(report.store.embeddings(), whole.embeddings())
    index = [(tmp_path / "embeddings" / name / "index.csv").read_bytes() for name in ("whole", "killed")]
    assert index[0] == index[1]
    again = embed(many, name="killed", **options)
    assert (again.kept, again.embedded) == (1600, 0)
    assert EmbeddingStore(tmp_path / "embeddings" / "killed").rows == whole.rows
