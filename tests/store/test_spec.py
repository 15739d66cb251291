"""What a mismatch of specs says: what differs and nothing else."""

from dataclasses import replace

import pytest

from toolkit.errors import SpecMismatchError
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
    ("change", "said"),
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
def test_require__names_what_differs_and_the_remedy(change, said):
    with pytest.raises(SpecMismatchError) as caught:
        SPEC.require(replace(SPEC, **change), have="A", want="B", remedy="do C")
    assert str(caught.value) == f"A and B differ in {said}; do C"
    assert SPEC.difference(replace(SPEC, **change)) == next(iter(change))


def test_require__names_of_weights_are_not_compared():
    SPEC.require(replace(SPEC, weights="a.pth"), have="A", want="B", remedy="do C")
