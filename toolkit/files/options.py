"""Options of output files."""

from typing import Annotated

from toolkit.runtime.options import Option, Options, PathLike


class ArtifactsOption(Options):
    """Where all output is written."""

    artifacts: Annotated[
        PathLike,
        Option(
            "Folder for everything the toolkit makes (env TOOLKIT_ARTIFACTS).",
            environment="TOOLKIT_ARTIFACTS",
        ),
    ] = "artifacts"


class ForceOption(Options):
    """Whether existing output is replaced."""

    force: Annotated[bool, Option("Replace what is there already.")] = False
