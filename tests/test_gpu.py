"""Everything that runs on a GPU, CUDA or Metal, where there is one: ``pytest tests/test_gpu.py``."""

import io
import shutil

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from PIL import Image

from tests.backbones.conftest import load
from toolkit.backbones.fidelity import cosines
from toolkit.embedding.forward import embed_entries
from toolkit.embedding.options import ReadOptions
from toolkit.heads.logreg.head import Logreg
from toolkit.heads.mlp.head import Mlp
from toolkit.images.manifest import read_manifest
from toolkit.verbs.embed import embed
from toolkit.verbs.verify import verify

CUDA = torch.cuda.is_available()
DEVICE = "cuda" if CUDA else "mps"
SHARED = ",".join([DEVICE] * 2)
NETWORK = {"backbone": "resnet18", "weights": "random:0", "input_size": 96}
SHAPES = [(120, 90), (90, 120), (100, 100), (200, 90)]

pytestmark = pytest.mark.skipif(not (CUDA or torch.backends.mps.is_available()), reason="needs a GPU")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Sixty JPEGs of four shapes, one of them damaged, and a PNG."""
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(60):
        pixels = np.random.default_rng(number).integers(0, 256, (6, 8, 3), dtype=np.uint8)
        picture = Image.fromarray(pixels).resize(SHAPES[number % 4], Image.Resampling.BICUBIC)
        picture.save(folder / f"{number:02d}.jpg", quality=95)
    picture.save(folder / "60.png")
    whole = (folder / "07.jpg").read_bytes()
    (folder / "61.jpg").write_bytes(whole[:2] + bytes(300) + whole[302:])
    return folder


def test_forward__agrees_with_the_cpu():
    options = {"weights": "random:0", "input_size": 64, "engine": "torch", "precision": "fp32"}
    ours, theirs = (load("resnet18", device=device, **options) for device in (DEVICE, "cpu"))
    batch = np.random.default_rng(0).integers(0, 256, (5, 64, 96, 3), dtype=np.uint8)
    assert cosines(ours.forward(batch), theirs.forward(batch)).min() > 0.9999
    assert ours.in_flight == (2 if CUDA else 1) and 32 <= ours.batch_size <= 256


def test_precision__auto_is_faithful():
    auto, exact = (
        load("resnet50", weights="random:0", device=DEVICE, input_size=64, precision=precision)
        for precision in ("auto", "fp32")
    )
    assert auto.spec.precision in ("bf16", "fp16") and "cosine to fp32" in auto.why
    batch = np.random.default_rng(0).integers(0, 256, (5, 64, 64, 3), dtype=np.uint8)
    assert cosines(auto.forward(batch), exact.forward(batch)).min() > 0.998


@pytest.mark.parametrize("precision", ["fp32", "auto"])
@pytest.mark.parametrize("decode", ["scaled", "device"])
def test_rows__have_the_same_bits_in_any_order_with_any_workers_and_processes(
    pictures, tmp_path, precision, decode
):
    options = NETWORK | {"precision": precision, "decode": decode, "artifacts": tmp_path}
    report = embed(pictures, name="one", device=DEVICE, num_workers=1, **options)
    one = report.store
    assert (report.embedded, report.failed) == (61, 1)
    four = embed(pictures, name="four", device=DEVICE, num_workers=4, views=1, **options).store
    shared = embed(pictures, name="shared", device=SHARED, **options).store
    backwards = tmp_path / "backwards"
    backwards.mkdir()
    names = {path.name: f"{99 - int(path.stem):02d}{path.suffix}" for path in pictures.iterdir()}
    for name, new in names.items():
        shutil.copy(pictures / name, backwards / new)
    turned = embed(backwards, name="turned", device=DEVICE, **options).store
    place = {name: row for row, name in enumerate(turned.ids)}
    order = [place[names[name]] for name in one.ids]
    for other in (four.embeddings(), shared.embeddings(), turned.embeddings()[order]):
        np.testing.assert_array_equal(other, one.embeddings())
    assert verify("one", artifacts=tmp_path, device=DEVICE).agrees


def test_incremental__new_images_join_rows_of_the_same_bits(pictures, tmp_path):
    some = tmp_path / "some"
    some.mkdir()
    options = NETWORK | {"artifacts": tmp_path, "device": DEVICE}
    for path in sorted(pictures.iterdir())[:25]:
        shutil.copy(path, some / path.name)
    assert embed(some, **options).embedded == 25
    for path in sorted(pictures.iterdir())[25:]:
        shutil.copy(path, some / path.name)
    report = embed(some, **options)
    assert (report.kept, report.embedded, report.failed) == (25, 36, 1)
    whole = embed(pictures, name="whole", **options).store
    np.testing.assert_array_equal(report.store.embeddings(), whole.embeddings())


def test_decode_on_the_gpu__sees_what_pillow_sees(pictures, tmp_path):
    options = NETWORK | {"artifacts": tmp_path, "device": DEVICE, "precision": "fp32"}
    ours = embed(pictures, name="device", decode="device", **options).store
    theirs = embed(pictures, name="exact", decode="exact", **options).store
    assert ours.ids == theirs.ids
    assert cosines(ours.embeddings(), theirs.embeddings()).min() > 0.999


def test_decode_on_the_gpu__progressive_and_grey_files_too(tmp_path):
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8))
    picture = picture.resize((160, 120), Image.Resampling.BICUBIC)
    backbone = load(
        "resnet18", weights="random:0", device=DEVICE, input_size=96, precision="fp32", decode="device"
    )
    for options in (
        {"progressive": True},
        {"subsampling": 0},
        {"subsampling": 2},
        {"restart_marker_rows": 1},
    ):
        data = io.BytesIO()
        picture.save(data, "JPEG", quality=95, **options)
        (decoded,) = backbone.decode([data.getvalue()], 10**6)
        assert decoded is not None and decoded[1:] == (160, 120)
        assert np.abs(decoded[0].astype(int) - backbone.preprocess(picture)).mean() < 3
    grey = io.BytesIO()
    picture.convert("L").save(grey, "JPEG")
    assert backbone.decode([grey.getvalue()], 10**6) == [None]


@pytest.mark.skipif(not CUDA, reason="needs a CUDA GPU, whose memory can be made small")
def test_memory__a_batch_too_large_is_halved_and_nothing_is_lost(pictures, caplog):
    backbone = load("resnet18", weights="random:0", device=DEVICE, input_size=96, precision="fp32")
    entries = list(enumerate(read_manifest(pictures).entries))
    want = {one.slot: one.rows[0] for one in embed_entries(entries, backbone, ReadOptions()) if one.rows}
    room = torch.cuda.memory_reserved() + 2**28
    torch.cuda.set_per_process_memory_fraction(room / torch.cuda.get_device_properties(0).total_memory)
    try:
        options = ReadOptions(batch_size=4096)
        halved = {one.slot: one.rows[0] for one in embed_entries(entries, backbone, options) if one.rows}
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert "do not fit on cuda" in caplog.text and "continuing with batches of" in caplog.text
    assert halved.keys() == want.keys()
    assert min(cosines(halved[slot][None], want[slot][None])[0] for slot in want) > 0.9999


def tagged(N=3000, D=64, L=30):
    random = np.random.default_rng(0)
    X = random.normal(size=(N, D)).astype(np.float32)
    Y = X @ random.normal(size=(D, L)) + 2 * random.normal(size=(N, L)) > 6
    return X, sp.csr_array(Y)


def test_logreg__has_the_processors_optimum():
    X, Y = tagged()
    ours, theirs = (Logreg(C=0.1, device=device).fit(X, Y) for device in (DEVICE, "cpu"))
    assert not len(ours.unconverged_) and ours.gap_.max() <= ours.tol
    np.testing.assert_allclose(ours.scores(X), theirs.scores(X), atol=2e-3)


@pytest.mark.parametrize("options", [{}, {"loss": "asymmetric"}, {"mixup": 0.2, "label_smoothing": 0.1}])
def test_mlp__learns_as_on_the_processor(options):
    X, Y = tagged()
    val = (X[2000:], Y[2000:])
    ours, theirs = (
        Mlp(hidden=(64,), epochs=8, device=device, **options).fit(X[:2000], Y[:2000], val=val)
        for device in (DEVICE, "cpu")
    )
    f1 = [max(record["val_micro_f1"] for record in head.history_) for head in (ours, theirs)]
    assert f1[0] == pytest.approx(f1[1], abs=0.02) and f1[0] > 0.5
