"""toolkit demo."""

from pathlib import Path
from typing import Any

import click

from toolkit.runtime.messages import counted

from . import options


@click.command()
@click.option("--n", type=int, default=300, show_default=True, help="Labelled pictures to draw.")
@click.option(
    "--weights",
    help="Weights of the backbone; by default TOOLKIT_WEIGHTS, else what is cached, else untrained.",
)
@options.seed
@options.artifacts
@options.quiet
def demo(*, quiet: bool, **given: Any) -> None:
    """Draw a small data set, embed it, fit and compare the heads, predict and evaluate. No download."""
    from toolkit.verbs.demo import demo as run

    from .fit import show
    from .predict import show_failures
    from .progress import TerminalProgress

    with TerminalProgress(quiet=quiet) as progress:
        report = run(progress=progress, **given)
    show_failures(report.predictions, quiet=quiet)
    data: Path = report.folder / "data"
    lines = {
        "pictures drawn": f"{data}  ({report.data.n_images} labelled, {report.data.n_new} new)",
        "embeddings": f"{report.comparison.dataset.source.stores[0].folder}  (weights {report.weights}; "
        f"{counted(report.n_failed, 'picture')} unreadable on purpose, see failed.csv)",
        "fitted heads": report.folder / "heads",
        "report": report.comparison.folder / "report.html",
        "predictions": f"{report.predictions.path}  (micro F1 {report.evaluation.metrics.micro_f1:.4f} "
        "against what was drawn)",
    }
    for what, where in lines.items():
        click.echo(f"{what + ':':16}{where}")
    show(report.comparison)
