"""The comparison as one html page that needs nothing else."""

import math
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.evaluation.metrics import Metrics
from toolkit.runtime.messages import counted, printable

MOST_TAGS = 500  # listed in the page; all are in it up to here, beyond only the ones with most positives


def write_report(
    path: Path,
    comparison: Mapping[str, Any],
    *,
    notes: Sequence[str],
    tags: Sequence[str],
    metrics: Mapping[str, Metrics],
    chosen: Mapping[str, Mapping[str, Any]],
) -> None:
    """Write the page.

    Parameters
    ----------
    path : Path
    comparison : mapping
        ``compare.json``.
    notes : sequence of str
        What was read and matched.
    tags : sequence of str, length L
    metrics : mapping of head to Metrics
    chosen : mapping of head to its options
    """
    from jinja2 import Environment, StrictUndefined

    source = files("toolkit.reports").joinpath("page.html").read_text(encoding="utf-8")
    page = Environment(
        autoescape=True,
        finalize=_finalize,  # of every expression, before it is escaped as html
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page.filters |= {"f1": _f1, "counted": counted}
    text = page.from_string(source).render(
        comparison=comparison,
        notes=notes,
        per_tag=_per_tag(tags, metrics),
        heads=list(metrics),
        hidden=max(0, len(tags) - MOST_TAGS),
        chosen=chosen,
    )
    path.write_text(text, encoding="utf-8")


def _per_tag(tags: Sequence[str], metrics: Mapping[str, Metrics]) -> list[dict[str, Any]]:
    """Return each tag's support and F1 by head, most frequent first."""
    first = next(iter(metrics.values()))
    order = np.argsort(-first.support, kind="stable")[:MOST_TAGS]
    return [
        {
            "tag": tags[column],
            "support": int(first.support[column]),
            "f1": [float(found.f1[column]) for found in metrics.values()],
        }
        for column in order
    ]


def _f1(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.4f}"


def _finalize(value: object) -> str:
    return printable(str(value))
