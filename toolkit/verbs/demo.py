"""The whole job on a data set that draws itself: embed, compare, predict, evaluate."""

import logging
import os
from dataclasses import dataclass
from pathlib import Path

from toolkit.images.drawn_set import DemoData, draw_demo_images
from toolkit.runtime.options import takes
from toolkit.verbs.compare import Comparison, compare
from toolkit.verbs.embed import embed
from toolkit.verbs.evaluate import Evaluation, evaluate
from toolkit.verbs.options import DemoOptions
from toolkit.verbs.predict import PredictReport, predict

logger = logging.getLogger(__name__)

UNTRAINED = "random:0"


@dataclass(frozen=True, eq=False)
class DemoReport:
    """Where everything lies, and what came out.

    Attributes
    ----------
    folder : Path
        Holds ``data/`` (the pictures drawn) and what the toolkit makes of them.
    data : DemoData
    weights : str
        The backbone's weights.
    n_failed : int
        Pictures that could not be read; one is cut off on purpose.
    comparison : Comparison
    predictions : PredictReport
        Of the new pictures, by the best head.
    evaluation : Evaluation
        Of these predictions.
    """

    folder: Path
    data: DemoData
    weights: str
    n_failed: int
    comparison: Comparison
    predictions: PredictReport
    evaluation: Evaluation


@takes(DemoOptions)
def demo(options: DemoOptions) -> DemoReport:
    """Draw pictures with tags, and 40 new ones, into ``artifacts/demo/data`` and do the whole job there.

    Nothing is downloaded: without weights on this machine the network is untrained, and a warning says so.

    Returns
    -------
    DemoReport

    Examples
    --------
    >>> import toolkit
    >>> report = toolkit.demo(artifacts=artifacts)  # doctest: +SKIP
    """
    folder = Path(options.artifacts) / "demo"
    progress = options.progress
    data = draw_demo_images(folder / "data", n=options.n, seed=options.seed, progress=progress)
    weights = options.weights or os.environ.get("TOOLKIT_WEIGHTS") or _cached_weights()
    if weights == UNTRAINED:
        logger.warning(
            "no pretrained weights here (set TOOLKIT_WEIGHTS to a file for them): the demo uses untrained "
            "seeded ones, so it shows the whole job but its F1s are far below those of a trained ResNet50"
        )
    embedded = embed(
        data.images,
        artifacts=folder,
        name="demo",
        weights=weights,
        labels=data.labels,
        tags=data.tags,
        force=True,
        progress=progress,
    )
    comparison = compare(artifacts=folder, store="demo", seed=options.seed, progress=progress)
    predictions = predict(
        data.new, artifacts=folder, out=folder / "submit.csv", weights=weights, progress=progress
    )
    evaluation = evaluate(predictions.path, data.new_labels, tags=data.tags)
    return DemoReport(folder, data, weights, embedded.failed, comparison, predictions, evaluation)


def _cached_weights() -> str:
    from toolkit.backbones.weights import DEFAULT_WEIGHTS, RESNET50_FILE, torch_cache

    return DEFAULT_WEIGHTS if (torch_cache() / RESNET50_FILE).is_file() else UNTRAINED
