"""Fit one head on a cached store."""

from collections.abc import Mapping, Sequence
from typing import Any

from toolkit.evaluation.decisions.registry import default_rule
from toolkit.evaluation.options import Metric
from toolkit.experiment.dataset import load_dataset
from toolkit.experiment.measuring import Deciding, FitReport
from toolkit.experiment.planning import Join, data_options, default_options, plan_heads
from toolkit.experiment.training import FitOptions, run_plan
from toolkit.runtime.progress import Progress, silent
from toolkit.runtime.stages import Stages


def fit(
    head: str = "mlp",
    *,
    options: Mapping[str, Any] | Sequence[str] = (),
    metric: Metric = "micro",
    rule: str | None = None,
    min_tags: int = 0,
    refit: bool = True,
    folds: int = 0,
    join: Join = "side-by-side",
    device: str = "auto",
    progress: Progress = silent,
    **data: Any,
) -> FitReport:
    """Fit one head on a cached store and save it as ``artifacts/heads/<head>/``.

    Parameters
    ----------
    head : str
        A name of `toolkit.heads.registry.head_names`, or ``package.module:Class``.
    options : mapping, or sequence of ``name=value``
        Of the head's constructor.
    metric : {"micro", "macro", "samples"}
        The F1 that matters: it picks the rule where none is given (`default_rule`).
    rule, min_tags : str, int
        See `Deciding`.
    refit, folds, join
        See `FitOptions`.
    device : str
        Where heads that have such an option train: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
    **data
        See `DataOptions`: ``artifacts, store, labels, tags, split, seed, ...``.

    Raises
    ------
    ToolkitError
        Something is missing, contradicts something else or has a value that is not allowed.
    """
    where = data_options(data)
    deciding = Deciding(rule=rule or default_rule(metric), min_tags=min_tags)
    given = FitOptions(deciding=deciding, refit=refit, folds=folds, join=join, seed=where.seed)
    plan = plan_heads([head], {head: options}, default_options(device, data))
    return run_plan(plan, load_dataset(where), given, where.artifacts, progress, Stages())[-1]
