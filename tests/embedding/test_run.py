"""The pass over real files with a small fake backbone."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from toolkit.embedding.augment import augmented
from toolkit.embedding.options import PassOptions, ReadOptions
from toolkit.embedding.read import Known
from toolkit.embedding.run import run_pass
from toolkit.embedding.runners import OneDevice
from toolkit.errors import OptionError, SpecMismatchError
from toolkit.images.files import digest_of
from toolkit.images.manifest import Entry, read_manifest
from toolkit.store.reading import EmbeddingStore
from toolkit.store.records import Row
from toolkit.store.spec import EmbeddingSpec

SIZE = 8


class MeanBackbone:
    """Embeds a picture as the mean colour of each quadrant: 12 numbers, easy to predict."""

    batch_size = 4
    in_flight = 1
    lot = 1
    pads = True

    def __init__(self, sha="00", fail_after=None, precision="fp32", device="cpu"):
        self.spec = EmbeddingSpec(
            backbone="mean",
            weights="none",
            weights_sha256=sha,
            preprocessing="8",
            pooling="avg",
            dim=12,
            precision=precision,
        )
        self.device = device
        self.shapes = []
        self.fail_after = fail_after

    def least_side(self, width, height):
        return None

    def decode(self, files, max_pixels):
        return [None] * len(files)

    def preprocess(self, image):
        return np.asarray(image.resize((SIZE, SIZE), Image.Resampling.BOX))

    def forward(self, batch):
        if self.fail_after is not None and len(self.shapes) >= self.fail_after:
            raise KeyboardInterrupt
        self.shapes.append(batch.shape)
        quarters = batch.reshape(len(batch), 2, SIZE // 2, 2, SIZE // 2, 3).mean(
            axis=(2, 4), dtype=np.float32
        )
        return quarters.reshape(len(batch), 12)


def picture(path, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


def expected(pixels):
    small = np.asarray(Image.fromarray(pixels).resize((SIZE, SIZE), Image.Resampling.BOX))
    return small.reshape(2, 4, 2, 4, 3).mean(axis=(1, 3), dtype=np.float32).reshape(12)


@pytest.fixture
def folder(tmp_path):
    home = tmp_path / "in"
    home.mkdir()
    pictures = {f"p{number:02d}.png": picture(home / f"p{number:02d}.png", number) for number in range(11)}
    return home, pictures


def go(home, target, backbone=None, **options):
    reading = {key: options.pop(key) for key in ("batch_size", "num_workers", "views") if key in options}
    writing = PassOptions(**{key: options.pop(key) for key in ("dtype", "force") if key in options})
    runner = OneDevice(backbone or MeanBackbone(), ReadOptions(**reading))
    return run_pass(read_manifest(home), runner, target, writing, **options)


def test_pass__every_row_is_its_own_picture(folder, tmp_path):
    home, pictures = folder
    report = go(home, tmp_path / "s", batch_size=4)
    assert (report.embedded, report.kept, report.dropped, report.failed) == (11, 0, 0, 0)
    assert report.store.ids == tuple(sorted(pictures))
    want = [expected(pictures[name]) for name in report.store.ids]
    np.testing.assert_allclose(report.store.embeddings(), want, rtol=1e-6)
    assert (report.store.rows[0].width, report.store.rows[0].mode) == (16, "RGB")


def test_pass__a_bad_file_never_moves_its_neighbours(folder, tmp_path):
    home, pictures = folder
    (home / "p03.png").write_bytes(b"<html>not found</html>")
    (home / "p10.png").unlink()
    (home / "p10.png").symlink_to(home / "gone.png")
    report = go(home, tmp_path / "s", batch_size=4, num_workers=3)
    assert len(report.store.rows) + len(report.store.failures) == 11
    assert {failure.img_path for failure in report.store.failures} == {"p03.png", "p10.png"}
    assert report.store.failures[1].reason == "file not found"
    for name, values in zip(report.store.ids, report.store.embeddings(), strict=True):
        np.testing.assert_allclose(values, expected(pictures[name]), rtol=1e-6)


def test_pass__batches_have_one_shape(folder, tmp_path):
    backbone = MeanBackbone()
    go(folder[0], tmp_path / "s", backbone, batch_size=4)
    assert set(backbone.shapes) == {(4, SIZE, SIZE, 3)} and len(backbone.shapes) == 3


def test_pass__second_run_embeds_nothing(folder, tmp_path):
    go(folder[0], tmp_path / "s")
    backbone = MeanBackbone()
    report = go(folder[0], tmp_path / "s", backbone)
    assert (report.embedded, report.kept) == (0, 11) and not backbone.shapes


def test_pass__new_changed_touched_and_vanished(folder, tmp_path):
    home, pictures = folder
    go(home, tmp_path / "s")
    pictures["a new.png"] = picture(home / "a new.png", 99)
    pictures["p01.png"] = picture(home / "p01.png", 98)
    os.utime(home / "p02.png", ns=(1, 1))
    (home / "p04.png").unlink()
    report = go(home, tmp_path / "s")
    assert (report.embedded, report.kept, report.dropped) == (2, 9, 1)
    del pictures["p04.png"]
    assert report.store.ids == tuple(sorted(pictures))
    assert report.store.rows[report.store.ids.index("p02.png")].mtime_ns == 1
    for name, values in zip(report.store.ids, report.store.embeddings(), strict=True):
        np.testing.assert_allclose(values, expected(pictures[name]), rtol=1e-6)


def test_pass__second_run_over_the_same_files_copies_no_row(folder, tmp_path):
    home, _ = folder
    go(home, tmp_path / "s")
    array = tmp_path / "s" / "embeddings.npy"
    before = array.stat()
    os.utime(home / "p02.png", ns=(1, 1))
    report = go(home, tmp_path / "s", files={"labels": "l.csv"})
    assert (report.embedded, report.kept, report.dropped) == (0, 11, 0)
    assert report.store.rows[2].mtime_ns == 1 and report.store.meta.files == {"labels": "l.csv"}
    assert (array.stat().st_ino, array.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_pass__a_renamed_image_keeps_its_row(folder, tmp_path):
    home, pictures = folder
    go(home, tmp_path / "s")
    (home / "sub").mkdir()
    (home / "p03.png").rename(home / "sub" / "moved.png")
    (home / "p04.png").unlink()
    pictures["sub/moved.png"] = pictures.pop("p03.png")
    del pictures["p04.png"]
    backbone = MeanBackbone()
    report = go(home, tmp_path / "s", backbone)
    assert (report.embedded, report.kept, report.renamed, report.dropped) == (0, 10, 1, 1)
    assert not backbone.shapes and report.store.ids == tuple(sorted(pictures))
    for name, values in zip(report.store.ids, report.store.embeddings(), strict=True):
        np.testing.assert_allclose(values, expected(pictures[name]), rtol=1e-6)


def test_known__looks_among_the_rows_it_is_asked_about(tmp_path):
    (tmp_path / "new.png").write_bytes(b"same")
    known = Known([Entry("new.png", tmp_path / "new.png")], by_content=True)
    digest = digest_of(b"same")
    for name in ("one.png", "two.png"):
        match = known("new.png", {name: Row(name, bytes=4, digest=digest)})
        assert match is not None and match[0] == name and match[1].img_path == "new.png"
    assert known("new.png", {"other.png": Row("other.png", bytes=4, digest="00")}) is None


def test_pass__a_copy_takes_the_row_of_its_original(folder, tmp_path):
    home, _ = folder
    go(home, tmp_path / "s")
    (home / "copy.png").write_bytes((home / "p03.png").read_bytes())
    report = go(home, tmp_path / "s")
    assert (report.embedded, report.kept, report.renamed, report.dropped) == (0, 12, 0, 0)
    rows = dict(zip(report.store.ids, report.store.embeddings(), strict=True))
    np.testing.assert_array_equal(rows["copy.png"], rows["p03.png"])


def test_pass__with_views_a_renamed_image_is_embedded_again(folder, tmp_path):
    home, _ = folder
    go(home, tmp_path / "s", views=1)
    (home / "p03.png").rename(home / "q.png")
    report = go(home, tmp_path / "s", views=1)  # a view is drawn by the image's name
    assert (report.embedded, report.kept, report.renamed) == (1, 10, 0)


def test_pass__a_new_image_of_the_same_size_is_not_taken_for_a_renamed_one(folder, tmp_path):
    home, _ = folder
    (home / "a.bmp").write_bytes(b"")
    Image.fromarray(np.full((16, 16, 3), 9, np.uint8)).save(home / "a.bmp")
    go(home, tmp_path / "s")
    (home / "a.bmp").unlink()
    Image.fromarray(np.full((16, 16, 3), 200, np.uint8)).save(home / "b.bmp")
    report = go(home, tmp_path / "s")
    assert (report.embedded, report.renamed, report.dropped) == (1, 0, 1)
    np.testing.assert_allclose(report.store.embeddings()[0], 200)


def test_pass__failed_images_are_tried_again(folder, tmp_path):
    home, _ = folder
    (home / "p05.png").write_bytes(b"")
    assert go(home, tmp_path / "s").failed == 1
    picture(home / "p05.png", 5)
    report = go(home, tmp_path / "s")
    assert (report.embedded, report.kept, report.failed) == (1, 10, 0)


def test_pass__interrupted_is_resumed(folder, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        go(folder[0], tmp_path / "s", MeanBackbone(fail_after=1), batch_size=4)
    assert not (tmp_path / "s").exists()
    report = go(folder[0], tmp_path / "s", batch_size=4)
    assert (report.embedded, report.kept) == (7, 4)


def test_pass__another_spec_is_refused(folder, tmp_path):
    go(folder[0], tmp_path / "s")
    with pytest.raises(SpecMismatchError, match="differ in weights_sha256: 00 against 11"):
        go(folder[0], tmp_path / "s", MeanBackbone(sha="11"))


def test_pass__views_do_not_depend_on_order_or_batches(folder, tmp_path):
    first = go(folder[0], tmp_path / "a", views=2, batch_size=3, num_workers=1).store
    other = go(folder[0], tmp_path / "b", views=2, batch_size=5, num_workers=4).store
    for one, two in zip(first.views(), other.views(), strict=True):
        np.testing.assert_array_equal(one, two)
    assert not np.array_equal(first.views()[0], first.embeddings())
    assert not np.array_equal(first.views()[0], first.views()[1])


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ({"batch_size": 0}, "--batch-size got 0; give 1 or more"),
        ({"batch_size": 1_000_000}, "--batch-size got 1000000; give 4,096 or less"),
        ({"num_workers": 1_000_000}, "--num-workers got 1000000; give 1,024 or less"),
        ({"views": -1}, "--views got -1; give 0 or more"),
    ],
)
def test_options__out_of_range(option, text):
    with pytest.raises(OptionError, match=text):
        ReadOptions(**option)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity")
def test_options__threads_are_the_cores_this_process_may_use():
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "from toolkit.embedding.options import ReadOptions; print(ReadOptions().threads)"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert process.stdout == "1\n" and ReadOptions(num_workers=5).threads == 5


def test_augmented__a_flat_picture_stays_flat_and_seeds_differ():
    flat = np.full((20, 20, 3), 77, np.uint8)
    np.testing.assert_array_equal(augmented(flat, "x", 0, 0), flat)
    busy = np.random.default_rng(0).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    assert not np.array_equal(augmented(busy, "x", 0, 0), augmented(busy, "x", 0, 1))
    assert not np.array_equal(augmented(busy, "x", 0, 0), augmented(busy, "y", 0, 0))


def test_augmented__moves_by_a_tenth_at_most():
    ramp = np.repeat(np.arange(100, dtype=np.uint8)[None, :, None], 100, axis=0).repeat(3, axis=2)
    for view in range(40):
        middle = int(augmented(ramp, "x", view, 0)[50, 50, 0])
        assert abs(middle - 50) <= 12  # shift of 10 and rounding


SCRIPT = """
import sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
from tests.embedding.test_run import MeanBackbone, go
class Slow(MeanBackbone):
    def forward(self, batch):
        time.sleep(0.1)
        return super().forward(batch)
go(Path({home!r}), Path({target!r}), Slow(), batch_size=1)
"""


def test_pass__kill_9_and_rerun_is_bit_equal(folder, tmp_path):
    home, _ = folder
    whole = go(home, tmp_path / "whole", batch_size=1).store
    target = tmp_path / "killed"
    script = SCRIPT.format(tests=str(Path(__file__).parents[2]), home=str(home), target=str(target))
    process = subprocess.Popen([sys.executable, "-c", script])
    journal = tmp_path / ".killed.partial" / "journal.csv"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (journal.is_file() and journal.stat().st_size > 100):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not target.exists()
    report = go(home, target, batch_size=1)
    assert report.kept >= 1 and report.embedded >= 1
    np.testing.assert_array_equal(EmbeddingStore(target).embeddings(), whole.embeddings())
    assert (target / "index.csv").read_bytes() == (tmp_path / "whole" / "index.csv").read_bytes()
