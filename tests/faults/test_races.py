"""Readers that race with writers: every row is right, or the command says that something changed."""

import threading

import numpy as np
import pytest

from tests.faults.lab import Lab
from tests.faults.races import CHANGED, RACES, add_others, run_race
from toolkit.arrays.features import FileRows
from toolkit.errors import ChangedError
from toolkit.experiment.stores import StoreSet, read_features
from toolkit.store.reading import EmbeddingStore, open_arrays
from toolkit.verbs.import_features import import_features


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    lab = Lab(tmp_path_factory.mktemp("lab"))
    add_others(lab)
    return lab


@pytest.mark.parametrize("name", RACES)
def test_race__every_row_is_right_or_the_command_is_refused(lab, name):
    counts = run_race(lab, RACES[name], step=13)  # coprime to the operations of one step, so all are met
    assert counts.wrong == 0 and counts.old and counts.new and counts.refused, counts


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
