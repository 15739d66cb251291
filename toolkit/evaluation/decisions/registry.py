"""The rules by name: from a user's text, from json, and by the metric they serve."""

import importlib
from collections.abc import Callable
from typing import Any

from toolkit.errors import OptionError
from toolkit.evaluation.decisions.base import DecisionRule

RULES: dict[str, str] = {
    "fixed": "toolkit.evaluation.decisions.thresholds:Fixed",
    "global": "toolkit.evaluation.decisions.thresholds:Global",
    "per-tag": "toolkit.evaluation.decisions.thresholds:PerTag",
    "logit-adjusted": "toolkit.evaluation.decisions.thresholds:LogitAdjusted",
    "top-k": "toolkit.evaluation.decisions.ranked:TopK",
    "expected-f1": "toolkit.evaluation.decisions.ranked:ExpectedF1",
}
ALLOWED = "fixed:T (T in 0..1), global, per-tag, logit-adjusted, top-k:K (K of 1 or more), expected-f1"
"""What `parse_rule` takes, in words."""

DEFAULT_RULE = "global"
DEFAULT_RULES = {"micro": DEFAULT_RULE, "macro": "per-tag", "samples": "expected-f1"}
"""The rule that serves each average: see `PerTag` for what was measured."""


def default_rule(metric: str) -> str:
    """Return the rule to tune where an average of F1 decides: micro, macro or samples; else `OptionError`."""
    if metric not in DEFAULT_RULES:
        raise OptionError(f"--metric got {metric!r}; allowed are {', '.join(DEFAULT_RULES)}")
    return DEFAULT_RULES[metric]


def parse_rule(text: str, *, min_tags: int = 0) -> DecisionRule:
    """Build a rule from its text, such as ``global`` or ``fixed:0.5``; else `OptionError` names all."""
    name, _, value = text.partition(":")
    if min_tags < 0:
        raise OptionError(f"--min-tags got {min_tags}; give 0 or more")
    try:
        if name == "fixed" and 0 <= float(value) <= 1:
            return _rule_class(name)(min_tags=min_tags, thresholds=[float(value)])
        if name == "top-k" and int(value) >= 1:
            return _rule_class(name)(k=int(value), min_tags=min_tags)
        if name in RULES and not value and name not in ("fixed", "top-k"):
            return _rule_class(name)(min_tags=min_tags)
    except ValueError as error:
        raise OptionError(f"--rule got {text!r}; allowed are {ALLOWED}") from error
    raise OptionError(f"--rule got {text!r}; allowed are {ALLOWED}")


def rule_from_dict(document: dict[str, Any]) -> DecisionRule:
    """Build the rule that `to_dict` described; `OptionError` if it is none of `RULES`."""
    options = {key: value for key, value in document.items() if key != "rule"}
    if document.get("rule") not in RULES:
        raise OptionError(f"there is no decision rule {document.get('rule')!r}; there are {', '.join(RULES)}")
    return _rule_class(document["rule"])(**options)


def _rule_class(name: str) -> Callable[..., DecisionRule]:
    module, _, attribute = RULES[name].partition(":")
    rule: Callable[..., DecisionRule] = getattr(importlib.import_module(module), attribute)
    return rule
