"""Options of where things are written."""

from typing import Annotated

from toolkit.runtime.options import Option, Options, PathLike


class ArtifactsOption(Options):
    """Where everything lies."""

    artifacts: Annotated[
        PathLike,
        Option(
            "Folder for everything the toolkit makes (env TOOLKIT_ARTIFACTS).",
            environment="TOOLKIT_ARTIFACTS",
        ),
    ] = "artifacts"


class ForceOption(Options):
    """What may be overwritten."""

    force: Annotated[bool, Option("Replace what is there already.")] = False
