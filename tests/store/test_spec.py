"""Specs: a mismatch names what differs and nothing else; the options they record."""

from dataclasses import replace

import pytest

from toolkit.errors import SpecMismatchError, StoreError
from toolkit.store.spec import EmbeddingSpec

REST = "mean [0.485, 0.456, 0.406], std [0.229, 0.224, 0.225]"
SPEC = EmbeddingSpec(
    backbone="resnet50",
    weights="imagenet1k-v1",
    weights_sha256="0123456789abcdef" * 4,
    preprocessing=f"full 224 bilinear antialias, {REST}, JPEG scaled while decoded",
    pooling="avg",
    dim=2048,
    precision="fp32",
)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"precision": "bf16"}, "precision: fp32 against bf16"),
        (
            {"preprocessing": f"squash 224 bilinear antialias, {REST}, JPEG scaled while decoded"},
            "preprocessing: full 224 bilinear antialias against squash 224 bilinear antialias",
        ),
        (
            {"preprocessing": f"{SPEC.preprocessing}, averaged with the mirror image"},
            "preprocessing: nothing against averaged with the mirror image",
        ),
        (
            {"preprocessing": SPEC.preprocessing.replace("0.485", "0.5")},
            "preprocessing: mean [0.485, 0.456, 0.406] against mean [0.5, 0.456, 0.406]",
        ),
        (
            {"backbone": "resnet18", "weights_sha256": "f" * 64, "dim": 512},
            "backbone: resnet50 against resnet18, weights_sha256: 0123456789ab against ffffffffffff, "
            "dim: 2048 against 512",
        ),
    ],
)
def test_require__names_what_differs_and_the_remedy(change, message):
    with pytest.raises(SpecMismatchError) as caught:
        SPEC.require(replace(SPEC, **change), have="A", want="B", remedy="do C")
    assert str(caught.value) == f"A and B differ in {message}; do C"
    assert SPEC.difference(replace(SPEC, **change)) == next(iter(change))


def test_require__names_of_weights_are_not_compared():
    SPEC.require(replace(SPEC, weights="a.pth"), have="A", want="B", remedy="do C")


OPTIONS = {"resize": "crop", "input_size": 96, "decode": "device", "flip": True}


def test_options__are_recorded_and_not_compared():
    spec = replace(SPEC, options=OPTIONS)
    assert EmbeddingSpec.from_dict(spec.to_dict()).options == OPTIONS
    assert spec == SPEC and spec.difference(SPEC) is None
    assert spec.network_options() == {
        "backbone": "resnet50",
        "engine": "torch",
        "precision": "fp32",
        **OPTIONS,
    }


def test_options__of_another_type_are_named():
    with pytest.raises(StoreError, match="expected object, got array at options.; embed again"):
        EmbeddingSpec.from_dict(SPEC.to_dict() | {"options": []})


@pytest.mark.parametrize(
    ("description", "options"),
    [
        (SPEC.preprocessing, {"resize": "full", "input_size": 224, "decode": "scaled", "flip": False}),
        (
            f"crop 110->96 bilinear antialias, {REST}, JPEG decoded on the device, "
            "averaged with the mirror image",
            OPTIONS,
        ),
        (
            f"squash 256 bicubic antialias, {REST}",
            {"resize": "squash", "input_size": 256, "decode": "exact", "flip": False},
        ),
        ("unknown", {}),
    ],
)
def test_options__of_version_0_1_are_read_from_the_description(description, options):
    document = replace(SPEC, preprocessing=description).to_dict()
    del document["options"]
    assert EmbeddingSpec.from_dict(document).options == options
