"""verify: agrees with a sound store, not with a damaged one."""

import json

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from toolkit.errors import OptionError, StoreError
from toolkit.verbs.embed import embed
from toolkit.verbs.import_features import import_features
from toolkit.verbs.verify import verify

NETWORK = {"backbone": "resnet18", "weights": "random:0", "input_size": 64}


@pytest.fixture
def made(tmp_path):
    (tmp_path / "in").mkdir()
    for number in range(12):
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((80, 70)).save(tmp_path / "in" / f"{number}.jpg")
    return tmp_path, embed(tmp_path / "in", artifacts=tmp_path, precision="fp32", **NETWORK).store


def test_verify__the_same_engine_at_another_batch_size(made):
    result = verify("in", artifacts=made[0], n=7)
    assert (result.rows, result.changed, result.engine) == (7, 0, "openvino") and result.agrees
    assert result.relative <= 1e-5 and "relative difference" in result.allowed and result.batch_size != 4


def test_verify__another_engine(made):
    result = verify("in", artifacts=made[0], engine="torch")
    assert result.engine == "torch" and result.agrees and result.worst_cosine > 0.99999


def test_verify__a_damaged_row_is_named(made):
    folder, store = made
    rows = np.lib.format.open_memmap(store.folder / "embeddings.npy", mode="r+")
    rows[3] = rows[3][::-1]
    rows.flush()
    result = verify("in", artifacts=folder)
    assert not result.agrees and result.worst_image == store.ids[3]


def test_verify__float16_may_round(tmp_path, made):
    store = embed(
        tmp_path / "in", artifacts=tmp_path, name="half", precision="fp32", dtype="float16", **NETWORK
    )
    assert store.store.embeddings().dtype == np.float16
    result = verify("half", artifacts=tmp_path)
    assert result.agrees and 1e-5 < result.relative <= 2e-3


@pytest.mark.parametrize(
    ("made_on", "allowed"),
    [
        ("cpu,cpu", "relative difference at most 1e-05"),
        ("cuda:0,cuda:1", "cosine at least 0.998"),
        ("cpu,cuda:0", "cosine at least 0.998"),
    ],
)
def test_verify__bits_are_compared_on_one_kind_of_device(made, made_on, allowed):
    folder, store = made
    path = store.folder / "meta.json"
    document = json.loads(path.read_text())
    document["made_with"]["device"] = made_on
    path.write_text(json.dumps(document))
    result = verify("in", artifacts=folder)
    assert result.agrees and result.allowed == allowed and result.device == "cpu"


def test_verify__changed_images_are_left_out(made):
    folder, _ = made
    (folder / "in" / "0.jpg").write_bytes(b"other")
    (folder / "in" / "1.jpg").unlink()
    result = verify("in", artifacts=folder)
    assert (result.rows, result.changed) == (10, 2) and result.agrees


def test_verify__a_store_decoded_on_the_device_by_the_other_engine(made):
    folder, _ = made
    options = NETWORK | {"decode": "device", "engine": "torch", "precision": "fp32"}
    embed(folder / "in", artifacts=folder, name="device", **options)
    assert verify("device", artifacts=folder).engine == "torch"
    result = verify("device", artifacts=folder, engine="openvino")
    assert result.engine == "openvino" and result.agrees and result.allowed == "cosine at least 0.998"


def test_verify__weights_are_found_from_anywhere_and_named_where_they_are_not(tmp_path, made, monkeypatch):
    network = torchvision.models.resnet18(weights=None)
    torch.save(network.state_dict(), tmp_path / "w.pth")
    monkeypatch.delenv("TOOLKIT_WEIGHTS", raising=False)
    monkeypatch.chdir(tmp_path)
    embed("in", artifacts="a", name="own", precision="fp32", **NETWORK | {"weights": "w.pth"})
    monkeypatch.chdir("/")
    assert verify("own", artifacts=tmp_path / "a").agrees
    (tmp_path / "w.pth").rename(tmp_path / "moved.pth")
    text = "the weights of the store 'own', .*w.pth, do not exist; put them back, or set TOOLKIT_WEIGHTS"
    with pytest.raises(OptionError, match=text):
        verify("own", artifacts=tmp_path / "a")
    monkeypatch.setenv("TOOLKIT_WEIGHTS", str(tmp_path / "moved.pth"))
    assert verify("own", artifacts=tmp_path / "a").agrees


def test_verify__what_cannot_be_verified(made, tmp_path):
    folder, _ = made
    for path in (folder / "in").iterdir():
        path.unlink()
    with pytest.raises(StoreError, match="none of the images of 'in' is in .* as it was"):
        verify("in", artifacts=folder)
    np.save(tmp_path / "x.npy", np.ones((1, 3), np.float32))
    (tmp_path / "names.txt").write_text("a.jpg\n")
    import_features(tmp_path / "x.npy", tmp_path / "names.txt", tmp_path / "embeddings" / "x")
    with pytest.raises(
        OptionError, match="the features of 'x' were imported; verify is for stores that embed made"
    ):
        verify("x", artifacts=tmp_path)
