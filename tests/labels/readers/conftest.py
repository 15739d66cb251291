import pytest


@pytest.fixture
def labels(tmp_path):
    return tmp_path / "labels.csv"
