"""Score any predictions csv against a label file."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from toolkit.arrays.types import Float32Array
from toolkit.errors import LabelError
from toolkit.evaluation.metrics import Metrics
from toolkit.evaluation.metrics import evaluate as measure
from toolkit.evaluation.scorestore import TopScores, scores_path
from toolkit.files.atomic import settle
from toolkit.labels.match import LabelMatch, match_labels
from toolkit.labels.raw import parse_separator
from toolkit.labels.read import read_label_file
from toolkit.labels.space import LabelSpace, map_columns
from toolkit.labels.table import LabelTable
from toolkit.runtime.options import takes
from toolkit.verbs.options import EvaluateOptions


@dataclass(frozen=True, eq=False)
class Evaluation:
    """How a file of predictions compares with the truth.

    Attributes
    ----------
    metrics : Metrics
        Over all images of the label file; one without a prediction counts as predicted without tags.
    space : LabelSpace
        The columns of the per-tag numbers in `metrics`.
    match : LabelMatch
        Which image of the label file has which prediction.
    n_images : int
        Of the label file.
    """

    metrics: Metrics
    space: LabelSpace
    match: LabelMatch
    n_images: int

    @property
    def n_missing(self) -> int:
        """Images of the label file without a prediction."""
        return len(self.match.unlabelled_images)

    @property
    def n_extra(self) -> int:
        """Predictions for images that are not in the label file."""
        return len(self.match.missing_images)


@takes(EvaluateOptions)
def evaluate(options: EvaluateOptions) -> Evaluation:
    r"""Score a csv ``img_path,tags``, whoever wrote it, against a label file.

    Without a tag list the tags are those in either file. mAP is known only if the scores of all tags lie
    beside the csv, as ``predict`` leaves them.

    Returns
    -------
    Evaluation

    Raises
    ------
    LabelError
        A file cannot be read, or no prediction is for an image of the label file.

    Examples
    --------
    >>> from pathlib import Path
    >>> import toolkit
    >>> folder = Path(artifacts)
    >>> _ = (folder / "submit.csv").write_text("img_path,tags\na.jpg,sea\nb.jpg,tree\n")
    >>> _ = (folder / "truth.csv").write_text('img_path,tags\na.jpg,"sea,tree"\nb.jpg,tree\n')
    >>> toolkit.evaluate(folder / "submit.csv", folder / "truth.csv").metrics.micro_f1
    0.8
    """
    predictions = Path(options.predictions)
    parse_separator(options.predictions_separator, option="--predictions-separator")
    if not predictions.exists():
        raise LabelError(f"there is no file of predictions {predictions}; check the path")
    settle(predictions, scores_path(predictions))
    truth = read_label_file(Path(options.labels), options)
    reading = replace(
        options, format="auto", separator=options.predictions_separator, encoding=EvaluateOptions.encoding
    )
    predicted = read_label_file(predictions, reading)
    try:
        match = match_labels(truth.ids, predicted, source_root=truth.root)
    except LabelError as error:
        raise LabelError(
            f"no prediction of {predictions} is for an image of {options.labels}: one is for "
            f"{predicted.ids[0]!r}, an image is {truth.ids[0]!r}"
        ) from error
    space = _union(truth.space, predicted.space)
    N, n = len(truth.ids), len(match.store_rows)
    place = sp.csr_array((np.ones(n, bool), (match.store_rows, np.arange(n))), shape=(N, n))
    Y_pred = place @ _in_space(predicted, space)[match.table_rows]
    scores = _scores(predictions, predicted, match, space, N)
    metrics = measure(_in_space(truth, space), sp.csr_array(Y_pred), scores)
    return Evaluation(metrics, space, match, N)


def _union(one: LabelSpace, other: LabelSpace) -> LabelSpace:
    return LabelSpace((*one.tags, *(tag for tag in other.tags if one.column(tag) is None)))


def _in_space(table: LabelTable, space: LabelSpace) -> sp.csr_array:
    return map_columns(table.Y, space.columns(table.space.tags), len(space))


def _scores(
    path: Path, predicted: LabelTable, match: LabelMatch, space: LabelSpace, n_images: int
) -> Float32Array | None:
    """Return scores (N, L) from the file beside the csv; None without scores of all tags."""
    beside = scores_path(path)
    if not beside.is_file():
        return None
    top = TopScores.read(beside)
    names, tags = top.img_path.tolist(), top.tags.tolist()
    columns = space.columns(tags)
    if top.columns.shape[1] != len(tags) or (columns < 0).any():
        return None
    row_of = {name: row for row, name in enumerate(names)}
    rows = [row_of.get(predicted.ids[row], -1) for row in match.table_rows]
    if -1 in rows:  # the csv was changed since
        return None
    out = np.zeros((n_images, len(space)), np.float32)
    picked = np.array(rows, dtype=np.intp)
    out[match.store_rows[:, None], columns[top.columns[picked]]] = top.scores[picked]
    return out
