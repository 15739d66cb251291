"""toolkit fit, toolkit compare."""

from typing import Any

import click

from toolkit.runtime.messages import counted
from toolkit.runtime.options import option_fields
from toolkit.verbs.options import AddTagsOptions, CompareOptions, FitOptions

from .commands import as_json, command, quiet
from .console import say, say_json


@command(
    FitOptions,
    click.Option(
        ["--add-tags"],
        is_flag=True,
        help="Teach the fitted head the tags of --labels that it does not know yet.",
    ),
    quiet(),
    as_json(),
)
def fit(given: dict[str, Any], *, add_tags: bool, quiet: bool, as_json: bool) -> None:
    """Train one head on a cached store, tune its decision rule, measure it, save it.

    Store, labels and split are found by themselves where that is clear. Options of the head (-o) are those of
    its constructor; an unknown name lists them.
    """
    import toolkit

    from .progress import TerminalProgress

    if add_tags:
        _add_tags(given, quiet=quiet, as_json=as_json)
        return
    with TerminalProgress(quiet=quiet) as progress:
        report = toolkit.fit(progress=progress, **given)
    if as_json:
        more = {"folder": str(report.folder), "measured_on": report.measured_on, "chosen": report.chosen}
        say_json(report.row() | more)
    elif not quiet:
        from .tables import print_rows

        for note in report.notes:
            say(note, err=True)
        print_rows([report.row()])
        say(f"measured on {report.measured_on}; saved in {report.folder}")


def _add_tags(given: dict[str, Any], *, quiet: bool, as_json: bool) -> None:
    import toolkit

    from .progress import TerminalProgress

    allowed = {each.name for each in option_fields(AddTagsOptions)}
    for each in option_fields(FitOptions):
        if each.name in given and each.name not in allowed:
            raise click.UsageError(
                f"--add-tags keeps the head as it was fitted, so {each.flag} cannot be given with it; "
                "leave it out, or fit again without --add-tags"
            )
    with TerminalProgress(quiet=quiet) as progress:
        report = toolkit.add_tags(progress=progress, **given)
    if as_json:
        more = {
            "head": report.head,
            "folder": str(report.folder),
            "added": list(report.added),
            "n_tags": report.n_tags,
            "measured_on": report.measured_on,
        }
        say_json(report.metrics.to_dict() | more)
    elif not quiet:
        from .tables import print_rows

        for note in report.notes:
            say(note, err=True)
        print_rows([report.metrics.to_dict()])
        say(
            f"{counted(len(report.added), 'tag')} added to {report.head}, which knows {report.n_tags:,} now; "
            f"the F1s are those of what was added, on {report.measured_on}; saved in {report.folder}"
        )


@command(CompareOptions, quiet(), as_json())
def compare(given: dict[str, Any], *, quiet: bool, as_json: bool) -> None:
    """Fit several heads on the same split, print the F1 table, mark the best for predict."""
    import toolkit

    from .progress import TerminalProgress

    with TerminalProgress(quiet=quiet) as progress:
        comparison = toolkit.compare(progress=progress, **given)
    if as_json:
        say_json(comparison.to_dict())
    elif not quiet:
        print_comparison(comparison)


def print_comparison(comparison: Any) -> None:
    """Print what was read, the table, and what it shows."""
    from .tables import print_rows

    document = comparison.to_dict()
    for note in comparison.dataset.notes:
        say(note, err=True)
    print_rows(document["heads"], best=comparison.best)
    say(
        f"{document['n_train']:,} train, {document['n_val']:,} val, "
        f"{counted(document['n_test'], 'test image')}, {counted(document['n_tags'], 'tag')}; measured on "
        f"{document['measured_on']}; macro F1 and mAP over the "
        f"{counted(document['n_tags_with_support'], 'tag')} with a positive there"
    )
    say(_certainty(document))
    for line in _facts(document):
        say(line)
    say(f"★ {comparison.best} is what predict uses; table, split and report in {comparison.folder}")


def _facts(document: dict[str, Any]) -> list[str]:
    """Return the lines about optimism, tags that no image gets, and time."""
    best = document["best"]
    optimism = document["optimism"][best][f"{document['metric']}_f1"]
    first = "" if optimism is None else f"optimism of {best}'s rule on its tuning rows: {optimism:.4f}; "
    never = counted(document["n_never_predicted"][best], "tag with a positive is", "tags with a positive are")
    seconds = document["seconds"]
    longest = sorted(seconds.items(), key=lambda item: -item[1])[:4]
    stages = ", ".join(f"{stage} {spent:.1f}" for stage, spent in longest)
    return [
        f"{first}{never} never predicted; macro F1 over all {counted(document['n_tags'], 'tag')} "
        f"{document['macro_f1_all'][best]:.4f}",
        f"{sum(seconds.values()):.1f} s in all, the most in: {stages}",
    ]


def _certainty(document: dict[str, Any]) -> str:
    """Return the interval of the best head, and of its lead over each other head."""
    best, metric = document["best"], document["metric"]
    f1 = {row["head"]: row[f"{metric}_f1"] for row in document["heads"]}
    low, high = document["intervals"][best]
    parts = [f"{best} {metric} F1 {_number(f1[best])} (95 % interval {low:.4f} to {high:.4f})"]
    for head, (low, high) in document["leads"].items():
        noise = "" if low > 0 or high < 0 else ", may be chance"
        parts.append(f"ahead of {head} by {_number(f1[best], f1[head])} ({low:.4f} to {high:.4f}{noise})")
    return "; ".join(parts)


def _number(value: float | None, other: float | None = 0.0) -> str:
    return "nan" if value is None or other is None else f"{value - other:.4f}"
