"""Options of fitting heads on a cached store."""

from collections.abc import Sequence
from typing import Annotated

from toolkit.errors import OptionError
from toolkit.evaluation.options import DecisionOptions, SplitOptions
from toolkit.files.options import ArtifactsOption
from toolkit.labels.options import LabelOptions
from toolkit.runtime.options import Option, Options, PathLike, ProgressOption


class DeviceOption(Options):
    """Where heads that have such an option train."""

    device: Annotated[str, Option("auto, cpu, cuda, cuda:N or mps.")] = "auto"


class LabelFileOption(Options):
    """The label file or folder."""

    labels: Annotated[PathLike | None, Option("Label file or folder; one given to embed is remembered.")] = (
        None
    )


class StoreOption(Options):
    """The store or stores that are meant."""

    store: Annotated[
        str | Sequence[str] | None,
        Option("Name of the embedding store; needed where there are several. Repeat it to join some."),
    ] = None

    @property
    def stores(self) -> tuple[str, ...]:
        """The names of the stores asked for; empty if none is named."""
        return (self.store,) if isinstance(self.store, str) else tuple(self.store or ())


class DataOptions(StoreOption, LabelFileOption, SplitOptions, LabelOptions, ArtifactsOption):
    """Which stores, labels and split are meant, and how the label file is read.

    The store may be left out if there is one only, or one only with labels. Labels, tags and split may be
    left out if ``embed`` was given them; labels also if a label file lies beside or in what was embedded.
    Several stores are joined: the images all of them have, their features side by side.
    """


class TrainingOptions(DecisionOptions, DataOptions, DeviceOption, ProgressOption):
    """How heads are fitted, and on what."""

    folds: Annotated[
        int,
        Option(
            "Tune rules on all train and val rows, each scored out of K folds; 0 tunes on val rows alone."
        ),
    ] = 0
    refit: Annotated[
        bool,
        Option(
            "Save the head fitted again on all labelled rows, or the one that was measured.",
            flags=("--refit/--no-refit",),
        ),
    ] = True

    def __post_init__(self) -> None:
        """Check the rule and the folds too."""
        from toolkit.evaluation.decisions.registry import parse_rule

        super().__post_init__()
        parse_rule(self.rule_text, min_tags=self.min_tags)
        if self.folds < 0 or self.folds == 1:
            raise OptionError(f"--folds got {self.folds}; give 0 (tune on val rows) or 2 or more")

    @property
    def fitted_on(self) -> str:
        """What rows the saved head is fitted on, in words."""
        if self.refit:
            return "all labelled rows"
        return "train and val rows" if self.folds else "train rows"
