"""Pictures and networks small enough to be quick."""

import numpy as np
import pytest
from PIL import Image

from toolkit.backbones.frozen import load_backbone


def photo(width, height, seed=0):
    coarse = np.random.default_rng(seed).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture(scope="session")
def resnet50():
    """ResNet50 with seeded tensors on the processor's default engine, in fp32."""
    return load_backbone("resnet50", weights="random:0", device="cpu", precision="fp32")
