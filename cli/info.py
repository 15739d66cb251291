"""toolkit info."""

import json
from pathlib import Path
from typing import Any

import click

from cli import options


@click.command()
@options.artifacts
@options.as_json
def info(*, artifacts: Path, as_json: bool) -> None:
    """List the embedding stores and fitted heads in the artifacts folder."""
    from toolkit.experiment.inventory import info as run

    found = run(artifacts)
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False))
        return
    for store in found["stores"]:
        click.echo(f"store {store['store']}: {store.get('error') or _store(store)}")
    for head in found["heads"]:
        star = " ★" if head["head"] == found["best"] else ""
        click.echo(f"head {head['head']}{star}: {head.get('error') or _head(head)}")
    if not found["stores"]:
        click.echo(
            f"there is no embedding store in {artifacts / 'embeddings'}; make one with: toolkit embed FOLDER"
        )


def _store(store: dict[str, Any]) -> str:
    views = f", {store['views']} views" if store["views"] else ""
    origin = " (made by predict)" if store["made_by_predict"] else ""
    return (
        f"{store['rows']:,} rows of {store['dim']:,} {store['dtype']}{views}, {store['failed']:,} failed, "
        f"{store['mb']:,} MB; {store['backbone']}, {store['weights']}, {store['preprocessing']}, "
        f"{store['precision']}; images in {store['root'] or 'no folder: imported'}{origin}"
    )


def _head(head: dict[str, Any]) -> str:
    return (
        f"micro F1 {head['micro_f1']:.4f} on {head['measured_on']}; {head['n_tags']:,} tags, {head['rule']}, "
        f"fitted on {head['fitted_on']} of {head['store']}"
    )
