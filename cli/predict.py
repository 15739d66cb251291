"""toolkit predict, toolkit evaluate."""

import json
from pathlib import Path
from typing import Any

import click

from toolkit.runtime.messages import counted

from . import options


@click.command()
@click.argument("source")
@click.option(
    "--head", default="best", show_default=True, help="A fitted head; best is the last comparison's winner."
)
@click.option(
    "--out",
    type=options.EXISTING,
    help="The csv; by default artifacts/predictions/<name>.csv. Scores lie beside it.",
)
@click.option("--rule", help=f"Decide by this, not by the head's own rule: {options.RULE_HELP}.")
@click.option("--min-tags", type=int, help="Tags every image gets at least; by default as the rule has it.")
@click.option(
    "--paths",
    type=click.Choice(["name", "relative"]),
    default="name",
    show_default=True,
    help="img_path: the bare file name, or the path relative to SOURCE.",
)
@click.option("--separator", default=",", show_default=True, help="Between tags: , | ; space tab.")
@click.option("--bom", is_flag=True, help="Begin the csv with a byte order mark, for Excel.")
@click.option("--name", help="Name of the store SOURCE is embedded into; by default that of SOURCE.")
@options.root
@click.option("--weights", help="Weights of the backbone; by default those the head's store was made with.")
@options.device
@options.batch_size
@options.num_workers
@options.truncated
@options.max_pixels
@options.strict
@options.artifacts
@options.force
@options.quiet
@options.as_json
@click.pass_context
def predict(
    context: click.Context, /, source: str, *, strict: bool, quiet: bool, as_json: bool, **given: Any
) -> None:
    """Tag the images of SOURCE, a folder, csv or store, and write img_path,tags.

    One row for every image, in the input's order. Images that cannot be read get a row without tags. SOURCE
    may be the .scores.npz of an earlier prediction too: with another --rule it is decided again in a moment.
    """
    from toolkit.verbs.predict import predict as run

    from .progress import TerminalProgress

    default = click.core.ParameterSource.DEFAULT
    said = {name: value for name, value in given.items() if context.get_parameter_source(name) is not default}
    with TerminalProgress(quiet=quiet) as progress:
        report = run(source, progress=progress, **said)
    show_failures(report, quiet=quiet)
    if as_json:
        document = {
            "path": str(report.path),
            "scores": str(report.scores),
            "head": report.head,
            "rule": report.rule,
            "images": report.n_images,
            "failed": len(report.failures),
            "without_tags": report.n_without_tags,
        }
        click.echo(json.dumps(document, ensure_ascii=False))
    elif not quiet:
        click.echo(
            f"{report.path}: {counted(report.n_images, 'image')} by {report.head}, {report.rule}; "
            f"{report.n_without_tags:,} got no tag"
        )
    if strict and report.failures:
        context.exit(1)


def show_failures(report: Any, *, quiet: bool) -> None:
    """Count and name, on stderr, the images that could not be read, and names that are not unique."""
    if quiet:
        return
    if report.failures:
        count = counted(len(report.failures), "image")
        click.echo(f"{count} could not be read and got a row without tags:", err=True)
        for failure in report.failures[:5]:
            click.echo(f"  {failure.img_path}: {failure.reason}", err=True)
        if len(report.failures) > 5:
            click.echo("  …", err=True)
    if report.n_same_name:
        click.echo(
            f"{counted(report.n_same_name, 'row shares', 'rows share')} a bare name with another image; "
            "--paths relative tells them apart",
            err=True,
        )


@click.command()
@click.argument("predictions", metavar="FILE", type=options.EXISTING)
@click.option("--labels", type=options.EXISTING, required=True, help="The truth: a label file or folder.")
@options.tags
@options.label_reading
@click.option(
    "--predictions-separator", default=",", show_default=True, help="Between tags in FILE: , | ; space tab."
)
@options.quiet
@options.as_json
def evaluate(*, predictions: Path, labels: Path, quiet: bool, as_json: bool, **given: Any) -> None:
    """Score FILE, a csv img_path,tags by whomever, against a label file."""
    from toolkit.verbs.evaluate import evaluate as run

    found = run(predictions, labels, **given)
    document = found.metrics.to_dict() | {
        "images": found.n_images,
        "without_prediction": found.n_missing,
        "predictions_without_labels": found.n_extra,
    }
    if as_json:
        click.echo(json.dumps(document, ensure_ascii=False))
        return
    from .tables import print_rows

    print_rows([document])
    if not quiet:
        tags = counted(document["n_tags"], "tag")
        click.echo(
            f"{counted(found.n_images, 'labelled image')}, {found.n_missing:,} of them without a prediction "
            f"(counted as without tags); {counted(found.n_extra, 'prediction')} of other images not counted; "
            f"{counted(document['n_tags_with_support'], f'of {tags} has', f'of {tags} have')} a positive"
        )
