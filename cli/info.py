"""toolkit info."""

from pathlib import Path
from typing import Any

from toolkit.runtime.messages import counted
from toolkit.verbs.options import InfoOptions

from .commands import as_json, command
from .console import say, say_json


@command(InfoOptions, as_json())
def info(given: dict[str, Any], *, as_json: bool) -> None:
    """Show what this machine embeds with, and the stores and fitted heads in the artifacts folder."""
    import toolkit

    document = toolkit.info(**given)
    if as_json:
        say_json(document)
        return
    for line in _machine(document["machine"]):
        say(line)
    for store in document["stores"]:
        say(f"store {store['store']}: {store.get('error') or _store(store)}")
    for head in document["heads"]:
        star = " ★" if head["head"] == document["best"] else ""
        say(f"head {head['head']}{star}: {head.get('error') or _head(head)}")
    for left in document["leftovers"]:
        state = "in use" if left["in_use"] else "left by a command that was killed"
        say(f"{state}: {left['path']} ({left['what']})")
    if not document["stores"]:
        folder = Path(document["artifacts"]) / "embeddings"
        say(f"there is no embedding store in {folder}; make one with: toolkit embed FOLDER")


def _machine(machine: dict[str, Any]) -> list[str]:
    more = f", one of {machine['gpus']} GPUs" if machine["gpus"] > 1 else ""
    fast = ", ".join(machine["fast_precisions"]) or "none"
    first = (
        f"device auto: {machine['device']} ({machine['processor']}{more}); engine auto: {machine['engine']} "
        f"{machine['engine_version']}; precisions faster than fp32: {fast}"
    )
    return [first, *(_network(network, machine["cache"]) for network in machine["networks"])]


def _network(network: dict[str, Any], cache: str) -> str:
    if "error" in network:
        return f"network: {network['error']}"
    fidelity = "; ".join(
        f"{one['precision']} by {one['what']}: cosine to fp32 {one['mean']:.5f} in the mean, "
        f"{one['worst']:.5f} at the worst, so auto {'takes' if one['faithful'] else 'does not take'} it"
        for one in network["fidelity"]
    )
    kept = f"prepared, {network['mb']:,} MB in {cache}" if network["graph"] else "not prepared for OpenVINO"
    return (
        f"network {network['backbone']}, {network['weights']} ({kept}): "
        f"{fidelity or 'no fast precision measured yet'}"
    )


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
