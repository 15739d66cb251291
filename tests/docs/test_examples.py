"""The scripts of examples/ run."""

import re
import runpy

from tests.docs.pages import ROOT


def test_own_head__is_worse_than_logreg(capsys):
    runpy.run_path(str(ROOT / "examples" / "own_head.py"), run_name="__main__")
    prior, logreg = map(float, re.findall(r"micro F1 ([\d.]+)", capsys.readouterr().out))
    assert 0.2 < prior < logreg - 0.1


def test_every_example__is_listed():
    listed = (ROOT / "examples" / "README.md").read_text(encoding="utf-8")
    scripts = [path.name for path in (ROOT / "examples").glob("*.py")]
    assert [name for name in scripts if f"examples/{name}" not in listed] == []
