"""toolkit fit, toolkit compare."""

import json
from typing import Any

import click

from toolkit.runtime.messages import counted

from . import options


@click.command()
@click.option(
    "--head",
    default="mlp",
    show_default="mlp, or with --add-tags the best",
    help="mlp, logreg, knn, ensemble, or package.module:Class.",
)
@click.option(
    "-o", "head_options", multiple=True, metavar="NAME=VALUE", help="Option of the head; may be repeated."
)
@click.option(
    "--add-tags", is_flag=True, help="Teach the fitted head the tags of --labels that it does not know yet."
)
@options.deciding
@options.data
@options.device
@options.quiet
@options.as_json
@click.pass_context
def fit(
    context: click.Context,
    /,
    *,
    head: str,
    head_options: tuple[str, ...],
    add_tags: bool,
    quiet: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Train one head on a cached store, tune its decision rule, measure it, save it.

    Store, labels and split are found by themselves where that is clear. Options of the head (-o) are those of
    its constructor; an unknown name lists them.
    """
    from toolkit.verbs.fit import fit as run

    from .progress import TerminalProgress

    if add_tags:
        _add_tags(context, head, quiet=quiet, as_json=as_json, **given)
        return
    with TerminalProgress(quiet=quiet) as progress:
        report = run(head, options=list(head_options), progress=progress, **given)
    if as_json:
        document = report.row() | {
            "folder": str(report.folder),
            "measured_on": report.measured_on,
            "chosen": report.chosen,
        }
        click.echo(json.dumps(document, ensure_ascii=False))
    elif not quiet:
        from .tables import print_rows

        for note in report.notes:
            click.echo(note, err=True)
        print_rows([report.row()])
        click.echo(f"measured on {report.measured_on}; saved in {report.folder}")


FITTING = ("head_options", "metric", "rule", "min_tags", "folds", "join", "refit", "device")


def _add_tags(context: click.Context, head: str, *, quiet: bool, as_json: bool, **given: Any) -> None:
    from toolkit.verbs.add_tags import add_tags as run

    from .progress import TerminalProgress

    for name in FITTING:
        if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            flag = "-o" if name == "head_options" else f"--{name.replace('_', '-')}"
            raise click.UsageError(
                f"--add-tags keeps the head as it was fitted, so {flag} cannot be given with it; "
                "leave it out, or fit again without --add-tags"
            )
    if context.get_parameter_source("head") is click.core.ParameterSource.DEFAULT:
        head = "best"
    data = {key: value for key, value in given.items() if key not in FITTING}
    with TerminalProgress(quiet=quiet) as progress:
        report = run(head, progress=progress, **data)
    if as_json:
        document = report.metrics.to_dict() | {
            "head": report.head,
            "folder": str(report.folder),
            "added": list(report.added),
            "n_tags": report.n_tags,
            "measured_on": report.measured_on,
        }
        click.echo(json.dumps(document, ensure_ascii=False))
    elif not quiet:
        from .tables import print_rows

        for note in report.notes:
            click.echo(note, err=True)
        print_rows([report.metrics.to_dict()])
        click.echo(
            f"{counted(len(report.added), 'tag')} added to {report.head}, which knows {report.n_tags:,} now; "
            f"the F1s are those of what was added, on {report.measured_on}; saved in {report.folder}"
        )


@click.command()
@click.option(
    "--heads",
    default="mlp,logreg,knn,ensemble",
    show_default=True,
    help="Heads to compare; ensemble mixes the others.",
)
@click.option(
    "-o", "head_options", multiple=True, metavar="HEAD.NAME=VALUE", help="Option of a head; may be repeated."
)
@options.deciding
@options.data
@options.device
@options.quiet
@options.as_json
def compare(*, heads: str, head_options: tuple[str, ...], quiet: bool, as_json: bool, **given: Any) -> None:
    """Fit several heads on the same split, print the F1 table, mark the best for predict."""
    from toolkit.verbs.compare import compare as run

    from .progress import TerminalProgress

    names = [name.strip() for name in heads.split(",") if name.strip()]
    with TerminalProgress(quiet=quiet) as progress:
        comparison = run(names, options=_by_head(head_options, names), progress=progress, **given)
    if as_json:
        click.echo(json.dumps(comparison.to_dict(), ensure_ascii=False))
    elif not quiet:
        show(comparison)


def show(comparison: Any) -> None:
    """Print what was found, the table, and what it says."""
    from .tables import print_rows

    document = comparison.to_dict()
    for note in comparison.dataset.notes:
        click.echo(note, err=True)
    print_rows(document["heads"], best=comparison.best)
    click.echo(
        f"{document['n_train']:,} train, {document['n_val']:,} val, "
        f"{counted(document['n_test'], 'test image')}, {counted(document['n_tags'], 'tag')}; measured on "
        f"{document['measured_on']}; macro F1 and mAP over the "
        f"{counted(document['n_tags_with_support'], 'tag')} with a positive there"
    )
    click.echo(_how_sure(comparison))
    for line in _tuning(document):
        click.echo(line)
    click.echo(f"★ {comparison.best} is what predict uses; table, split and report in {comparison.folder}")


def _tuning(document: dict[str, Any]) -> list[str]:
    """Say what tuning flatters, which tags are never given, and where the time went."""
    best, metric = document["best"], document["metric"]
    flattery = document["optimism"][best][f"{metric}_f1"]
    flattered = (
        ""
        if flattery is None
        else (
            f"tuning {best}'s rule and measuring on the same rows would have flattered it by {flattery:.4f}; "
        )
    )
    never = document["n_never_predicted"][best]
    seconds = document["seconds"]
    total = sum(seconds.values())
    longest = sorted(seconds.items(), key=lambda item: -item[1])[:4]
    parts = ", ".join(f"{stage} {spent:.1f}" for stage, spent in longest)
    return [
        f"{flattered}{counted(never, 'tag with a positive is', 'tags with a positive are')} never given; "
        f"macro F1 over all {counted(document['n_tags'], 'tag')} {document['macro_f1_all'][best]:.4f}",
        f"{total:.1f} s in all, the most in: {parts}",
    ]


def _how_sure(comparison: Any) -> str:
    """Say how far the best is ahead, and whether that is more than chance."""
    f1 = {report.head: getattr(report.metrics, f"{comparison.metric}_f1") for report in comparison.reports}
    best, own = comparison.best, comparison.intervals[comparison.best]
    parts = [f"{best} {comparison.metric} F1 {f1[best]:.4f} (95 % interval {own.low:.4f} to {own.high:.4f})"]
    for head, lead in comparison.leads.items():
        noise = "" if lead.excludes_zero() else ", may be chance"
        parts.append(
            f"ahead of {head} by {f1[best] - f1[head]:.4f} ({lead.low:.4f} to {lead.high:.4f}{noise})"
        )
    return "; ".join(parts)


def _by_head(items: tuple[str, ...], names: list[str]) -> dict[str, list[str]]:
    """Sort ``mlp.hidden=0`` to its head."""
    out: dict[str, list[str]] = {}
    known = ", ".join(names)
    for item in items:
        # the longest: a package.module:Class has dots of its own
        head = max((name for name in names if item.startswith(f"{name}.")), key=len, default="")
        rest = item.removeprefix(f"{head}.")
        if not head:
            raise click.BadParameter(
                f"{item!r} does not begin with one of {known} and a dot, as {names[0]}.seed=1 does",
                param_hint="-o",
            )
        out.setdefault(head, []).append(rest)
    return out
