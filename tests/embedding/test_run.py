"""The pass over real files with a small fake backbone."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from toolkit.embedding.augment import augmented
from toolkit.embedding.read import Known, ReadOptions, digest_of
from toolkit.embedding.run import PassOptions, run_pass
from toolkit.embedding.runners import OneDevice
from toolkit.errors import OptionError, SpecMismatchError, StoreError
from toolkit.manifest import Entry, read_manifest
from toolkit.spec import EmbeddingSpec
from toolkit.store import EmbeddingStore, Row

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
    runner = OneDevice(backbone or MeanBackbone(), ReadOptions(**reading))
    return run_pass(read_manifest(home), runner, target, PassOptions(**options))


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
        found = known("new.png", {name: Row(name, bytes=4, digest=digest)})
        assert found is not None and found[0] == name and found[1].img_path == "new.png"
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


@pytest.mark.parametrize(
    "state", ["finished", "between the renames", "cut off", "cut off between the renames"]
)
def test_pass__what_is_remembered_survives_a_kill(folder, tmp_path, state):
    home, _ = folder
    target = tmp_path / "s"
    files = {"labels": "l.csv", "tags": "t.txt"}
    if state.startswith("cut off"):
        with pytest.raises(KeyboardInterrupt):
            go(home, target, MeanBackbone(fail_after=1), batch_size=4, files=files)
    else:
        go(home, target, files=files)
    if state == "between the renames":
        target.rename(tmp_path / ".s.previous")
    elif state == "cut off between the renames":
        (tmp_path / ".s.partial").rename(tmp_path / ".s.next")
    meta = go(home, target, for_prediction=True, files={"tags": "other.txt"}).store.meta
    assert meta.files == {"labels": "l.csv", "tags": "other.txt"} and not meta.for_prediction


def _cut(path):
    path.write_bytes(path.read_bytes()[:-7])


DAMAGE = {
    "short array": lambda store: _cut(store / "embeddings.npy"),
    "empty array": lambda store: (store / "embeddings.npy").write_bytes(b""),
    "flat array": lambda store: np.save(store / "embeddings.npy", np.zeros(11, np.float32)),
    "no array": lambda store: (store / "embeddings.npy").unlink(),
    "broken meta": lambda store: (store / "meta.json").write_text("{"),
    "other meta": lambda store: (store / "meta.json").write_text("[]"),
    "short index": lambda store: _cut(store / "index.csv"),
    "odd index": lambda store: (store / "index.csv").write_bytes(
        (store / "index.csv").read_bytes().replace(b",16,", b",x,")
    ),
    "empty folder": lambda store: (shutil.rmtree(store), store.mkdir()),
    "a file": lambda store: (shutil.rmtree(store), store.touch()),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_pass__force_replaces_a_damaged_store(folder, tmp_path, kind):
    home, _ = folder
    target = tmp_path / "s"
    whole = np.array(go(home, target, files={"labels": "l.csv"}).store.embeddings())
    DAMAGE[kind](target)
    with pytest.raises(StoreError, match="--force"):
        go(home, target)
    store = go(home, target, force=True).store
    np.testing.assert_array_equal(store.embeddings(), whole)
    if "array" in kind or "index" in kind:
        assert store.meta.files == {"labels": "l.csv"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "s"]


@pytest.mark.parametrize("finished", [True, False])
def test_pass__of_another_folder_is_refused(tmp_path, finished):
    for number, name in enumerate(("one", "two")):
        (tmp_path / name / "train").mkdir(parents=True)
        for letter in "abcd":  # equal names, sizes and times
            path = tmp_path / name / "train" / f"{letter}.bmp"
            Image.new("RGB", (16, 16), (number, number, number)).save(path)
            os.utime(path, ns=(1, 1))
    if finished:
        go(tmp_path / "one" / "train", tmp_path / "train", files={"labels": "one.csv"})
    else:
        with pytest.raises(KeyboardInterrupt):
            go(tmp_path / "one" / "train", tmp_path / "train", MeanBackbone(fail_after=1), batch_size=2)
    what = "the store at" if finished else "the interrupted pass at"
    with pytest.raises(
        StoreError, match=f"{what} .* holds the images of .*one.*, these are of .*two.*--force"
    ):
        go(tmp_path / "two" / "train", tmp_path / "train")
    (tmp_path / "one").rename(tmp_path / "moved")
    assert go(tmp_path / "moved" / "train", tmp_path / "train").kept == 4
    report = go(tmp_path / "two" / "train", tmp_path / "train", force=True)
    np.testing.assert_array_equal(report.store.embeddings(), np.ones((4, 12)))
    assert not report.store.meta.files


class Spoilt(MeanBackbone):
    """A backbone whose rows of dark pictures hold `value`."""

    def __init__(self, value, **options):
        super().__init__(**options)
        self.value = value

    def forward(self, batch):
        rows = super().forward(batch)
        rows[batch.reshape(len(batch), -1).max(axis=1) == 0, 3] = self.value
        return rows


@pytest.mark.parametrize(
    ("value", "precision", "dtype", "reason"),
    [
        (np.nan, "fp16", "float32", "its features are not finite (fp16 overflow?); use --precision fp32"),
        (-np.inf, "bf16", "float16", "its features are not finite (bf16 overflow?); use --precision fp32"),
        (np.inf, "fp32", "float32", "its features are not finite, even in fp32; check the weights"),
        (7e4, "fp32", "float16", "its features are too large for float16; use --dtype float32"),
    ],
)
def test_pass__an_image_whose_row_is_not_finite_fails(folder, tmp_path, value, precision, dtype, reason):
    home, pictures = folder
    Image.new("RGB", (16, 16)).save(home / "p03.png")
    store = go(home, tmp_path / "s", Spoilt(value, precision=precision), dtype=dtype).store
    assert [(failure.img_path, failure.reason) for failure in store.failures] == [("p03.png", reason)]
    assert store.ids == tuple(sorted(set(pictures) - {"p03.png"})) and np.isfinite(store.embeddings()).all()
    assert go(home, tmp_path / "large", Spoilt(7e4)).failed == 0  # a float32 store holds it


def test_pass__a_store_says_what_made_its_rows(folder, tmp_path):
    home, _ = folder

    def device(number, **options):
        options = {"device": f"cuda:{number}"} | options
        return go(home, tmp_path / "s", MeanBackbone(**options), batch_size=4).store.meta.made_with["device"]

    assert device(0) == "cuda:0"
    assert device(1) == "cuda:0"  # it embeds nothing
    (home / "p00.png").unlink()
    assert device(1) == "cuda:0"
    (home / "bad.png").write_bytes(b"")
    assert device(1) == "cuda:0"
    picture(home / "new.png", 50)
    assert device(1) == "cuda:0,cuda:1"
    picture(home / "new.png", 51)
    assert device(0, device="cuda:1,cpu") == "cuda:0,cuda:1,cpu"
    for number in range(20, 30):
        picture(home / f"{number}.png", number)
    with pytest.raises(KeyboardInterrupt):
        device(2, fail_after=1)
    assert device(3) == "cuda:0,cuda:1,cpu,cuda:2,cuda:3"


def test_pass__the_device_of_a_pass_that_was_cut_off_is_kept(folder, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        go(folder[0], tmp_path / "s", MeanBackbone(fail_after=1, device="cuda:0"), batch_size=4)
    assert go(folder[0], tmp_path / "s").store.meta.made_with["device"] == "cuda:0,cpu"
    again = go(folder[0], tmp_path / "s", MeanBackbone(device="cpu"), force=True)
    assert again.store.meta.made_with["device"] == "cpu"


def test_pass__a_second_one_at_once_is_refused(folder, tmp_path):
    home, pictures = folder
    refused = []

    class Meanwhile(MeanBackbone):
        def forward(self, batch):
            for force in (False, True):
                with pytest.raises(StoreError, match="another pass is writing the store .*s; wait for it or"):
                    go(home, tmp_path / "s", force=force)
                refused.append(force)
            return super().forward(batch)

    store = go(home, tmp_path / "s", Meanwhile(), batch_size=4).store
    assert len(refused) == 6
    want = [expected(pictures[name]) for name in store.ids]
    np.testing.assert_allclose(store.embeddings(), want, rtol=1e-6)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "s"]


def _touched(store):
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in store.iterdir()}


@pytest.mark.parametrize(
    "kind", ["as before", "another", "one more", "one less", "a touched one", "not finite"]
)
def test_pass__where_images_only_fail_no_row_is_copied(folder, tmp_path, monkeypatch, kind):
    home, _ = folder
    (home / "p05.png").write_bytes(b"")
    (home / "p07.png").write_bytes(b"")
    whole = np.array(go(home, tmp_path / "s").store.embeddings())
    backbone = MeanBackbone()
    if kind == "another":
        (home / "p07.png").rename(home / "q.png")
    elif kind == "one more":
        (home / "a.png").write_bytes(b"nothing")
    elif kind == "one less":
        (home / "p05.png").unlink()
    elif kind == "a touched one":
        os.utime(home / "p02.png", ns=(1, 1))
    elif kind == "not finite":
        Image.new("RGB", (16, 16)).save(home / "p05.png")
        backbone = Spoilt(np.nan)
    before = _touched(tmp_path / "s")
    monkeypatch.setattr("toolkit.store.writing.copy_rows", None)
    report = go(home, tmp_path / "s", backbone)
    bad = sorted({path.name for path in home.iterdir()} - set(report.store.ids))
    assert (report.kept, report.embedded, report.dropped, report.failed) == (9, 0, 0, len(bad))
    assert [failure.img_path for failure in report.store.failures] == bad
    np.testing.assert_array_equal(report.store.embeddings(), whole)
    after = _touched(tmp_path / "s")
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {"as before": set(), "a touched one": {"index.csv"}}.get(kind, {"failed.csv"})
    assert after.keys() == before.keys() and len(list(tmp_path.iterdir())) == 2


def test_pass__an_image_that_no_longer_fails_comes_in_with_those_that_do(folder, tmp_path):
    home, pictures = folder
    for name in ("p01.png", "p05.png", "p07.png"):
        (home / name).write_bytes(b"")
    go(home, tmp_path / "s")
    pictures["p05.png"] = picture(home / "p05.png", 55)
    report = go(home, tmp_path / "s")
    assert (report.kept, report.embedded, report.dropped, report.failed) == (8, 1, 0, 2)
    assert [failure.img_path for failure in report.store.failures] == ["p01.png", "p07.png"]
    for name, row in zip(report.store.ids, report.store.embeddings(), strict=True):
        np.testing.assert_allclose(row, expected(pictures[name]), rtol=1e-6)


def test_pass__interrupted_goes_on(folder, tmp_path):
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
        ({"views": -1}, "--views got -1; give 0 or more"),
    ],
)
def test_options__out_of_range(option, text):
    with pytest.raises(OptionError, match=text):
        ReadOptions(**option)


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
from test_run import MeanBackbone, go
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
    script = SCRIPT.format(tests=str(Path(__file__).parent), home=str(home), target=str(target))
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
