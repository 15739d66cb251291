"""Pictures and networks small enough to be quick."""

import numpy as np
import pytest
from PIL import Image

from toolkit.backbones.frozen import load_backbone
from toolkit.backbones.options import NetworkOptions


def photo(width, height, seed=0):
    coarse = np.random.default_rng(seed).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def load(backbone, *, graphs=None, calibration=None, **options):
    """Load a backbone, its options as keywords."""
    return load_backbone(NetworkOptions(backbone=backbone, **options), graphs=graphs, calibration=calibration)


@pytest.fixture(scope="session")
def resnet50():
    """ResNet50 with seeded tensors on the CPU's default engine, in fp32."""
    return load("resnet50", weights="random:0", device="cpu", precision="fp32")
