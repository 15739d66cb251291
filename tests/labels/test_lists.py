"""Lists and objects in a cell: every notation against what the program that wrote it holds."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.labels.lists import MOST_CHARACTERS, NotationError, is_list, parse_list

TAGS = st.lists(st.text(st.characters(blacklist_categories=["Cs"]), min_size=1), min_size=1, max_size=6)


@pytest.mark.parametrize(
    ("text", "tags", "notation"),
    [
        ("['sand', 'sea']", ["sand", "sea"], "Python"),
        ('["sand", "sea"]', ["sand", "sea"], "JSON"),
        ("[\"cat's eye\", 'sea']", ["cat's eye", "sea"], "Python"),
        ("('sand', 'sea')", ["sand", "sea"], "Python"),
        ("('sand',)", ["sand"], "Python"),
        ("{'sand', 'sea'}", ["sand", "sea"], "Python"),
        ("set()", [], "Python"),
        ("frozenset({'sand'})", ["sand"], "Python"),
        ("['sand' 'sea'\n 'potted plant']", ["sand", "sea", "potted plant"], "numpy"),
        ("array(['sand', 'sea'], dtype=object)", ["sand", "sea"], "Python"),
        ("array(['sand', 'sea'], dtype='<U4')", ["sand", "sea"], "Python"),
        ("Index(['sand', 'sea'], dtype='object')", ["sand", "sea"], "Python"),
        ("[np.str_('sand'), np.str_('sea')]", ["sand", "sea"], "Python"),
        ("[0 1 16]", ["0", "1", "16"], "numpy"),
        ("[0, 16]", ["0", "16"], "JSON"),
        ("[sand, potted plant]", ["sand", "potted plant"], "brackets"),
        ("[saber_(fate), 'a, b']", ["saber_(fate)", "a, b"], "brackets"),
        ('{sand,"potted plant"}', ["sand", "potted plant"], "Postgres"),
        ("{rating:safe,NULL}", ["rating:safe"], "Postgres"),
        ("['sand', None]", ["sand"], "Python"),
        ("[cat's eye, 007]", ["cat's eye", "007"], "brackets"),
        ("- sand\n- 'potted plant'\n-  sea", ["sand", "potted plant", "sea"], "YAML"),
        ("[]", [], "JSON"),
        ("{}", [], "Python"),
        ("'sand', 'sea'", ["sand", "sea"], "quoted words"),
        ('{"choices": ["sand", "sea"]}', ["sand", "sea"], "JSON"),
        ('[{"x": 1.5, "rectanglelabels": ["car"]}, {"rectanglelabels": ["bus"]}]', ["car", "bus"], "JSON"),
        ("[{'id': 28, 'name': 'Action'}, {'id': 3, 'name': 'Drama'}]", ["Action", "Drama"], "Python"),
        ('{"sand": true, "sea": false, "ship": 1}', ["sand", "ship"], "JSON"),
        ('{"taxonomy": [["animal", "dog"]]}', ["animal", "dog"], "JSON"),
        ('"[\\"sand\\", \\"sea\\"]"', ["sand", "sea"], "JSON"),
        ('["caf\\u00e9", null, "\\ud83d\\ude00"]', ["café", "😀"], "JSON"),
        ("[' sand ', '']", ["sand"], "Python"),
    ],
)
def test_parse__every_notation(text, tags, notation):
    assert is_list(text)
    found, name = parse_list(text)
    assert (sorted(found), name) == (sorted(tags), notation)


@pytest.mark.parametrize(
    "text",
    [
        "sand",
        "- sand",
        "-1",
        "[deleted], sky",
        "(smile)",
        "(o)_(o)",
        ":)",
        "'90s rock",
        '5" disk',
        "f(x)",
        "a [b]",
        "{x}, y",
        "",
    ],
)
def test_is_list__ordinary_tags_are_none(text):
    assert not is_list(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("['sand', 'se", "a list of Python, JSON or numpy: a quote in it never closes"),
        ("['sand' 'sea' ... 'ship']", "which was shortened when written: it holds"),
        ("['sand' 'sea', 'ship']", "two quoted words follow each other without a comma"),
        ("['a', ['b']", "it ends before its bracket"),
        ("['sand', 'sea'", r"it ends before its bracket \] \(was it cut\?\)"),
        ("set(['sand', 'sea'", "a collection of Python: it ends before its bracket"),
        ("['a'], 'b']", "a bracket \\] closes what is not open"),
        ("{'x': 3, 'y': 4}", r"its keys are 'x', 'y', and none is choices, labels"),
        ('{"sea": 0.9}', r"its keys are 'sea'"),
        ("[True, False]", "True in it is no tag"),
        ("['a', open('b')]", "neither as JSON nor as Python"),
        ("[__import__('os').getcwd()]", "neither as JSON nor as Python"),
        ("[" * 40 + "]" * 40, "more than 20 brackets within each other"),
        ("['a', " + "-" * 100_000 + "1, ['b']]", "neither as JSON nor as Python"),
        (r"['\ud800', 'b']", "half of a character"),
        ("{name: dog}", "an object, a set or a list of Postgres"),
        ("['" + "a" * MOST_CHARACTERS + "']", "more than 1,000,000 characters"),
    ],
)
def test_parse__what_is_no_list_is_named(text, message):
    assert is_list(text)
    with pytest.raises(NotationError, match=message):
        parse_list(text)


@settings(deadline=None, max_examples=60)
@given(TAGS)
def test_parse__what_python_json_and_numpy_write(tags):
    want = [tag for tag in map(str.strip, tags) if tag]
    texts = [str(tags), json.dumps(tags), json.dumps(tags, ensure_ascii=False), str(tuple(tags))]
    if not any("\\" in tag or "\0" in tag or len(tag) > 1000 for tag in tags):
        texts.append(repr([np.str_(tag) for tag in tags]))
    for text in texts:
        if "..." not in text and "np." not in "".join(tags):
            assert is_list(text)
            found = parse_list(text)[0]
            assert found == want or (len(want) == 1 and is_list(want[0]))


@pytest.mark.parametrize(
    "text",
    [
        "['" + "\\'" * 400_000 + "]",
        "'a'" + " " * 900_000 + "x",
        "[" + "1" * 900_000 + "{}x]",
        "[a" + " " * 900_000 + "{]",
        "set([" + " " * 900_000 + "x)",
        "[" + "'" * 900_001 + "]",
        "[" + "np.a(" * 180_000 + "]",
    ],
    ids=["quotes", "blanks", "digits", "bare", "call", "empty", "scalars"],
)
def test_parse__a_hostile_cell_takes_no_longer_than_its_length(text):
    """Without an end, or an hour: each of these makes a pattern that gives back take the square."""
    if is_list(text):
        with pytest.raises(NotationError):
            parse_list(text)
