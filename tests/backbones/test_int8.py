"""int8: calibrated by the images embedded, kept beside the stores, found again by predict."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from tests.backbones.conftest import load
from toolkit.errors import OptionError
from toolkit.verbs.embed import embed

NETWORK = {"backbone": "resnet18", "weights": "random:0", "input_size": 64, "precision": "int8"}


@pytest.mark.slow
def test_int8__calibrated_once_resumed_and_refused_where_it_is_not(tmp_path):
    (tmp_path / "in").mkdir()
    for number in range(12):
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((80, 70)).save(tmp_path / "in" / f"{number:02d}.jpg")
    first = embed(tmp_path / "in", artifacts=tmp_path, **NETWORK).store
    name = first.meta.spec.precision
    assert name.startswith("int8-") and (tmp_path / "graphs" / name / "graph.xml").is_file()
    exact = embed(tmp_path / "in", artifacts=tmp_path, name="exact", **NETWORK | {"precision": "fp32"}).store
    assert np.abs(first.embeddings() - exact.embeddings()).max() > 0

    # several processes share a graph that is calibrated once, before they start
    shared = embed(tmp_path / "in", artifacts=tmp_path, name="shared", **NETWORK, device="cpu,cpu").store
    assert shared.meta.spec == first.meta.spec
    np.testing.assert_array_equal(shared.embeddings(), first.embeddings())

    # the same command over another set of pictures continues with the same graph
    (tmp_path / "in" / "11.jpg").unlink()
    Image.new("RGB", (70, 80), (9, 99, 200)).save(tmp_path / "in" / "12.jpg")
    again = embed(tmp_path / "in", artifacts=tmp_path, **NETWORK)
    assert (again.kept, again.embedded) == (11, 1) and again.store.meta.spec == first.meta.spec

    options = {"weights": "random:0", "input_size": 64, "precision": name, "device": "cpu"}
    load("resnet18", graphs=tmp_path / "graphs", **options)
    facts = tmp_path / "graphs" / name / "graph.json"
    document = json.loads(facts.read_text())
    facts.write_text(json.dumps(document | {"weights_sha256": "00"}))
    with pytest.raises(OptionError, match=f"the graph {name} in .* is of other weights"):
        load("resnet18", graphs=tmp_path / "graphs", **options)
    shutil.rmtree(tmp_path / "graphs")
    with pytest.raises(OptionError, match=f"the graph {name} is not in .*; it was calibrated where"):
        load("resnet18", graphs=tmp_path / "graphs", **options)


def test_int8__nothing_to_calibrate_with(tmp_path):
    options = {"weights": "random:0", "device": "cpu", "precision": "int8", "graphs": tmp_path}
    with pytest.raises(OptionError, match="int8 is calibrated by embed; make a store with it first"):
        load("resnet18", **options)
    with pytest.raises(OptionError, match="no image of the source can be read to calibrate with"):
        load("resnet18", calibration=lambda preprocessing: [], **options)
