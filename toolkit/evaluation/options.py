"""Options of splits and decision rules."""

from typing import Annotated, Literal

from annotated_types import Ge

from toolkit.evaluation.decisions.registry import default_rule, rule_usages
from toolkit.runtime.options import Option, Options, PathLike, SeedOption

Metric = Literal["micro", "macro", "samples"]

VAL_FRACTION = 0.15
TEST_FRACTION = 0.15


class DecisionOptions(Options):
    """How scores become tags."""

    metric: Annotated[
        Metric,
        Option("The F1 that matters: it decides which head is best, and the rule if --rule does not."),
    ] = "micro"
    rule: Annotated[
        str | None,
        Option(f"{rule_usages()}; by default global for micro, per-tag for macro, expected-f1 for samples."),
    ] = None
    min_tags: Annotated[int, Ge(0), Option("Tags every image gets at least.")] = 0

    @property
    def rule_text(self) -> str:
        """The rule that is tuned, as `parse_rule` reads it."""
        return self.rule or default_rule(self.metric)


class SplitFileOption(Options):
    """The user's split."""

    split: Annotated[PathLike | None, Option("Csv img_path,split with train, val, test.")] = None


class SplitOptions(SplitFileOption, SeedOption):
    """How rows are split into train, val and test."""

    val_fraction: Annotated[
        float, Option("Share of rows, in the default split, that options and rules are tuned on.")
    ] = VAL_FRACTION
    test_fraction: Annotated[
        float, Option("Share that is only measured on; 0 measures by cross-fitting on val.")
    ] = TEST_FRACTION
