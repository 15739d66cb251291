"""Results as tables on a terminal, by rich."""

import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from .console import shown

TITLES = {
    "head": "head",
    "micro_f1": "micro F1",
    "macro_f1": "macro F1",
    "samples_f1": "samples F1",
    "micro_precision": "precision",
    "micro_recall": "recall",
    "map": "mAP",
    "rule": "rule",
    "fit_seconds": "fit s",
    "score_seconds": "score s",
    "peak_mb": "peak MB",
}
RULE_TITLES = {
    "rule": "rule",
    **{name: title for name, title in TITLES.items() if name.startswith(("micro", "macro", "samples"))},
    "n_never_predicted": "tags never predicted",
    "optimism": "optimism",
}
_DIGITS = {"fit_seconds": 1, "score_seconds": 2, "peak_mb": 0, "n_never_predicted": 0}


def print_rows(
    rows: Sequence[Mapping[str, Any]], *, best: str | None = None, titles: Mapping[str, str] = TITLES
) -> None:
    """Print one line a row, columns as `titles` has them; `best` names the head that is marked."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    columns = [name for name in titles if name in rows[0]]
    overflow: Literal["crop", "ellipsis"] = "ellipsis" if shown("…") == "…" else "crop"
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        justify: Literal["left", "right"] = "left" if name in ("head", "rule") else "right"
        table.add_column(titles[name], justify=justify, no_wrap=True, overflow=overflow)
    for row in rows:
        marked = row.get("head") == best and best is not None
        cells = [_cell(name, row[name]) + (" ★" if marked and name == "head" else "") for name in columns]
        table.add_row(*(Text(shown(cell)) for cell in cells), style="bold green" if marked else None)
    # on a pipe nothing is cut off or wrapped
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def _cell(name: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None or math.isnan(value):
        return "–"
    return f"{value:.{_DIGITS.get(name, 4)}f}"
