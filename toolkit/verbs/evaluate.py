"""Score any predictions csv against a label file."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from toolkit.errors import LabelError
from toolkit.evaluation.metrics import Metrics
from toolkit.evaluation.metrics import evaluate as measure
from toolkit.evaluation.scorestore import TopScores, scores_path
from toolkit.labels.match import LabelMatch, match_labels
from toolkit.labels.raw import parse_separator
from toolkit.labels.read import read_labels
from toolkit.labels.space import LabelSpace, map_columns
from toolkit.labels.table import LabelTable


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


def evaluate(
    predictions: Path | str,
    labels: Path | str,
    *,
    tags: Path | str | None = None,
    format: str = "auto",
    separator: str = ",",
    predictions_separator: str = ",",
    encoding: str = "utf-8",
    ignore_unknown_tags: bool = False,
) -> Evaluation:
    """Compare a csv ``img_path,tags``, whoever wrote it, with a label file.

    mAP is known only if the scores of all tags lie beside the csv, as ``predict`` leaves them.

    Parameters
    ----------
    predictions : path
    labels : path
        The truth, in any format of `toolkit.labels.registry.READERS`.
    tags : path, optional
        The tag list. Without it the tags are those in either file.
    format, separator, encoding, ignore_unknown_tags
        Of the label file, as `toolkit.labels.read.read_labels` takes them.
    predictions_separator : str
        Between the tags of the predictions.

    Raises
    ------
    LabelError
        A file cannot be read, or no prediction is for an image of the label file.
    """
    parse_separator(predictions_separator, option="--predictions-separator")
    if not Path(predictions).exists():
        raise LabelError(f"there is no file of predictions {predictions}; check the path")
    truth = read_labels(
        labels,
        tags=tags,
        format=format,
        separator=separator,
        encoding=encoding,
        ignore_unknown_tags=ignore_unknown_tags,
    )
    predicted = read_labels(
        predictions,
        tags=tags,
        separator=predictions_separator,
        ignore_unknown_tags=ignore_unknown_tags,
    )
    try:
        match = match_labels(truth.ids, predicted, source_root=truth.root)
    except LabelError as error:
        raise LabelError(
            f"no prediction of {predictions} is for an image of {labels}: one is for {predicted.ids[0]!r}, "
            f"an image is {truth.ids[0]!r}"
        ) from error
    space = _joined(truth.space, predicted.space)
    Y_true = _spread(truth, space)
    found = _spread(predicted, space)[match.table_rows]
    place = sp.csr_array(
        (np.ones(len(match.store_rows), bool), (match.store_rows, np.arange(len(match.store_rows)))),
        shape=(len(truth.ids), len(match.store_rows)),
    )
    scores = _scores(Path(predictions), predicted, match, space, len(truth.ids))
    return Evaluation(measure(Y_true, sp.csr_array(place @ found), scores), space, match, len(truth.ids))


def _joined(one: LabelSpace, other: LabelSpace) -> LabelSpace:
    return LabelSpace((*one.tags, *(tag for tag in other.tags if one.column(tag) is None)))


def _spread(table: LabelTable, space: LabelSpace) -> sp.csr_array:
    return map_columns(table.Y, space.columns(table.space.tags), len(space))


def _scores(
    path: Path, predicted: LabelTable, match: LabelMatch, space: LabelSpace, n_images: int
) -> NDArray[np.float32] | None:
    """Return scores (N, L) from the file beside the csv; None if there is none, or not of all tags."""
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
