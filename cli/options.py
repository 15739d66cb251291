"""Options several commands share."""

import logging
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import Any

import click

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

EXISTING = click.Path(path_type=Path)
FORMATS = ["auto", "csv", "onehot", "npz", "sidecar", "folders", "coco", "voc"]

artifacts = click.option(
    "--artifacts",
    type=EXISTING,
    envvar="TOOLKIT_ARTIFACTS",
    default=Path("artifacts"),
    show_default=True,
    help="Folder for everything the toolkit makes (env TOOLKIT_ARTIFACTS).",
)
force = click.option("--force", is_flag=True, help="Replace what is there already.")


def _hush(context: click.Context, parameter: click.Parameter, value: bool) -> bool:
    if value:
        logging.getLogger().setLevel(logging.ERROR)
    return value


quiet = click.option(
    "--quiet", "-q", is_flag=True, callback=_hush, help="No progress, notes or warnings, only errors."
)
as_json = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout, nothing else.")
seed = click.option(
    "--seed", type=int, default=0, show_default=True, help="Seed of everything drawn at random."
)
labels = click.option(
    "--labels", type=EXISTING, help="Label file or folder; one given to embed is remembered."
)
tags = click.option("--tags", type=EXISTING, help="Tag list, one a line: no other tag is allowed.")
split = click.option("--split", type=EXISTING, help="Csv img_path,split with train, val, test.")
device = click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N or mps.")
devices = click.option(
    "--device",
    default="auto",
    show_default=True,
    help="auto, cpu, cuda, cuda:N or mps; several: cuda:0,cuda:1 or all.",
)
engine = click.option(
    "--engine",
    type=click.Choice(["auto", "torch", "openvino"]),
    default="auto",
    show_default=True,
    help="auto: openvino on processors, torch on GPUs.",
)
batch_size = click.option(
    "--batch-size", type=int, help="Images a forward pass; by default what suits the device."
)
num_workers = click.option(
    "--num-workers", type=int, default=0, show_default=True, help="Decoding threads; 0 is one a core."
)
truncated = click.option(
    "--truncated",
    type=click.Choice(["fail", "keep"]),
    default="fail",
    show_default=True,
    help="A file that ends before its picture does: leave it out, or take what is there.",
)
max_pixels = click.option(
    "--max-pixels", type=int, default=178_956_970, show_default=True, help="Larger images fail."
)
root = click.option("--root", type=EXISTING, help="Folder the paths of a csv SOURCE are relative to.")
strict = click.option("--strict", is_flag=True, help="Exit with 1 if an image failed.")


def together(*options: Decorator) -> Decorator:
    """Join options into one decorator; help lists them in this order."""
    return lambda command: reduce(lambda inner, option: option(inner), reversed(options), command)


label_reading = together(
    click.option(
        "--format",
        type=click.Choice(FORMATS),
        default="auto",
        show_default=True,
        help="Of the label file; auto tells by suffix and content.",
    ),
    click.option(
        "--separator", default=",", show_default=True, help="Between tags in a cell: , | ; space tab."
    ),
    click.option("--encoding", default="utf-8", show_default=True, help="Of the label file, e.g. gb18030."),
    click.option(
        "--ignore-unknown-tags", is_flag=True, help="Drop tags that are not in --tags instead of stopping."
    ),
)

data = together(
    click.option(
        "--store",
        multiple=True,
        help="Name of the embedding store; needed where there are several. Repeat it to join some.",
    ),
    labels,
    tags,
    split,
    label_reading,
    click.option(
        "--val-fraction",
        type=float,
        default=0.15,
        show_default=True,
        help="Share of rows, in the default split, that options and rules are tuned on.",
    ),
    click.option(
        "--test-fraction",
        type=float,
        default=0.15,
        show_default=True,
        help="Share that is only measured on; 0 measures by cross-fitting on val.",
    ),
    seed,
    artifacts,
)

RULE_HELP = "fixed:T, global, per-tag, logit-adjusted, top-k:K or expected-f1"
metric = click.option(
    "--metric",
    type=click.Choice(["micro", "macro", "samples"]),
    default="micro",
    show_default=True,
    help="The F1 that matters: it decides which head is best, and picks the rule where --rule does not.",
)
deciding = together(
    metric,
    click.option(
        "--rule",
        help=f"{RULE_HELP}; by default global for micro, per-tag for macro, expected-f1 for samples.",
    ),
    click.option(
        "--min-tags", type=int, default=0, show_default=True, help="Tags every image gets at least."
    ),
    click.option(
        "--folds",
        type=int,
        default=0,
        show_default=True,
        help="Tune rules on all train and val rows, each scored out of K folds; 0 tunes on val rows alone.",
    ),
    click.option(
        "--join",
        type=click.Choice(["side-by-side", "average"]),
        default="side-by-side",
        show_default=True,
        help="Several stores: one head on all their features, or one on each, averaged.",
    ),
    click.option(
        "--refit/--no-refit",
        default=True,
        show_default=True,
        help="Save the head fitted again on all labelled rows, or the one that was measured.",
    ),
)
