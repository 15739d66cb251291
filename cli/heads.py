"""toolkit export."""

from pathlib import Path
from typing import Any

import click

from cli import options


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
def export(*, quiet: bool, **given: Any) -> None:
    """Write the fitted head HEAD (by default the best) as one file.

    With joblib it is a dict of head (predict_proba), tags and rule; load only such files you trust.
    """
    from toolkit.experiment import export as run

    path: Path = run(**given)
    if not quiet:
        click.echo(f"{path}: {path.stat().st_size / 2**20:,.1f} MB")
