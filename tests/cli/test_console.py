"""The sink of all that the command line prints."""

import io
import json
import logging
import re
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toolkit.cli import console
from toolkit.cli.progress import TerminalProgress
from toolkit.cli.tables import print_rows

CLI = Path(console.__file__).parent
HOSTILE = "\x1b[2J图\u202egpj.exe\nsecond\x9b31m\udcff"
ESCAPED = r"\x1b[2J图\u202egpj.exe\nsecond\x9b31m\udcff"
ENCODINGS = ["utf-8", "ascii", "cp1252", "latin-1", "gb18030", "utf-16"]


class Terminal(io.TextIOWrapper):
    """A stream of some encoding, strict as standard output is, that keeps what is written."""

    def __init__(self, encoding, *, tty=False):
        super().__init__(io.BytesIO(), encoding=encoding, errors="strict", newline="\n")
        self.tty = tty

    def isatty(self):
        return self.tty

    def text(self):
        self.flush()
        return self.buffer.getvalue().decode(self.encoding)


@pytest.fixture
def terminal(monkeypatch):
    """Return a function that makes standard output or standard error a terminal."""

    def make(encoding="utf-8", name="stdout", **options):
        stream = Terminal(encoding, **options)
        monkeypatch.setattr(sys, name, stream)
        return stream

    return make


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_say__is_one_line_that_the_terminal_can_show(terminal, encoding, name):
    stream = terminal(encoding, name)
    console.say(HOSTILE, err=name == "stderr")
    text = stream.text()
    assert text.endswith("\n") and text.count("\n") == 1 and text.isprintable() is False  # the line end
    assert text[:-1].isprintable() and text[:-1].replace(r"\u56fe", "图") == ESCAPED


def test_say__escapes_on_a_real_terminal_too(terminal):
    stream = terminal(tty=True)
    console.say(HOSTILE)
    assert stream.text() == ESCAPED + "\n"


@pytest.mark.parametrize("encoding", ENCODINGS)
@given(document=st.dictionaries(st.text(st.characters(codec=None)), st.text(st.characters(codec=None))))
def test_say_json__reads_back_exactly(encoding, document):
    stream = Terminal(encoding)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        console.say_json(document)
    text = stream.text()
    assert text.count("\n") == 1 and console.printable(text[:-1]) == text[:-1]
    assert json.loads(text) == document


def test_say_json__leaves_names_readable(terminal):
    stream = terminal()
    console.say_json({"tag": "海\u202e"})
    assert stream.text() == '{"tag": "海\\u202e"}\n'


def test_prepare__log_records_and_tracebacks_are_escaped(terminal, monkeypatch):
    stream = terminal("ascii", "stderr")
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", root.level)
    monkeypatch.setattr(sys, "excepthook", None)
    console.prepare()
    try:
        raise ValueError(HOSTILE)
    except ValueError as error:
        logging.getLogger("toolkit.test").warning("skipped %s", HOSTILE, exc_info=True)
        sys.excepthook(type(error), error, error.__traceback__)
    text = stream.text()
    assert text.startswith(r"skipped \x1b[2J\u56fe\u202egpj.exe\nsecond\x9b31m\udcff" + "\n")
    assert text.count("Traceback (most recent call last)") == 2
    assert all(line.isprintable() for line in text.split("\n")) and text.count("gpj.exe") == 3


def rows(*heads):
    return [{"head": head, "micro_f1": 0.5, "rule": "[red]top-k 2[/red] :smile:"} for head in heads]


def test_table__takes_names_as_they_are_and_escapes_them(terminal):
    stream = terminal()
    print_rows(rows("[bold]", HOSTILE), best="[bold]")
    text = stream.text()
    assert "[bold] ★" in text and ESCAPED in text and text.count("[red]top-k 2[/red] :smile:") == 2
    assert all(line.isprintable() for line in text.split("\n"))


def test_table__wide_characters_stay_aligned(terminal):
    stream = terminal()
    print_rows(rows("图像标签", "knn"))
    wide, narrow = [line for line in stream.text().splitlines() if "0.5000" in line]
    assert wide.index("0.5000") + len("图像标签") == narrow.index("0.5000")  # each takes two places


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1"])
@pytest.mark.parametrize("columns", ["40", "120"])
def test_table__on_terminals_that_know_few_characters(terminal, monkeypatch, encoding, columns):
    monkeypatch.setenv("COLUMNS", columns)
    stream = terminal(encoding, tty=True)
    print_rows([{"head": "图", "micro_f1": float("nan"), "rule": "global"}], best="图")
    assert r"\u56fe" in stream.text()


def test_progress__notes_are_escaped_and_are_no_markup(terminal, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    stream = terminal(name="stderr", tty=True)
    with TerminalProgress(quiet=False) as progress:
        progress("read [red]x[/red]", 1, 2, f"{HOSTILE} [blue]")
    text = re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", stream.text())  # what rich itself writes
    assert "read [red]x[/red]" in text and f"{ESCAPED} [blue]" in text
    assert "\u202e" not in text and "\x9b" not in text


def test_nothing_else_prints():
    sources = {path.name: path.read_text(encoding="utf-8") for path in CLI.glob("*.py")}
    writes = re.compile(
        r"click\.echo|click\.secho|\bprint\(|std(?:out|err)\.write|console\.print|basicConfig"
    )
    found = {name: writes.findall(text) for name, text in sources.items()}
    assert {name: calls for name, calls in found.items() if calls} == {
        "console.py": ["basicConfig", "click.echo", "click.echo"],
        "tables.py": ["print("],  # of rich: cells went through `shown`
    }
