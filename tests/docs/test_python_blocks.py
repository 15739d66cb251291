"""The Python in the pages runs; that which needs images is run by tests/test_readme.py."""

import pytest

from tests.docs.pages import blocks

PRINTED = {
    "docs/guide/extend.md": [
        "[[0.33333334 0.33333334 0.33333334]]\n",
        "['sea', 'sand']\n",
        "torch.Size([1, 8])\n",
    ],
    "docs/reference/python.md": ["(50, 3)\n"],
}


@pytest.mark.parametrize("page", PRINTED)
def test_blocks__run(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    printed = []
    for block in blocks(page, "python"):
        exec(compile(block, page, "exec"), {"__name__": "example"})
        printed.append(capsys.readouterr().out)
    assert printed == PRINTED[page]
