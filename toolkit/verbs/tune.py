"""Tune a fitted head's decision rule again, from the scores saved with it: seconds, without the head."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.errors import HeadError
from toolkit.evaluation.decisions.base import DecisionRule
from toolkit.evaluation.decisions.crossfit import cross_fitted
from toolkit.evaluation.decisions.registry import default_rule, parse_rule, tuned_rules
from toolkit.evaluation.metrics import Metrics, evaluate
from toolkit.evaluation.scorestore import redecide, warn_if_cut
from toolkit.experiment.measuring import optimism_or_none
from toolkit.experiment.options import BEST
from toolkit.experiment.saved import SavedHead
from toolkit.experiment.saved_scores import SavedScores, ScorePart
from toolkit.runtime.messages import counted, listed
from toolkit.runtime.options import takes
from toolkit.verbs.options import TuneOptions


@dataclass(frozen=True, eq=False)
class Tuned:
    """One rule, tuned, and how good it is.

    Attributes
    ----------
    rule : DecisionRule
    exact : bool
        Whether all scores that it decides by are kept: the best 256 of an image are.
    metrics : Metrics
        On the rows that `TuneReport.measured_on` says.
    optimism : dict of metric to float or None
        What tuning and measuring on the same rows, without cross-fitting, adds.
    """

    rule: DecisionRule
    exact: bool
    metrics: Metrics
    optimism: dict[str, float | None]

    def row(self) -> dict[str, Any]:
        """Return the rule's line of a table."""
        names = ("micro_f1", "macro_f1", "samples_f1", "micro_precision", "micro_recall", "n_never_predicted")
        facts = self.metrics.to_dict()
        return {"rule": self.rule.describe(), **{name: facts[name] for name in names}}


@dataclass(frozen=True, eq=False)
class TuneReport:
    """The rules of a head, compared, or the one that was set.

    Attributes
    ----------
    head : str
    tuned : tuple of Tuned
    measured_on : str
        Rules that are compared: the tuning rows, cross-fitted, so that choosing one by these numbers leaves
        the test rows to measure it. A rule that is set: the test rows or, where there are none, as before.
    set_to : DecisionRule or None
        The rule the head decides by from now on; None if nothing was changed.
    """

    head: str
    tuned: tuple[Tuned, ...]
    measured_on: str
    set_to: DecisionRule | None


@takes(TuneOptions)
def tune(options: TuneOptions) -> TuneReport:
    """Compare the decision rules of a fitted head, or set the one it decides by.

    Without `rule` and `metric` all rules are compared and nothing changes. They are compared on the rows they
    are tuned on, by cross-fitting; the test rows measure only the rule that is then set.

    Returns
    -------
    TuneReport

    Raises
    ------
    HeadError
        There is no such head, or no scores are saved with it: tags may have been added.
    OptionError
        There is no such rule.

    See Also
    --------
    predict : Takes a rule for one prediction.

    Examples
    --------
    >>> import toolkit
    >>> report = toolkit.fit("knn", options={"k": 5}, artifacts=artifacts)
    >>> toolkit.tune("knn", rule="top-k:1", artifacts=artifacts).set_to.describe()
    'top-k 1'
    """
    wanted = options.rule or (default_rule(options.metric) if options.metric else None)
    compared = [wanted] if wanted else [*tuned_rules(), "fixed:0.5"]
    rules = [parse_rule(name, min_tags=options.min_tags) for name in compared]
    saved = SavedHead.open(Path(options.artifacts), options.head)
    tuning, test = saved.read(
        lambda folder: (_scores(saved, folder, "tuning"), _scores(saved, folder, "test"))
    )
    warn_if_cut(tuning.top, rules)
    warn_if_cut(tuning.top, rules)
    if not (wanted and test.Y.shape[0]):
        measured_on = f"{counted(tuning.Y.shape[0], 'tuning row')}, cross-fitted"
        tuned = tuple(_tuned(each, tuning, None) for each in rules)
    else:
        measured_on = counted(test.Y.shape[0], "test row")
        tuned = (_tuned(rules[0], tuning, test),)
    if wanted:
        saved.decide_by(tuned[0].rule, _facts(tuned[0], measured_on))
    return TuneReport(saved.name, tuned, measured_on, tuned[0].rule if wanted else None)


def _scores(saved: SavedHead, folder: Path, part: ScorePart) -> SavedScores:
    if saved.metrics.get("added") and not (folder / "scores").is_dir():
        tags = [tag for facts in saved.metrics["added"] for tag in facts["tags"]]
        given = saved.name if saved.given == BEST else saved.given
        raise HeadError(
            f"head {saved.name!r} keeps no scores of the {counted(len(tags), 'tag')} added since it was "
            f"fitted ({listed(tags, 3)}), and tune needs those of all tags; fit it again with: "
            f"toolkit fit --head {given} --labels FILE"
        )
    scores = SavedScores.read(folder, part)
    if tuple(scores.top.tags.tolist()) != saved.space.tags:
        raise HeadError(f"the scores of head {saved.name!r} are not of its tags; fit it again")
    return scores


def _tuned(rule: DecisionRule, tuning: SavedScores, test: SavedScores | None) -> Tuned:
    """Tune a rule and measure it on the test rows or, without any, by cross-fitting."""
    tuned, exact = rule.fit(tuning.top, tuning.Y), tuning.top.suffices(rule)
    if test is not None:
        metrics = evaluate(test.Y, redecide(tuned, test.top))
    else:
        predicted = cross_fitted(tuned, tuning.top, tuning.Y, groups=tuning.groups)
        metrics = evaluate(tuning.Y, predicted)
    return Tuned(tuned, exact, metrics, optimism_or_none(tuned, tuning.top, tuning.Y, tuning.groups))


def _facts(tuned: Tuned, measured_on: str) -> dict[str, Any]:
    """Return what a head's metrics.json says of its rule; mAP is not among it, as no rule moves that."""
    facts = {name: value for name, value in tuned.metrics.to_dict().items() if name != "map"}
    return facts | {
        "rule": tuned.rule.describe(),
        "optimism": tuned.optimism,
        "measured_on": measured_on,
    }
