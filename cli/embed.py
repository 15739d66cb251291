"""toolkit embed, toolkit import."""

import json
from pathlib import Path
from typing import Any

import click

from cli import options


@click.command()
@click.argument("source", type=options.EXISTING)
@click.option("--name", help="Name of the store; by default that of SOURCE.")
@options.root
@options.labels
@options.tags
@options.split
@click.option("--backbone", default="resnet50", show_default=True, help="The frozen network.")
@click.option(
    "--weights",
    envvar="TOOLKIT_WEIGHTS",
    default="imagenet1k-v1",
    show_default=True,
    help="imagenet1k-v1, imagenet1k-v2, a .pth or .safetensors file, or random:SEED (env TOOLKIT_WEIGHTS).",
)
@click.option(
    "--resize",
    type=click.Choice(["crop", "squash"]),
    default="crop",
    show_default=True,
    help="The central square, or the whole image made square.",
)
@click.option("--input-size", type=int, help="Pixels a side the network sees; by default the weights' (224).")
@click.option("--flip", is_flag=True, help="Average with the mirror image: twice the work, a little more F1.")
@options.device
@click.option(
    "--precision", type=click.Choice(["auto", "fp32", "bf16", "fp16"]), default="auto", show_default=True
)
@options.batch_size
@options.num_workers
@click.option("--views", type=int, default=0, help="Augmented views to cache for training.")
@click.option("--dtype", type=click.Choice(["float32", "float16"]), default="float32", show_default=True)
@options.truncated
@options.max_pixels
@options.strict
@options.seed
@options.artifacts
@options.force
@options.quiet
@options.as_json
@click.pass_context
def embed(
    context: click.Context, /, source: Path, *, strict: bool, as_json: bool, quiet: bool, **given: Any
) -> None:
    """Run the frozen backbone once over SOURCE, a folder or a csv of images, and cache the features.

    A second run embeds only what is new or changed. Ctrl-C and kills lose at most the last seconds: the same
    command goes on.
    """
    from cli.progress import TerminalProgress
    from toolkit.embedding import embed as run

    with TerminalProgress(quiet=quiet) as progress:
        report = run(source, progress=progress, **given)
    if as_json:
        document = {
            "store": report.store.name,
            "folder": str(report.store.folder),
            "rows": len(report.store.rows),
            "dim": report.store.meta.spec.dim,
            "kept": report.kept,
            "embedded": report.embedded,
            "dropped": report.dropped,
            "failed": report.failed,
        }
        click.echo(json.dumps(document, ensure_ascii=False))
    elif not quiet:
        _tell(report)
    if strict and report.failed:
        context.exit(1)


def _tell(report: Any) -> None:
    store = report.store
    click.echo(
        f"{report.embedded:,} embedded, {report.kept:,} unchanged, {report.dropped:,} gone, "
        f"{report.failed:,} failed"
    )
    for failure in store.failures[:5]:
        click.echo(f"  failed: {failure.img_path}: {failure.reason}", err=True)
    if report.failed > 5:
        click.echo(f"  … all {report.failed:,} in {store.folder / 'failed.csv'}", err=True)
    click.echo(f"{store.folder}: {len(store.rows):,} rows of {store.meta.spec.dim:,} {store.meta.dtype}")


@click.command("import")
@click.argument("array", metavar="X.npy", type=options.EXISTING)
@click.option("--names", type=options.EXISTING, required=True, help="Text file of image names, one a line.")
@click.option("--name", help="Name of the store; by default that of X.npy.")
@options.artifacts
@options.force
@options.quiet
def import_features(
    array: Path, *, names: Path, name: str | None, artifacts: Path, force: bool, quiet: bool
) -> None:
    """Make a store of features computed elsewhere: float16 or float32, one row an image, any dimension."""
    from cli.progress import TerminalProgress
    from toolkit.imported import import_features as run

    target = artifacts / "embeddings" / (name or array.stem)
    with TerminalProgress(quiet=quiet) as progress:
        store = run(array, names, target, force=force, progress=progress)
    if not quiet:
        click.echo(f"{store.folder}: {len(store.rows):,} rows of {store.meta.spec.dim:,} {store.meta.dtype}")
