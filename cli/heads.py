"""toolkit tune, toolkit export."""

import json
from pathlib import Path
from typing import Any

import click

from . import options


@click.command()
@click.argument("head", default="best")
@click.option("--rule", help=f"Tune this rule and decide by it from now on: {options.RULE_HELP}.")
@click.option(
    "--metric",
    type=click.Choice(["micro", "macro", "samples"]),
    help="Decide from now on by the rule that serves this F1.",
)
@click.option("--min-tags", type=int, default=0, show_default=True, help="Tags every image gets at least.")
@options.artifacts
@options.quiet
@options.as_json
def tune(*, quiet: bool, as_json: bool, **given: Any) -> None:
    """Compare the decision rules of the fitted head HEAD (by default the best), or set one with --rule.

    From the scores kept when it was fitted: the head itself is not run.
    """
    from toolkit.verbs.tune import tune as run

    report = run(**given)
    rows = [each.row() for each in report.tuned]
    if as_json:
        document = {
            "head": report.head,
            "measured_on": report.measured_on,
            "rules": [
                row | {"document": each.rule.to_dict(), "optimism": each.optimism, "exact": each.exact}
                for row, each in zip(rows, report.tuned, strict=True)
            ],
            "set_to": report.set_to and report.set_to.describe(),
        }
        click.echo(json.dumps(document, ensure_ascii=False))
    elif not quiet:
        from .tables import RULE_TITLES, print_rows

        which = f"{given['metric'] or 'micro'}_f1"
        flattery = [{"flattery": each.optimism[which]} for each in report.tuned]
        print_rows([row | more for row, more in zip(rows, flattery, strict=True)], titles=RULE_TITLES)
        done = "decides by that from now on" if report.set_to else "is unchanged; set one with --rule"
        click.echo(
            f"F1s measured on {report.measured_on}, what tuning flatters on the tuning rows; "
            f"{report.head} {done}"
        )


@click.command()
@click.argument("head", default="best")
@click.option(
    "--format",
    type=click.Choice(["npz", "joblib"]),
    default="npz",
    show_default=True,
    help="npz: plain arrays for numpy; joblib: the estimator for scikit-learn (a pickle).",
)
@click.option("--out", type=options.EXISTING, help="The file; by default <head>.npz or <head>.joblib here.")
@options.artifacts
@options.force
@options.quiet
@options.as_json
def export(*, quiet: bool, as_json: bool, **given: Any) -> None:
    """Write the fitted head HEAD (by default the best) as one file.

    With joblib it is a dict of head (predict_proba), tags and rule; load only such files you trust.
    """
    from toolkit.verbs.export import export as run

    path: Path = run(**given)
    if as_json:
        document = {"path": str(path), "format": given["format"], "bytes": path.stat().st_size}
        click.echo(json.dumps(document, ensure_ascii=False))
    elif not quiet:
        click.echo(f"{path}: {path.stat().st_size / 2**20:,.1f} MB")
