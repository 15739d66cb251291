"""Names of backbones, and those another package brings."""

import numpy as np
import pytest

from tests.backbones.conftest import load
from toolkit.backbones.families import FAMILIES, default_weights, family_of
from toolkit.errors import OptionError

PLUGIN = """
import torch
from toolkit.backbones.network import Network, digest, seeded
from toolkit.backbones.preprocessing import Recipe

class Mean(torch.nn.Module):
    def forward(self, x):
        return x.mean(dim=(2, 3))

def build(name, weights):
    recipe = Recipe(resize_size=40, crop_size=32, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    module = seeded(weights, Mean)
    return Network(module, recipe, digest(module), "mean")
"""


def test_names():
    assert family_of("resnet50") == family_of("vit_b_16") == FAMILIES[r"[a-z0-9_]+"]
    assert family_of("timm:resnet50.a1_in1k").startswith("toolkit.backbones.timm_models")
    assert default_weights("resnet50") == "imagenet1k-v1" and default_weights("timm:x") == "pretrained"
    with pytest.raises(
        OptionError, match=r"there is no backbone 'Res Net'; give resnet50, another classifier"
    ):
        family_of("Res Net")


@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_plug_in__gets_engines_and_resizing_for_nothing(tmp_path, monkeypatch, engine):
    (tmp_path / "meanbone.py").write_text(PLUGIN)
    installed = tmp_path / "meanbone-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: meanbone\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text("[toolkit.backbones]\ncolour = meanbone:build\n")
    monkeypatch.syspath_prepend(tmp_path)
    backbone = load("colour", weights="random:0", engine=engine, device="cpu", precision="fp32", flip=True)
    assert backbone.spec.dim == 3 and backbone.spec.pooling == "mean"
    batch = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    np.testing.assert_allclose(backbone.forward(batch), batch.mean(axis=(1, 2)) / 255, rtol=1e-4)
