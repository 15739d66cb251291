"""The flows on the architecture page name modules that exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "explain" / "architecture.md").read_text(encoding="utf-8")
FLOWS = re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)
NAMES = sorted({name for flow in FLOWS for name in re.findall(r"^ *([\w./]+)  ", flow, re.MULTILINE)})


def test_flows__are_four():
    assert len(FLOWS) == 4 and len(NAMES) > 20


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("--")])
def test_flows__name_modules_that_exist(name):
    path = ROOT / name if name.startswith("cli/") else ROOT / "toolkit" / name.replace(".", "/")
    assert path.is_dir() or path.with_suffix(".py").is_file()
