"""toolkit embed, toolkit verify, toolkit import."""

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from toolkit.runtime.messages import counted
from toolkit.verbs.options import EmbedOptions, ImportOptions, VerifyOptions

from .commands import as_json, command, quiet, strict
from .console import say, say_json


@command(EmbedOptions, strict(), quiet(), as_json())
def embed(given: dict[str, Any], *, strict: bool, quiet: bool, as_json: bool) -> None:
    """Run the frozen backbone once over SOURCE, a folder or a csv of images, and cache the features.

    A second run embeds only what is new or changed. Ctrl-C and kills lose at most the last seconds: run the
    same command to resume.
    """
    import toolkit

    from .progress import TerminalProgress

    with TerminalProgress(quiet=quiet) as progress:
        report = toolkit.embed(progress=progress, **given)
    spec = report.store.meta.spec
    if as_json:
        say_json(
            {
                "store": report.store.name,
                "folder": str(report.store.folder),
                "rows": len(report.store.rows),
                "dim": spec.dim,
                "engine": spec.engine,
                "precision": spec.precision,
                "kept": report.kept,
                "renamed": report.renamed,
                "embedded": report.embedded,
                "dropped": report.dropped,
                "failed": report.failed,
                "skipped": len(report.skipped),
            }
        )
    elif not quiet:
        _print_report(report)
    if strict and report.failed:
        click.get_current_context().exit(1)


def _print_report(report: Any) -> None:
    store = report.store
    renamed = f" ({report.renamed:,} renamed)" if report.renamed else ""
    say(
        f"{report.embedded:,} embedded, {report.kept:,} unchanged{renamed}, {report.dropped:,} gone, "
        f"{report.failed:,} failed"
    )
    for failure in store.failures[:5]:
        say(f"  failed: {failure.img_path}: {failure.reason}", err=True)
    if report.failed > 5:
        say(f"  … all {report.failed:,} in {store.folder / 'failed.csv'}", err=True)
    if report.skipped:
        kinds = Counter(Path(name).suffix.lower() or "no ending" for name in report.skipped)
        most = ", ".join(kind for kind, _ in kinds.most_common(5)) + ", …" * (len(kinds) > 5)
        say(f"  {counted(len(report.skipped), 'other file')} skipped ({most})", err=True)
    spec = store.meta.spec
    how = f"{spec.engine} {spec.precision} on {store.meta.made_with.get('device', 'a device')}"
    say(f"{store.folder}: {_size(store)}, by {how}")


def _size(store: Any) -> str:
    return f"{counted(len(store.rows), 'row')} of {store.meta.spec.dim:,} {store.meta.dtype}"


@command(VerifyOptions, quiet(), as_json())
def verify(given: dict[str, Any], *, quiet: bool, as_json: bool) -> None:
    """Embed some rows of STORE again, another way, and report the largest difference.

    Exit with 1 if they do not agree.
    """
    import toolkit

    from .progress import TerminalProgress

    with TerminalProgress(quiet=quiet) as progress:
        result = toolkit.verify(progress=progress, **given)
    if as_json:
        say_json(asdict(result))
    elif not quiet:
        changed = f", {result.changed:,} more changed or gone" if result.changed else ""
        say(
            f"{result.store}: {counted(result.rows, 'row')} again by {result.engine} {result.precision} on "
            f"{result.device}, {result.batch_size} at a time{changed}"
        )
        say(
            f"largest difference {result.largest_difference:.2e} ({result.relative:.1e} of the row's largest "
            f"value), least cosine {result.worst_cosine:.6f} ({result.worst_image})"
        )
        say(f"{'agrees' if result.agrees else 'DOES NOT AGREE'}: {result.allowed}")
    if not result.agrees:
        click.get_current_context().exit(1)


@command(ImportOptions, quiet(), name="import")
def import_features(given: dict[str, Any], *, quiet: bool) -> None:
    """Make a store of features computed elsewhere, one row an image, any dimension."""
    import toolkit

    from .progress import TerminalProgress

    with TerminalProgress(quiet=quiet) as progress:
        store = toolkit.import_features(progress=progress, **given)
    if not quiet:
        say(f"{store.folder}: {_size(store)}")
