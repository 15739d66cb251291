"""toolkit demo."""

from typing import Any

from toolkit.runtime.messages import counted
from toolkit.verbs.options import DemoOptions

from .commands import command, quiet
from .console import say


@command(DemoOptions, quiet())
def demo(given: dict[str, Any], *, quiet: bool) -> None:
    """Draw a small data set, embed it, fit and compare the heads, predict and evaluate. No download."""
    import toolkit

    from .fit import print_comparison
    from .predict import print_failures
    from .progress import TerminalProgress

    with TerminalProgress(quiet=quiet) as progress:
        report = toolkit.demo(progress=progress, **given)
    print_failures(report.predictions, quiet=quiet)
    data = report.folder / "data"
    lines = {
        "pictures drawn": f"{data}  ({report.data.n_images} labelled, {report.data.n_new} new)",
        "embeddings": f"{report.comparison.dataset.store_set.stores[0].folder}  (weights {report.weights}; "
        f"{counted(report.n_failed, 'picture')} unreadable on purpose, see failed.csv)",
        "fitted heads": report.folder / "heads",
        "report": report.comparison.folder / "report.html",
        "predictions": f"{report.predictions.path}  (micro F1 {report.evaluation.metrics.micro_f1:.4f} "
        "against what was drawn)",
    }
    for name, line in lines.items():
        say(f"{name + ':':16}{line}")
    print_comparison(report.comparison)
