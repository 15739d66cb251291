"""Readers that race with writers: every row is right, or the command says that something changed."""

import shutil
import threading

import numpy as np
import pytest

from tests.faults.lab import ROWS, Lab, run
from tests.made_up import made_up, names, write_labels, write_store
from toolkit.arrays.features import FileRows
from toolkit.errors import ChangedError, StoreError
from toolkit.experiment.stores import StoreSet, read_features
from toolkit.files.folders import replace
from toolkit.files.text import read_csv
from toolkit.store.reading import EmbeddingStore, open_arrays
from toolkit.verbs.import_features import import_features

CHANGED = "changed meanwhile; run the same command again"
PREDICT = ("predict", "train", "--head", "knn", "--rule", "top-k:1", "--out", "out.csv")
FIT = ("fit", "--head", "knn", "-o", "k=3", "--store", "train", "--labels", "labels.csv")


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    return Lab(tmp_path_factory.mktemp("lab"))


def predictions(home):
    return [tuple(cells) for _, cells in read_csv(home / "out.csv", error=StoreError)][1:]


def swapping(home, moment, folder):
    """Return what replaces `folder` of the artifacts by ``new``, before the disk operation of that number."""

    def before(number, kind, path):
        if number == moment:
            target = home / "artifacts" / folder
            replace(home / "new", target)

    return before


def every_moment(lab, command, folder, make_new, result):
    """Replace a folder at every moment of a command; return how often it was refused, and took old or new."""
    with lab.copy() as home:
        assert run(command, home).status == 0
        old = result(home)
    with lab.copy() as home:
        make_new(home)
        replace(home / "new", home / "artifacts" / folder)
        assert run(command, home).status == 0
        new = result(home)
    assert old != new
    counts = {"refused": 0, "old": 0, "new": 0}
    moment = 0
    while True:
        with lab.copy() as home:
            make_new(home)
            ended = run(command, home, swapping(home, moment, folder))
            if (home / "new").exists():
                return counts  # the command ended before that moment
            if ended.status:
                assert ended.status == 2 and ended.is_one_line and CHANGED in ended.err, ended
                counts["refused"] += 1
            else:
                got = result(home)
                assert got in (old, new), moment
                counts["old" if got == old else "new"] += 1
        moment += 5  # coprime to the few operations of one step, so that each kind is met


def other_store(home):
    """Make a store of as many other images, where it can be renamed from."""
    shutil.move(home / "artifacts" / "embeddings" / "other", home / "new")


@pytest.fixture(scope="module")
def lab_of_two(lab, tmp_path_factory):
    """A lab whose folder has a second store ``other`` and a second knn head beside the artifacts."""
    X, Y = made_up(seed=9, n=ROWS)
    images = [f"b/{number}.jpg" for number in range(ROWS)]
    write_store(lab._base, "other", X[::-1], images)
    with lab.copy() as home:
        ended = run((*FIT[:4], "k=9", *FIT[5:]), home)
        assert ended.status == 0, ended
        shutil.copytree(home / "artifacts" / "heads" / "knn", lab._base / "other-knn")
    write_labels(lab._base / "labels.csv", [*names(ROWS), *images], np.vstack([made_up(n=ROWS)[1], Y]))
    return lab


def test_predict__a_store_replaced_at_any_moment(lab_of_two):
    counts = every_moment(lab_of_two, PREDICT, "embeddings/train", other_store, predictions)
    assert counts["old"] and counts["new"] and counts["refused"], counts


def test_predict__a_head_replaced_at_any_moment(lab_of_two):
    def other_head(home):
        (home / "other-knn").rename(home / "new")

    counts = every_moment(lab_of_two, PREDICT, "heads/knn", other_head, predictions)
    assert counts["old"] and counts["new"] and counts["refused"], counts


def test_fit__a_store_replaced_at_any_moment(lab_of_two):
    def rows(home):
        return (home / "artifacts/heads/knn/rows.npy").read_bytes(), (
            home / "artifacts/heads/knn/Y_indices.npy"
        ).read_bytes()

    counts = every_moment(lab_of_two, FIT, "embeddings/train", other_store, rows)
    assert counts["old"] and counts["new"] and counts["refused"], counts


# ---------------------------------------------------------------------- threads


def test_readers__racing_with_writers(tmp_path):
    """Each row of X begins with the number in its image's name, whichever of three stores is in place."""
    target = tmp_path / "embeddings" / "s"
    for version in range(3):
        numbers = np.arange(20, dtype=np.float32) + 100 * version
        np.save(tmp_path / f"{version}.npy", np.stack([numbers, numbers], axis=1))
        (tmp_path / f"{version}.txt").write_text("".join(f"{number:.0f}.jpg\n" for number in numbers))

    def write(version):
        import_features(tmp_path / f"{version}.npy", tmp_path / f"{version}.txt", target, force=True)

    write(0)
    done, wrong, right, refused = threading.Event(), [], [], []

    def read(number):
        random = np.random.default_rng(number)
        while not done.is_set():
            try:
                store = EmbeddingStore(target)
                done.wait(random.random() / 200)
                if number % 2:
                    store_set = StoreSet.of([store])
                    X = read_features(store_set.to_dict(), store_set.rows)[0][:]
                else:
                    X = open_arrays(target, store.identity, ["embeddings.npy"], FileRows)[0][:]
            except ChangedError as error:
                assert CHANGED in str(error)
                refused.append(number)
                continue
            want = [float(image.removesuffix(".jpg")) for image in store.ids]
            (right if X[:, 0].tolist() == want else wrong).append((store.ids[0], X[0, 0]))

    readers = [threading.Thread(target=read, args=(number,)) for number in range(4)]
    for reader in readers:
        reader.start()
    for version in range(1, 61):
        write(version % 3)
    done.set()
    for reader in readers:
        reader.join()
    assert not wrong and len(right) > 20 and refused, (len(right), len(refused))
