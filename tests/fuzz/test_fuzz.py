"""The short form of the fuzzing: some inputs for every reader, always the same, and what was found before."""

import base64
import functools
import importlib.metadata
import json
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.fuzz.inputs import make
from tests.fuzz.running import BadMessageError, Bench
from tests.fuzz.targets import TARGETS, Target
from toolkit.errors import LabelError

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="files that are mapped cannot be replaced")

CORPUS = Path(__file__).parent / "corpus"
SHORT = settings(
    max_examples=25,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module", autouse=True)
def quick_registry():
    """Look plug-ins up once: that takes longer than the load of a head, and every load does it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("importlib.metadata.entry_points", functools.cache(importlib.metadata.entry_points))
        yield


@pytest.fixture(scope="module")
def bench(request, tmp_path_factory):
    return Bench(TARGETS[request.param], tmp_path_factory.mktemp("bench"))


@pytest.mark.parametrize("bench", TARGETS, indirect=True)
def test_fuzz__a_result_or_one_plain_line(bench):
    seen = set()

    @SHORT
    @given(st.randoms(use_true_random=False))
    def holds(random):
        seen.add(bench.run(*make(bench.valid, random)))

    holds()
    assert len(seen) > 1, "every input ended alike"


def found():
    """Return the inputs of the corpus: one json a reader, with notes, the file and its bytes in base 85."""
    for path in sorted(CORPUS.glob("*.json")):
        for entry in json.loads(path.read_text(encoding="utf-8")):
            yield pytest.param(path.stem, entry, id=f"{path.stem}-{entry['note'][:50]}")


@pytest.mark.parametrize(("reader", "entry"), list(found()))
def test_corpus__what_was_found_is_refused_or_read(reader, entry, tmp_path):
    message = Bench(TARGETS[reader], tmp_path).run(entry["file"], base64.b85decode(entry["data"]))
    assert entry["message"] in message


def refusing(message):
    def read(folder):
        if (folder / "a").read_bytes() != b"valid":
            raise LabelError(message)

    return Target("refusing", lambda folder: (folder / "a").write_bytes(b"valid"), ("a",), read)


def test_bench__sees_poor_messages_and_puts_the_valid_file_back(tmp_path):
    for message in ("two\nlines", "\x1b[31m", "\u202e", "", "x" * 1001):
        with pytest.raises(BadMessageError):
            Bench(refusing(message), tmp_path).run("a", b"x")
        assert (tmp_path / "a").read_bytes() == b"valid"
    assert Bench(refusing(f"{tmp_path}/a is bad"), tmp_path).run("a", b"x") == "/a is bad"
    assert Bench(refusing("never"), tmp_path).run("a", b"valid") == ""
