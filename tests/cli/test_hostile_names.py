"""Names and tags of a stranger who wants to act on a terminal, a page or a spreadsheet."""

import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest

from tests.made_up import made_up, write_store
from toolkit.files.csv import read_csv, write_csv
from toolkit.runtime.messages import printable

TAGS = (
    "</script><script>alert(1)</script>",
    '" onmouseover="alert(1)',
    "=HYPERLINK(0)",
    "\x1b[2Jup\u202egpj",
)
STORE = "tr\x1b]0;mine\x07\u202e\udcff"  # the last is a byte that is no UTF-8
OTHER = "gone\u202e\x1b[1m\n.jpg"


@pytest.fixture(scope="module")
def hostile(toolkit, tmp_path_factory):
    """A folder with a store, a comparison and a prediction, all named by a stranger."""
    home = tmp_path_factory.mktemp("hostile")
    X, Y = made_up(n=80)
    names = [f"@{number:02d}\u202egnp.jpg" for number in range(80)]
    try:
        write_store(home, STORE, X, names)
    except (OSError, UnicodeError):
        pytest.skip("this file system takes no such name")
    rows = [(name, "|".join(np.array(TAGS)[row])) for name, row in zip(names, Y, strict=True)]
    write_csv(home / "labels.csv", ("img_path", "tags"), [*rows, (OTHER, TAGS[2])])
    given = ("--heads", "logreg,knn", "-o", "logreg.C=0.1", "-o", "knn.k=7", "--separator", "|")
    compared = toolkit("compare", *given, "--labels", "labels.csv", cwd=home)
    predicted = toolkit("predict", STORE, "--separator", "|", "--out", "s.csv", cwd=home)
    return home, compared, predicted


def test_terminal__gets_one_harmless_line_a_message(hostile):
    _, compared, predicted = hostile
    assert compared.returncode == predicted.returncode == 0, compared.stderr + predicted.stderr
    for text in (compared.stdout, compared.stderr, predicted.stdout, predicted.stderr):
        assert [line for line in text.split("\n") if printable(line) != line] == []
    assert f"labels without an image: {printable(OTHER)}" in compared.stderr.splitlines()


def test_terminal__of_a_person_too(hostile):
    """Where output goes to a terminal nothing is stripped: what is seen was escaped by us."""
    home, _, _ = hostile
    seen, ours = pytest.importorskip("pty", reason="this system has no pseudo-terminals").openpty()
    command = [sys.executable, "-m", "toolkit", "info"]
    with subprocess.Popen(command, cwd=home, stdout=ours, stderr=ours) as process:
        os.close(ours)
        text = b""
        try:
            while part := os.read(seen, 65536):
                text += part
        except OSError:  # how Linux says that the other end is closed
            pass
    os.close(seen)
    assert process.returncode == 0
    lines = text.decode().replace("\r\n", "\n").split("\n")
    assert [line for line in lines if printable(line) != line] == []
    assert any(line.startswith(f"store {printable(STORE)}: 80 rows") for line in lines)


def test_errors__are_one_line(toolkit, hostile):
    home, _, _ = hostile
    for arguments in (
        ["predict", "no\x1b[1m\nthing"],
        ["fit", "--he\x1b[1m\nad"],
        ["fit", "--labels", "\u202e\n"],
    ):
        done = toolkit(*arguments, cwd=home)
        assert done.returncode == 2 and done.stderr.count("\n") == 1
        assert printable(done.stderr[:-1]) == done.stderr[:-1] and done.stderr.startswith("toolkit: ")


def test_debug__shows_a_harmless_traceback(toolkit, hostile):
    done = toolkit("--debug", "predict", "no\x1b[1m\u202ething", cwd=hostile[0])
    assert done.returncode == 1 and "Traceback" in done.stderr and r"no\x1b[1m\u202ething" in done.stderr
    assert [line for line in done.stderr.split("\n") if printable(line) != line] == []


def test_terminal__that_knows_few_characters(toolkit, hostile):
    done = toolkit("tune", "logreg", cwd=hostile[0], PYTHONIOENCODING="cp1252")
    assert done.returncode == 0, done.stderr
    done = toolkit("info", "--json", cwd=hostile[0], PYTHONIOENCODING="cp1252")
    assert json.loads(done.stdout)["stores"][0]["store"] == STORE


class Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.elements, self.attributes, self.texts = set(), set(), []

    def handle_starttag(self, tag, attributes):
        self.elements.add(tag)
        self.attributes |= {name for name, _ in attributes}

    def handle_data(self, data):
        self.texts.append(data)


def test_page__shows_names_and_runs_nothing(hostile):
    home, _, _ = hostile
    (path,) = home.glob("artifacts/comparisons/*/report.html")
    text = path.read_text(encoding="utf-8")
    assert [line for line in text.split("\n") if printable(line) != line] == []
    page = Page()
    page.feed(text)
    assert page.elements.isdisjoint({"script", "img", "iframe", "a", "link", "object", "form", "b"})
    assert page.attributes <= {"lang", "charset", "name", "content", "http-equiv", "class", "style"}
    assert {printable(tag) for tag in TAGS} <= set(page.texts)
    assert any(printable(STORE) in each for each in page.texts)
    assert f"<bdi>{printable(TAGS[3])}</bdi>" in text
    assert "default-src 'none'" in text and not re.search(r"(?:src|href)=", text)


def test_csv__formulas_are_said_and_quoted_only_where_asked(toolkit, hostile):
    home, _, predicted = hostile
    rows = dict(cells for _, cells in read_csv(home / "s.csv", error=ValueError))
    formulas = sum(TAGS[2] in tags for tags in rows.values())
    assert (
        formulas and f"{80 + formulas} cells written: a name or tag begins with = + - @" in predicted.stderr
    )
    assert r"first '@00\u202egnp.jpg'" in predicted.stderr and predicted.stderr.count("\n") == 1
    for source in (STORE, "s.scores.npz"):
        given = ("--separator", "|", "--excel-safe", "--force", "--out", "safe.csv")
        done = toolkit("predict", source, *given, cwd=home)
        assert done.returncode == 0 and done.stderr == ""
        safe = dict(cells for _, cells in read_csv(home / "safe.csv", error=ValueError))
        want = {
            f"'{name}": tags.replace(TAGS[2], f"'{TAGS[2]}")
            for name, tags in rows.items()
            if name != "img_path"
        }
        assert safe == {"img_path": "tags"} | want
    # what is quoted is another name: nothing takes the quote away
    done = toolkit("evaluate", "safe.csv", "--labels", "labels.csv", "--separator", "|", cwd=home)
    assert done.returncode == 2
