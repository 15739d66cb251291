"""toolkit embed, toolkit import."""

import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from toolkit.runtime.messages import counted

from . import options


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
    help="imagenet1k-v1 (default), imagenet1k-v2, a .pth or .safetensors file, or random:SEED "
    "(env TOOLKIT_WEIGHTS).",
)
@click.option(
    "--resize",
    type=click.Choice(["full", "crop", "squash"]),
    help="The whole image in its own shape (default), its central square, or the whole image made square "
    "(default for networks that take one size only).",
)
@click.option("--input-size", type=int, help="Pixels a side the network sees; by default the weights' (224).")
@click.option("--flip", is_flag=True, help="Average with the mirror image: twice the work, a little more F1.")
@click.option(
    "--decode",
    type=click.Choice(["scaled", "exact", "device"]),
    default="scaled",
    show_default=True,
    help="Large JPEGs: shrunk by the codec to twice the size needed, in full, or by the GPU.",
)
@options.devices
@options.engine
@click.option(
    "--precision",
    type=click.Choice(["auto", "fp32", "bf16", "fp16", "int8"]),
    default="auto",
    show_default=True,
    help="auto: the fastest that keeps the features faithful; int8 (processors only) gives up some.",
)
@options.batch_size
@options.num_workers
@click.option(
    "--views", type=int, default=0, show_default=True, help="Augmented views to cache for training, by mlp."
)
@click.option(
    "--dtype",
    type=click.Choice(["float32", "float16"]),
    default="float32",
    show_default=True,
    help="Of the cached features; float16 takes half the space.",
)
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
    from toolkit.verbs.embed import embed as run

    from .progress import TerminalProgress

    with TerminalProgress(quiet=quiet) as progress:
        report = run(source, progress=progress, **given)
    if as_json:
        document = {
            "store": report.store.name,
            "folder": str(report.store.folder),
            "rows": len(report.store.rows),
            "dim": report.store.meta.spec.dim,
            "engine": report.store.meta.spec.engine,
            "precision": report.store.meta.spec.precision,
            "kept": report.kept,
            "renamed": report.renamed,
            "embedded": report.embedded,
            "dropped": report.dropped,
            "failed": report.failed,
            "skipped": len(report.skipped),
        }
        click.echo(json.dumps(document, ensure_ascii=False))
    elif not quiet:
        _tell(report)
    if strict and report.failed:
        context.exit(1)


def _tell(report: Any) -> None:
    store = report.store
    renamed = f" ({report.renamed:,} renamed)" if report.renamed else ""
    click.echo(
        f"{report.embedded:,} embedded, {report.kept:,} unchanged{renamed}, {report.dropped:,} gone, "
        f"{report.failed:,} failed"
    )
    for failure in store.failures[:5]:
        click.echo(f"  failed: {failure.img_path}: {failure.reason}", err=True)
    if report.failed > 5:
        click.echo(f"  … all {report.failed:,} in {store.folder / 'failed.csv'}", err=True)
    if report.skipped:
        kinds = Counter(Path(name).suffix.lower() or "no ending" for name in report.skipped)
        most = ", ".join(kind for kind, _ in kinds.most_common(5)) + ", …" * (len(kinds) > 5)
        click.echo(f"  {counted(len(report.skipped), 'other file')} passed over ({most})", err=True)
    spec = store.meta.spec
    how = f"{spec.engine} {spec.precision} on {store.meta.made_with.get('device', 'a device')}"
    click.echo(f"{store.folder}: {_size(store)}, by {how}")


def _size(store: Any) -> str:
    return f"{counted(len(store.rows), 'row')} of {store.meta.spec.dim:,} {store.meta.dtype}"


@click.command()
@click.argument("store")
@click.option("--n", type=click.IntRange(min=1), default=32, show_default=True, help="Rows to draw.")
@options.device
@click.option("--engine", type=click.Choice(["torch", "openvino"]), help="By default the store's.")
@click.option("--precision", type=click.Choice(["fp32", "bf16", "fp16"]), help="By default the store's.")
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    help="Rows a forward pass; by default another than the store's.",
)
@options.seed
@options.artifacts
@options.quiet
@options.as_json
@click.pass_context
def verify(context: click.Context, /, *, as_json: bool, quiet: bool, **given: Any) -> None:
    """Embed some rows of STORE again, another way, and report the largest difference.

    Exit with 1 if they do not agree.
    """
    from toolkit.verbs.verify import verify as run

    from .progress import TerminalProgress

    with TerminalProgress(quiet=quiet) as progress:
        found = run(progress=progress, **given)
    if as_json:
        click.echo(json.dumps(asdict(found), ensure_ascii=False))
    elif not quiet:
        changed = f", {found.changed:,} more changed or gone" if found.changed else ""
        click.echo(
            f"{found.store}: {counted(found.rows, 'row')} again by {found.engine} {found.precision} on "
            f"{found.device}, {found.batch_size} at a time{changed}"
        )
        click.echo(
            f"largest difference {found.largest_difference:.2e} ({found.relative:.1e} of the row's largest "
            f"value), least cosine {found.worst_cosine:.6f} ({found.worst_image})"
        )
        click.echo(f"{'agrees' if found.agrees else 'DOES NOT AGREE'}: {found.allowed}")
    if not found.agrees:
        context.exit(1)


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
    from toolkit.verbs.import_features import import_features as run

    from .progress import TerminalProgress

    target = artifacts / "embeddings" / (name or array.stem)
    with TerminalProgress(quiet=quiet) as progress:
        store = run(array, names, target, force=force, progress=progress)
    if not quiet:
        click.echo(f"{store.folder}: {_size(store)}")
