"""What the benchmarks' tables rest on: splits, intervals, and memory seen from outside."""

import importlib
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.metrics import f1_score

from benchmarks import embedding_cuda
from benchmarks.contest_compare import stage_seconds
from benchmarks.heads_on_real import Judged, ahead, resampled
from benchmarks.processes import run
from benchmarks.real_sets import RealSet, given_test, random_splits
from benchmarks.tables import machine
from toolkit.evaluation.metrics import per_image_counts

MODULES = sorted(path.stem for path in Path(embedding_cuda.__file__).parent.glob("*.py"))


@pytest.mark.parametrize("name", MODULES)
def test_every_benchmark_can_be_imported(name):
    importlib.import_module(f"benchmarks.{name}")


@pytest.fixture
def data():
    random = np.random.default_rng(0)
    Y = sp.csr_array(random.random((400, 5)) < 0.3)
    return RealSet("made up", np.zeros((400, 2), np.float32), Y, random_splits(400, 3))


def judged(data, wrong):
    """A head that gets a share of all (image, tag) pairs wrong."""
    random = np.random.default_rng(1)
    out = Judged()
    for _, _, test in data.splits:
        truth = data.Y[test]
        guess = sp.csr_array(truth.toarray() ^ (random.random(truth.shape) < wrong))
        out.counts.append(per_image_counts(truth, guess))
        out.f1.append((f1_score(truth.toarray(), guess.toarray(), average="micro"), 0.0, 0.0))
    return out


def test_random_splits__are_a_partition_each_another():
    splits = random_splits(100, 3)
    for parts in splits:
        assert [len(part) for part in parts] == [70, 15, 15]
        assert sorted(np.concatenate(parts)) == list(range(100))
    assert len({tuple(test) for _, _, test in splits}) == 3


def test_given_test__is_kept():
    Y = sp.csr_array(np.random.default_rng(0).random((60, 4)) < 0.4)
    for train, val, test in given_test(Y, 40, 2):
        assert list(test) == list(range(40, 60))
        assert sorted([*train, *val]) == list(range(40)) and 4 <= len(val) <= 8


def test_resampled__is_spread_around_micro_f1(data):
    one = judged(data, 0.2)
    draws = resampled(data, one)
    assert draws.mean() == pytest.approx(one.mean("micro"), abs=0.003)
    # a split's F1 has 60 images of 5 tags; the mean of three splits, which share images, varies less
    single = judged(RealSet(data.name, data.X, data.Y, data.splits[:1]), 0.2)
    only = resampled(RealSet(data.name, data.X, data.Y, data.splits[:1]), single)
    assert 0.4 * only.std() < draws.std() < only.std()


def test_ahead__of_itself_is_nothing_and_of_worse_is_sure(data):
    one, other = judged(data, 0.1), judged(data, 0.3)
    assert ahead(data, one, one) == "+0.00 ± 0.00 [+0.00, +0.00]"
    found = ahead(data, one, other)
    low = float(found.split("[")[1].split(",")[0])
    assert found.startswith(f"{100 * (one.mean('micro') - other.mean('micro')):+.2f} ± ") and low > 0


def test_run__sees_the_memory_of_a_grandchild():
    child = "import numpy, time; held = numpy.ones(2**25); time.sleep(1)"  # 256 MiB
    found = run(
        [
            sys.executable,
            "-c",
            f"import subprocess, sys; subprocess.run([sys.executable, '-c', '{child}']); print(7)",
        ]
    )
    assert found.stdout == "7\n" and found.seconds > 1
    assert 256 < found.largest_mb < 600 and found.together_mb > found.largest_mb


def test_run__failing_raises():
    with pytest.raises(subprocess.CalledProcessError, match="exit status 3"):
        run([sys.executable, "-c", "raise SystemExit(3)"])


def test_stage_seconds__are_compares_own_or_its_heads():
    heads = [
        {"head": "knn", "fit_seconds": 3.0, "score_seconds": 1.0},
        {"head": "ensemble", "fit_seconds": 3.0, "score_seconds": 1.0},
    ]
    rest = "the rest (start-up, writing)"
    assert stage_seconds({"heads": heads}, 10) == {"fit knn": 3, "score knn": 1, rest: 6}
    assert stage_seconds({"heads": heads, "seconds": {"split": 2.0}}, 10) == {"split": 2, rest: 8}


def test_machine__leaves_out_libraries_that_are_not_installed(monkeypatch):
    monkeypatch.setattr("benchmarks.tables.LIBRARIES", ("numpy", "no-such-library"))
    assert f"numpy {np.__version__}." in machine() and "no-such-library" not in machine()


def test_run_all__goes_on_after_a_way_that_fails_and_begins_none_when_the_time_is_up(monkeypatch):
    tried = []

    def run_way(way, folder, device, *, limit):
        tried.append(way)
        if way == "broken":
            raise subprocess.CalledProcessError(3, way)
        return {"images": 8, "seconds": 2.0}

    monkeypatch.setattr(embedding_cuda, "run_way", run_way)
    plan = ["broken", "works", "broken", "works"]
    runs, failed = embedding_cuda._run_all(plan, Path(), "cpu", math.inf)
    assert tried == ["broken", "works", "works"]
    assert [len(runs[way]) for way in ("broken", "works")] == [0, 2]
    assert failed == {"broken": "failed with exit status 3"}
    assert embedding_cuda._run_all(plan, Path(), "cpu", -math.inf) == ({"broken": [], "works": []}, {})
