"""Every promise of SECURITY.md names tests, and they exist."""

import ast
import re

from tests.docs.pages import ROOT

PAGE = (ROOT / "SECURITY.md").read_text(encoding="utf-8")


def names_in(path):
    """Return the names of the test functions in a file; none if it does not exist."""
    if not path.is_file():
        return set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_tests_that_are_named_exist():
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)
    assert len(named) > 30
    assert [f"{file}::{test}" for file, test in named if test not in names_in(ROOT / file)] == []


def test_every_promise_names_a_test():
    rows = [
        line
        for line in PAGE.splitlines()
        if line.startswith("|") and not line.startswith(("|---", "| promised"))
    ]
    assert len(rows) > 25 and [row for row in rows if "`tests/" not in row.rsplit("|", 2)[1]] == []


def test_commands_and_files_that_are_named_exist():
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert set(re.findall(r"`make (\w+)", PAGE)) <= set(targets)
    files = re.findall(r"`(tests/[\w/]+\.py)`", PAGE)
    assert files and [file for file in files if not (ROOT / file).is_file()] == []
