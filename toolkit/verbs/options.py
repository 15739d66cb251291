"""The options of each function of the public door, put together from those of the rooms.

This module imports nothing heavy: the command line makes its help from it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Annotated, Any, Literal

from annotated_types import Ge

from toolkit.backbones.options import NetworkOptions
from toolkit.backbones.registry import engine_choices
from toolkit.embedding.options import BatchOptions, PassOptions, ReadOptions
from toolkit.evaluation.decisions.registry import rule_usages
from toolkit.evaluation.options import Metric, SplitFileOption
from toolkit.experiment.options import (
    BEST,
    DataOptions,
    DeviceOption,
    FittedHeadOption,
    LabelFileOption,
    TrainingOptions,
)
from toolkit.files.options import ArtifactsOption, ForceOption
from toolkit.heads.registry import HEADS
from toolkit.images.options import ImagePolicy
from toolkit.labels.options import LabelOptions, TagListOption
from toolkit.runtime.options import Option, Options, PathLike, ProgressOption, SeedOption

ExportFormat = Literal["npz", "joblib"]
PathStyle = Literal["name", "relative"]


class StoreNameOptions(Options):
    """What a store is called, and what the ids of a csv are relative to."""

    name: Annotated[str | None, Option("Name of the store; by default that of SOURCE.")] = None
    root: Annotated[PathLike | None, Option("Folder the paths of a csv SOURCE are relative to.")] = None
    image_column: Annotated[
        str | None, Option("Column of a csv SOURCE that names the image.", metavar="NAME")
    ] = None


class EmbedOptions(
    StoreNameOptions,
    LabelFileOption,
    TagListOption,
    SplitFileOption,
    NetworkOptions,
    ReadOptions,
    PassOptions,
    ArtifactsOption,
    ProgressOption,
):
    """Options of `embed`."""

    source: Annotated[PathLike, Option("A folder, a csv of images, or one image.")] = field(kw_only=False)


class FitOptions(TrainingOptions):
    """Options of `fit`."""

    head: Annotated[
        str,
        Option(
            "mlp, logreg, knn, ensemble, or package.module:Class.",
            flags=("--head",),
            default="mlp, or with --add-tags the best",
        ),
    ] = field(default="mlp", kw_only=False)
    options: Annotated[
        Mapping[str, Any] | Sequence[str],
        Option("Option of the head; may be repeated.", flags=("-o",), metavar="NAME=VALUE"),
    ] = ()


class AddTagsOptions(FittedHeadOption, DataOptions, ProgressOption):
    """Options of `add_tags`."""


class CompareOptions(TrainingOptions):
    """Options of `compare`."""

    heads: Annotated[
        str | Sequence[str],
        Option("Heads to compare; ensemble mixes the others.", flags=("--heads",)),
    ] = field(default=",".join(HEADS), kw_only=False)
    options: Annotated[
        Mapping[str, Mapping[str, Any] | Sequence[str]] | Sequence[str],
        Option("Option of a head; may be repeated.", flags=("-o",), metavar="HEAD.NAME=VALUE"),
    ] = ()


class PredictOptions(
    StoreNameOptions, DeviceOption, BatchOptions, ImagePolicy, ArtifactsOption, ForceOption, ProgressOption
):
    """Options of `predict`."""

    source: Annotated[PathLike, Option("A folder, csv, store, or the .scores.npz of a prediction.")] = field(
        kw_only=False
    )
    head: Annotated[str, Option("A fitted head; best is the last comparison's winner.")] = BEST
    out: Annotated[
        PathLike | None,
        Option("The csv; by default artifacts/predictions/<name>.csv. Scores lie beside it."),
    ] = None
    rule: Annotated[str | None, Option(f"Decide by this, not by the head's own rule: {rule_usages()}.")] = (
        None
    )
    min_tags: Annotated[
        int | None, Ge(0), Option("Tags every image gets at least; by default as the rule has it.")
    ] = None
    paths: Annotated[PathStyle, Option("img_path: the bare file name, or the path relative to SOURCE.")] = (
        "name"
    )
    separator: Annotated[str, Option("Between tags: , | ; space tab.")] = ","
    bom: Annotated[bool, Option("Begin the csv with a byte order mark, for Excel.")] = False
    excel_safe: Annotated[
        bool,
        Option("Write ' before names and tags that a spreadsheet takes for formulas; not for submission."),
    ] = False
    weights: Annotated[
        str | None, Option("Weights of the backbone; by default those the head's store was made with.")
    ] = None


class EvaluateOptions(LabelOptions):
    """Options of `evaluate`."""

    predictions: Annotated[PathLike, Option("A csv img_path,tags.", metavar="FILE")] = field(kw_only=False)
    labels: Annotated[PathLike, Option("The truth: a label file or folder.", flags=("--labels",))] = field(
        kw_only=False
    )
    predictions_separator: Annotated[
        str, Option("Between tags in FILE: , | ; space tab newline, or another mark.")
    ] = ","
    predictions_column: Annotated[
        str | None, Option("Column of FILE that names the image.", metavar="NAME")
    ] = None


class TuneOptions(FittedHeadOption, ArtifactsOption):
    """Options of `tune`."""

    rule: Annotated[str | None, Option(f"Tune this rule and decide by it from now on: {rule_usages()}.")] = (
        None
    )
    metric: Annotated[Metric | None, Option("Decide from now on by the rule that serves this F1.")] = None
    min_tags: Annotated[int, Ge(0), Option("Tags every image gets at least.")] = 0


class ExportOptions(FittedHeadOption, ArtifactsOption, ForceOption):
    """Options of `export`."""

    format: Annotated[
        ExportFormat,
        Option("npz: plain arrays for numpy; joblib: the estimator for scikit-learn (a pickle)."),
    ] = "npz"
    out: Annotated[PathLike | None, Option("The file; by default <head>.npz or <head>.joblib here.")] = None


class InfoOptions(ArtifactsOption):
    """Options of `info`."""


class VerifyOptions(DeviceOption, SeedOption, ArtifactsOption, ProgressOption):
    """Options of `verify`."""

    store: Annotated[str, Option("Name of a store that embed made.")] = field(kw_only=False)
    n: Annotated[int, Ge(1), Option("Rows to draw.")] = 32
    engine: Annotated[str | None, Option("By default the store's.", choices=lambda: engine_choices()[1:])] = (
        None
    )
    precision: Annotated[Literal["fp32", "bf16", "fp16"] | None, Option("By default the store's.")] = None
    batch_size: Annotated[
        int | None, Ge(1), Option("Rows a forward pass; by default another than the store's.")
    ] = None


class ImportOptions(ArtifactsOption, ForceOption, ProgressOption):
    """Options of `import_features`."""

    array: Annotated[
        PathLike,
        Option(
            "Features, one row an image: .npy, .npz, .csv (names first), .parquet, .pt, .safetensors.",
            metavar="X.npy",
        ),
    ] = field(kw_only=False)
    names: Annotated[
        PathLike | None,
        Option("Text file of image names, one a line; needed if the features have none.", flags=("--names",)),
    ] = field(default=None, kw_only=False)
    target: PathLike | None = field(default=None, kw_only=False)
    name: Annotated[str | None, Option("Name of the store; by default that of X.npy.")] = None
    key: Annotated[
        str | None, Option("Array, tensor or column of the features, where a file has several.")
    ] = None


class DemoOptions(SeedOption, ArtifactsOption, ProgressOption):
    """Options of `demo`."""

    n: Annotated[int, Option("Labelled pictures to draw.")] = 300
    weights: Annotated[
        str | None,
        Option("Weights of the backbone; by default TOOLKIT_WEIGHTS, else what is cached, else untrained."),
    ] = None
