"""Options several commands share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

EXISTING = click.Path(path_type=Path)

artifacts = click.option(
    "--artifacts",
    type=EXISTING,
    envvar="TOOLKIT_ARTIFACTS",
    default=Path("artifacts"),
    show_default=True,
    help="Folder for everything the toolkit makes (env TOOLKIT_ARTIFACTS).",
)
force = click.option("--force", is_flag=True, help="Replace what is there already.")
quiet = click.option("--quiet", "-q", is_flag=True, help="No progress and no notes, only errors.")
as_json = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout, nothing else.")
seed = click.option(
    "--seed", type=int, default=0, show_default=True, help="Seed of everything drawn at random."
)


def store_name(path: Path) -> str:
    """Return the name a store gets from its source: the folder's or the csv's."""
    # "." and ".." have no name of their own
    return path.resolve().stem or "root"
