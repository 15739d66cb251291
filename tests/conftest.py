"""Fixtures shared by all tests."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session", autouse=True)
def _one_cache(tmp_path_factory):
    """Give all tests, and the processes they start, one empty cache: a network is prepared once."""
    patch = pytest.MonkeyPatch()
    patch.setenv("TOOLKIT_CACHE", str(tmp_path_factory.mktemp("cache")))
    yield
    patch.undo()


SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real images for evaluation, which is not part of the project."""
    if not (SHARED / "data").is_dir():
        pytest.skip("the real evaluation images (../shared/data) are not on this machine")
    return SHARED / "data"


@pytest.fixture(scope="session")
def shared_weights() -> Path:
    """Real ImageNet ResNet50 weights, which are not part of the project."""
    path = SHARED / "weights" / "resnet50-imagenet.safetensors"
    if not path.is_file():
        pytest.skip("the real weights (../shared/weights) are not on this machine")
    return path
