"""Runs over a store that is there already: damaged, of another folder, in use, or with images that fail."""

import os
import shutil

import numpy as np
import pytest
from PIL import Image

from tests.embedding.test_run import MeanBackbone, expected, folder, go, picture
from tests.store.test_store import visible
from toolkit.errors import StoreError

__all__ = ["folder"]  # a fixture


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
    assert visible(tmp_path) == ["in", "s"]


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


def test_pass__a_store_records_what_made_its_rows(folder, tmp_path):
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
    assert visible(tmp_path) == ["in", "s"]


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
    assert after.keys() == before.keys() and visible(tmp_path) == ["in", "s"]


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
