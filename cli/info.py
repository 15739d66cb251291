"""toolkit info."""

import json
from pathlib import Path
from typing import Any

import click

from cli import options
from toolkit.wording import counted


@click.command()
@options.artifacts
@options.as_json
def info(*, artifacts: Path, as_json: bool) -> None:
    """Show what this machine embeds with, and the stores and fitted heads in the artifacts folder."""
    from toolkit.experiment.inventory import info as run

    found = run(artifacts)
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False))
        return
    for line in _machine(found["machine"]):
        click.echo(line)
    for store in found["stores"]:
        click.echo(f"store {store['store']}: {store.get('error') or _store(store)}")
    for head in found["heads"]:
        star = " ★" if head["head"] == found["best"] else ""
        click.echo(f"head {head['head']}{star}: {head.get('error') or _head(head)}")
    if not found["stores"]:
        click.echo(
            f"there is no embedding store in {artifacts / 'embeddings'}; make one with: toolkit embed FOLDER"
        )


def _machine(machine: dict[str, Any]) -> list[str]:
    processor = f" ({machine['processor']})" if "processor" in machine else ""
    fast = ", ".join(machine.get("fast_precisions", [])) or "none"
    lines = [
        f"device auto: {machine['device']}{processor}; engine auto: {machine['engine']} "
        f"{machine['engine_version']}; precisions faster than fp32: {fast}"
    ]
    for network in machine["networks"]:
        if "error" in network:
            lines.append(f"prepared network: {network['error']}")
            continue
        found = "; ".join(
            f"{name}: cosine to fp32 {one['mean']:.5f} in the mean, {one['worst']:.5f} at the worst"
            for name, one in network["fidelity"].items()
        )
        lines.append(
            f"prepared network {network['backbone']}, {network['weights']}, {network['mb']:,} MB in "
            f"{machine['cache']}: {found or 'no fast precision measured yet'}"
        )
    return lines


def _store(store: dict[str, Any]) -> str:
    views = f", {counted(store['views'], 'view')}" if store["views"] else ""
    origin = " (made by predict)" if store["made_by_predict"] else ""
    why = f" ({store['made_with']['why']})" if "why" in store["made_with"] else ""
    made = (
        f"{store['backbone']}, {store['weights']}, {store['preprocessing']}, {store['engine']} "
        f"{store['precision']}{why}; images in {store['root']}{origin}"
        if store["root"]
        else f"features imported from {store['weights']}"
    )
    return (
        f"{counted(store['rows'], 'row')} of {store['dim']:,} {store['dtype']}{views}, "
        f"{store['failed']:,} failed, {store['mb']:,} MB; {made}"
    )


def _head(head: dict[str, Any]) -> str:
    return (
        f"micro F1 {head['micro_f1']:.4f} on {head['measured_on']}; {counted(head['n_tags'], 'tag')}, "
        f"{head['rule']}, fitted on {head['fitted_on']} of {head['store']}"
    )
