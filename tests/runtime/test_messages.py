"""One is one, more are several."""

import pytest

from toolkit.runtime.messages import counted


@pytest.mark.parametrize(
    ("number", "nouns", "want"),
    [
        (0, ("image",), "0 images"),
        (1, ("image",), "1 image"),
        (35000, ("image",), "35,000 images"),
        (1, ("row shares", "rows share"), "1 row shares"),
        (2, ("row shares", "rows share"), "2 rows share"),
    ],
)
def test_counted(number, nouns, want):
    assert counted(number, *nouns) == want
