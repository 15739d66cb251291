"""Every ``toolkit ...`` line in the documentation is one that the command line takes."""

import re
import shlex
from itertools import pairwise

import click
import pytest
from toolkit.cli.main import toolkit

from tests.docs.pages import PAGES, ROOT, blocks
from toolkit.heads.options import parse_options
from toolkit.heads.registry import get_head, head_names

COMMANDS = [(page, line) for page in PAGES for block in blocks(page, "sh") for line in block.splitlines()]


def test_lines__are_toolkit_commands():
    assert [line for _, line in COMMANDS if not line.startswith("toolkit ")] == []


@pytest.mark.parametrize(("page", "line"), COMMANDS)
def test_line__parses(page, line):
    name, *words = shlex.split(line)[1:]
    command = toolkit.get_command(click.Context(toolkit), name)
    assert command is not None, f"there is no command {name}"
    command.make_context(name, words)
    for flag, option in pairwise(words):
        head, text = option.split(".", 1) if name == "compare" else (_head(words), option)
        if flag == "-o" and head in head_names():
            assert parse_options(get_head(head), [text])


def _head(words):
    return words[words.index("--head") + 1] if "--head" in words else "mlp"


def test_line__with_an_unknown_flag_is_refused():
    with pytest.raises(click.UsageError, match="--fore"):
        toolkit.get_command(click.Context(toolkit), "embed").make_context("embed", ["train/", "--fore"])


def test_every_command__is_shown_in_the_guide():
    shown = {line.split()[1] for page, line in COMMANDS if page.startswith("docs/guide/")}
    assert set(toolkit.list_commands(click.Context(toolkit))) <= shown


@pytest.mark.parametrize("page", PAGES)
def test_links__lead_to_files(page):
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", PAGES[page])
    folder = (ROOT / page).parent
    missing = [link for link in links if "://" not in link and not (folder / link).exists()]
    assert missing == []
