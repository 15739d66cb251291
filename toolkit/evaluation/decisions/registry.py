"""The decision rules by name, from a user's text, from json, and by the metric they serve.

A new rule is one class (see `toolkit.evaluation.decisions.base.DecisionRule`) and one line in `RULES`.
"""

from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

from toolkit.errors import OptionError
from toolkit.files.json import typed

if TYPE_CHECKING:
    from toolkit.evaluation.decisions.base import DecisionRule

RULES: dict[str, tuple[str, str]] = {
    "fixed": ("fixed:T (T in 0..1)", "toolkit.evaluation.decisions.thresholds:Fixed"),
    "global": ("global", "toolkit.evaluation.decisions.thresholds:Global"),
    "per-tag": ("per-tag", "toolkit.evaluation.decisions.thresholds:PerTag"),
    "logit-adjusted": ("logit-adjusted", "toolkit.evaluation.decisions.thresholds:LogitAdjusted"),
    "top-k": ("top-k:K (K of 1 or more)", "toolkit.evaluation.decisions.ranked:TopK"),
    "expected-f1": ("expected-f1", "toolkit.evaluation.decisions.ranked:ExpectedF1"),
}
"""Name of a rule: how it is written, and the import string of its class."""

DEFAULT_RULE = "global"
DEFAULT_RULES = {"micro": DEFAULT_RULE, "macro": "per-tag", "samples": "expected-f1"}
"""The rule that serves each average of F1; `PerTag` lists what was measured."""


def default_rule(metric: str) -> str:
    """Return the rule that serves an average of F1: micro, macro or samples; else `OptionError`."""
    if metric not in DEFAULT_RULES:
        raise OptionError(f"--metric got {metric!r}; allowed are {', '.join(DEFAULT_RULES)}")
    return DEFAULT_RULES[metric]


def rule_usages() -> str:
    """Return how the rules are written, in one line for a help text."""
    *first, last = (usage.partition(" ")[0] for usage, _ in RULES.values())
    return f"{', '.join(first)} or {last}"


def parse_rule(text: str, *, min_tags: int = 0) -> "DecisionRule":
    """Build an untuned decision rule from its text.

    Parameters
    ----------
    text : str
        A name in `RULES`, with its value after a colon: ``global``, ``fixed:0.5``, ``top-k:3``.
    min_tags : int
        Tags every image gets at least.

    Returns
    -------
    DecisionRule
        Call ``fit(scores, Y)`` to tune it, then ``apply(scores)``.

    Raises
    ------
    OptionError
        There is no such rule, or its value is not allowed; the message lists all rules.

    Examples
    --------
    >>> import numpy as np
    >>> rule = parse_rule("fixed:0.5", min_tags=1)
    >>> rule.describe()
    'fixed 0.5, at least 1'
    >>> rule.apply(np.array([[0.9, 0.6], [0.2, 0.1]], np.float32)).toarray()
    array([[ True,  True],
           [ True, False]])
    """
    name, _, value = text.partition(":")
    if min_tags < 0:
        raise OptionError(f"--min-tags got {min_tags}; give 0 or more")
    rule = rule_class(name).from_text(value, min_tags=min_tags) if name in RULES else None
    if rule is None:
        raise OptionError(
            f"--rule got {text!r}; allowed are {', '.join(usage for usage, _ in RULES.values())}"
        )
    return rule


def rule_from_dict(document: dict[str, Any]) -> "DecisionRule":
    """Build the rule of a `DecisionRule.to_dict`; `OptionError` if it is none in `RULES`."""
    name = document.get("rule")
    if not isinstance(name, str) or name not in RULES:
        raise OptionError(f"there is no decision rule {name!r}; there are {', '.join(RULES)}")
    try:
        return typed(document, rule_class(name))
    except ValueError as error:
        raise OptionError(f"the decision rule {name!r} is damaged ({error}); fit or tune it again") from error


def rule_class(name: str) -> "type[DecisionRule]":
    """Return the class of the rule called `name`."""
    rule: type[DecisionRule] = resolve_name(RULES[name][1])
    return rule


def tuned_rules() -> tuple[str, ...]:
    """Return the names of the rules that are tuned on scores."""
    return tuple(name for name in RULES if rule_class(name).tuned)
