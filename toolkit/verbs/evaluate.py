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
from toolkit.labels.separators import joined_like
from toolkit.labels.space import LabelSpace, folded, map_columns
from toolkit.labels.table import CODE_POINT_ORDER, LabelTable
from toolkit.runtime.messages import counted
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
    notes : tuple of str
        What was read from both files, and what may be wrong with how.
    """

    metrics: Metrics
    space: LabelSpace
    match: LabelMatch
    n_images: int
    notes: tuple[str, ...] = ()

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
    predicted = read_label_file(predictions, _reading(options))
    if options.fold_tags:
        predicted = _in_spelling_of(truth.space, predicted)
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
    return Evaluation(metrics, space, match, N, _notes(truth, predicted))


def _reading(options: EvaluateOptions) -> EvaluateOptions:
    """Return how the predictions are read: the columns, encoding and cells of the label file are its own."""
    default = EvaluateOptions(predictions=options.predictions, labels=options.labels)
    own = {
        name: getattr(default, name)
        for name in ("format", "encoding", "blank", "uncertain", "tag_column", "xml_image")
    }
    return replace(
        options, **own, separator=options.predictions_separator, image_column=options.predictions_column
    )


def _in_spelling_of(space: LabelSpace, table: LabelTable) -> LabelTable:
    """Return `table` with tags written as in `space` where they differ in capitals, width or blanks alone."""
    written = {folded(tag): tag for tag in space.tags}
    tags = tuple(written.get(folded(tag), tag) for tag in table.space.tags)
    return table if len(set(tags)) < len(tags) else replace(table, space=LabelSpace(tags))


def _notes(truth: LabelTable, predicted: LabelTable) -> tuple[str, ...]:
    """Return the notes of both files, and what their tags together show."""
    notes = [f"{truth.source}: {note}" for note in truth.notes if note != CODE_POINT_ORDER]
    own = [note.replace("(--separator)", "(--predictions-separator)") for note in predicted.notes]
    notes += [f"{predicted.source}: {note}" for note in own if note != CODE_POINT_ORDER]
    pairs = ((predicted, truth, "--predictions-separator"), (truth, predicted, "--separator"))
    for table, other, option in pairs:
        mark = joined_like(table.space.tags, other.space)
        if mark is not None:
            notes.append(
                f"{table.source}: tags such as {_joined_by(mark, table, other)!r} are tags of {other.source} "
                f"joined by {mark!r}; is that the separator ({option})?"
            )
    written = {folded(tag): tag for tag in truth.space.tags}
    unlike = [
        tag for tag in predicted.space.tags if truth.space.column(tag) is None and folded(tag) in written
    ]
    if unlike:
        notes.append(
            f"{counted(len(unlike), 'predicted tag differs', 'predicted tags differ')} from the truth's in "
            f"capitals, width or blanks alone, such as {unlike[0]!r} and {written[folded(unlike[0])]!r}; "
            "--fold-tags joins them"
        )
    return tuple(notes)


def _joined_by(mark: str, table: LabelTable, other: LabelTable) -> str:
    """Return the first tag of `table` that `mark` makes of tags of `other`."""
    return next(tag for tag in table.space.tags if mark in tag and other.space.column(tag) is None)


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
