"""toolkit tune, toolkit export."""

from typing import Any

from toolkit.verbs.options import ExportOptions, TuneOptions

from .commands import as_json, command, quiet
from .console import say, say_json


@command(TuneOptions, quiet(), as_json())
def tune(given: dict[str, Any], *, quiet: bool, as_json: bool) -> None:
    """Compare the decision rules of the fitted head HEAD (by default the best), or set one with --rule.

    From the scores kept when it was fitted: the head itself is not run.
    """
    import toolkit

    report = toolkit.tune(**given)
    rows = [each.row() for each in report.tuned]
    if as_json:
        rules = [
            row | {"document": each.rule.to_dict(), "optimism": each.optimism, "exact": each.exact}
            for row, each in zip(rows, report.tuned, strict=True)
        ]
        say_json(
            {
                "head": report.head,
                "measured_on": report.measured_on,
                "rules": rules,
                "set_to": report.set_to and report.set_to.describe(),
            }
        )
    elif not quiet:
        from .tables import RULE_TITLES, print_rows

        metric = f"{given.get('metric', 'micro')}_f1"
        optimism = [{"optimism": each.optimism[metric]} for each in report.tuned]
        print_rows([row | more for row, more in zip(rows, optimism, strict=True)], titles=RULE_TITLES)
        status = "decides by that from now on" if report.set_to else "is unchanged; set one with --rule"
        say(f"F1s measured on {report.measured_on}; optimism on the tuning rows; {report.head} {status}")


@command(ExportOptions, quiet(), as_json())
def export(given: dict[str, Any], *, quiet: bool, as_json: bool) -> None:
    """Write the fitted head HEAD (by default the best) as one file.

    With joblib it is a dict of head (predict_proba), tags and rule; load only such files you trust.
    """
    import toolkit

    path = toolkit.export(**given)
    size = path.stat().st_size
    if as_json:
        say_json({"path": str(path), "format": given.get("format", "npz"), "bytes": size})
    elif not quiet:
        say(f"{path}: {size / 2**20:,.1f} MB")
