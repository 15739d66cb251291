"""toolkit predict, toolkit evaluate."""

from typing import Any

import click

from toolkit.runtime.messages import counted
from toolkit.verbs.options import EvaluateOptions, PredictOptions

from .commands import as_json, command, quiet, strict
from .console import say, say_json


@command(PredictOptions, strict(), quiet(), as_json())
def predict(given: dict[str, Any], *, strict: bool, quiet: bool, as_json: bool) -> None:
    """Tag the images of SOURCE, a folder, csv or store, and write img_path,tags.

    One row for every image, in the input's order. Images that cannot be read get a row without tags. SOURCE
    may be the .scores.npz of an earlier prediction too: with another --rule it is decided again in a moment.
    """
    import toolkit

    from .progress import TerminalProgress

    with TerminalProgress(quiet=quiet) as progress:
        report = toolkit.predict(progress=progress, **given)
    print_failures(report, quiet=quiet)
    if as_json:
        say_json(
            {
                "path": str(report.path),
                "scores": str(report.scores),
                "head": report.head,
                "rule": report.rule,
                "images": report.n_images,
                "failed": len(report.failures),
                "without_tags": report.n_without_tags,
            }
        )
    elif not quiet:
        say(
            f"{report.path}: {counted(report.n_images, 'image')} by {report.head}, {report.rule}; "
            f"{report.n_without_tags:,} got no tag"
        )
    if strict and report.failures:
        click.get_current_context().exit(1)


def print_failures(report: Any, *, quiet: bool) -> None:
    """Count and name, on stderr, the images that could not be read, and names that are not unique."""
    if quiet:
        return
    if report.failures:
        count = counted(len(report.failures), "image")
        say(f"{count} could not be read and got a row without tags:", err=True)
        for failure in report.failures[:5]:
            say(f"  {failure.img_path}: {failure.reason}", err=True)
        if len(report.failures) > 5:
            say("  …", err=True)
    if report.n_same_name:
        say(
            f"{counted(report.n_same_name, 'row shares', 'rows share')} a bare name with another image; "
            "--paths relative distinguishes them",
            err=True,
        )


@command(EvaluateOptions, quiet(), as_json())
def evaluate(given: dict[str, Any], *, quiet: bool, as_json: bool) -> None:
    """Score FILE, a csv img_path,tags by whomever, against a label file."""
    import toolkit

    evaluation = toolkit.evaluate(**given)
    if not quiet:
        for note in evaluation.notes:
            say(note, err=True)
    document = evaluation.metrics.to_dict() | {
        "images": evaluation.n_images,
        "without_prediction": evaluation.n_missing,
        "predictions_without_labels": evaluation.n_extra,
    }
    if as_json:
        say_json(document)
        return
    from .tables import print_rows

    print_rows([document])
    if not quiet:
        tags = counted(document["n_tags"], "tag")
        images = counted(evaluation.n_images, "labelled image")
        say(
            f"{images}, {evaluation.n_missing:,} of them without a prediction (counted as without tags); "
            f"{counted(evaluation.n_extra, 'prediction')} of other images not counted; "
            f"{counted(document['n_tags_with_support'], f'of {tags} has', f'of {tags} have')} a positive"
        )
