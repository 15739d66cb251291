"""Parts of the pages that are made from the code when the pages are built.

``<!-- generated: NAME -->`` in a page is replaced by what the function NAME of this module returns.
"""

import inspect
import re
import tomllib
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import toolkit
from toolkit.evaluation.decisions.registry import RULES, rule_class
from toolkit.heads.options import describe_options
from toolkit.heads.registry import HEADS, get_head
from toolkit.labels.registry import READERS

ROOT = Path(__file__).resolve().parents[1]


def rooms() -> str:
    """Return the table of rooms, top to bottom, by the import contract and the docstrings of packages."""
    rows = ["| room | what is in it |", "|---|---|", f"| `cli` | {_purpose('cli')} |"]
    for layer in layers():
        names = "<br>".join(f"`{room}`" for room in layer)
        rows.append(f"| {names} | {'<br>'.join(_purpose(f'toolkit/{room}') for room in layer)} |")
    return "\n".join(rows)


def layers() -> list[list[str]]:
    """Return the rooms of each layer, top to bottom."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    contract = next(each for each in settings["contracts"] if each.get("containers") == ["toolkit"])
    return [layer.split(" | ") for layer in contract["layers"]]


def _purpose(path: str) -> str:
    package = ROOT / path / "__init__.py"
    text = (package if package.is_file() else ROOT / f"{path}.py").read_text(encoding="utf-8")
    return _first_lines(text.split('"""')[1])


def door() -> str:
    """Return the directives that render the public names: functions, what they return, and the parts."""
    public = [getattr(toolkit, name) for name in toolkit.__all__]
    verbs = [each for each in public if each.__module__.startswith("toolkit.verbs.")]
    returned = {inspect.signature(each).return_annotation for each in verbs}
    kinds = [each for each in returned if inspect.isclass(each) and each.__module__.startswith("toolkit.")]
    kinds.sort(key=lambda kind: kind.__name__)
    return "\n\n".join(
        [
            "## The commands as functions",
            *(f"```{{eval-rst}}\n.. autofunction:: toolkit.{each.__name__}\n```" for each in verbs),
            "## What they return",
            *map(_directive, kinds),
            "## The parts",
            *(_directive(each) for each in public if each not in verbs and each not in kinds),
        ]
    )


def _directive(each: Any) -> str:
    kind, members = ("autoclass", "\n   :members:") if inspect.isclass(each) else ("autofunction", "")
    return f"```{{eval-rst}}\n.. {kind}:: {each.__module__}.{each.__name__}{members}\n```"


def head_options() -> str:
    """Return a table of options for every head of the registry."""
    sections = []
    for name in HEADS:
        head = get_head(name)
        rows = [f"| `{option}` | {_cell(text)} |" for option, text in describe_options(head).items()]
        sections += [
            f"## {name}",
            _first_lines(head.__doc__),
            "\n".join([*_header("option", "takes"), *rows]),
        ]
    return "\n\n".join(sections)


def label_formats() -> str:
    """Return a table of the label formats of the registry."""
    rows = [f"| `{name}` | {_first_lines(resolve_name(READERS[name]).__doc__)} |" for name in READERS]
    return "\n".join([*_header("`--format`", "reads"), *rows])


def decision_rules() -> str:
    """Return a table of the decision rules of the registry."""
    rows = [f"| `{usage}` | {_first_lines(rule_class(name).__doc__)} |" for name, (usage, _) in RULES.items()]
    return "\n".join([*_header("`--rule`", "what it does"), *rows])


def _header(*titles: str) -> list[str]:
    return [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]


def _first_lines(doc: str | None) -> str:
    """Return the first paragraph of a docstring as the text of one cell."""
    return _cell(" ".join(inspect.cleandoc(doc or "").partition("\n\n")[0].split()))


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("``", "`")


GENERATORS = {each.__name__: each for each in (rooms, door, head_options, label_formats, decision_rules)}


def fill(app: Any, page: str, source: list[str]) -> None:
    """Replace the marks in the text of a page."""
    source[0] = re.sub(r"<!-- generated: (\w+) -->", lambda mark: GENERATORS[mark[1]](), source[0])


def setup(app: Any) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("source-read", fill)
    return {"parallel_read_safe": True}
