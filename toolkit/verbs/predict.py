"""Images to tags: embed what is new, score it with a saved head, decide, write."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from toolkit.errors import OptionError
from toolkit.evaluation.decisions.base import DecisionRule
from toolkit.evaluation.scorestore import SCORES_SUFFIX, TopScores, redecide, scores_path, warn_if_cut
from toolkit.experiment.jobs import run_job, work_folder
from toolkit.experiment.saved import BEST, SavedHead
from toolkit.experiment.sources import Source
from toolkit.labels.predictions import bare_names, check_tags, write_predictions
from toolkit.labels.raw import parse_separator
from toolkit.runtime.messages import counted
from toolkit.runtime.progress import Progress, silent
from toolkit.store.records import Failure
from toolkit.verbs.inputs import gather

Paths = Literal["name", "relative"]


@dataclass(frozen=True, eq=False)
class PredictReport:
    """What was predicted, and where it was written.

    Attributes
    ----------
    path, scores : Path
        The csv, and the scores beside it.
    head, rule : str
        The head's name, and its decision rule in words.
    n_images, n_without_tags, n_same_name : int
        Rows written; rows of readable images that got no tag; rows whose bare name another image has too.
    failures : tuple of Failure
        Images that could not be read; their rows have no tags.
    """

    path: Path
    scores: Path
    head: str
    rule: str
    n_images: int
    n_without_tags: int
    n_same_name: int
    failures: tuple[Failure, ...]


def predict(
    source: Path | str,
    *,
    head: str = BEST,
    artifacts: Path | str = "artifacts",
    out: Path | str | None = None,
    rule: str | None = None,
    min_tags: int | None = None,
    paths: Paths | None = None,
    separator: str = ",",
    bom: bool = False,
    force: bool = False,
    name: str | None = None,
    root: Path | None = None,
    weights: str | None = None,
    progress: Progress = silent,
    **embedding: Any,
) -> PredictReport:
    """Tag every image of `source` and write ``img_path,tags``, one row an image in the order of the input.

    Parameters
    ----------
    source : path, or name of a store
        A folder or csv is embedded first, as the head's store was; what is embedded already is not read
        again. For a head fitted on several stores name as many, joined by ``+``. A ``.scores.npz`` of an
        earlier prediction by the same head is decided again: neither images nor head are touched,
        ``img_path`` stays as it is there, and options of embedding are refused.
    head : str
        A fitted head; ``best`` is the last comparison's winner, or the only one there is.
    out : path, optional
        By default ``artifacts/predictions/<name>.csv``. Scores lie beside it.
    rule, min_tags : optional
        Decide otherwise than the head was tuned to; see `SavedHead.rule`.
    paths : {"name", "relative"}, optional
        What ``img_path`` is: the bare file name (by default), or the path relative to `source`.
    separator : str
        Between tags: ``,`` ``|`` ``;`` ``space`` ``tab``.
    bom : bool
        Whether the csv begins with a byte order mark, for Excel.
    force : bool
        Whether an `out` that no earlier call wrote is overwritten.
    name, root, weights, **embedding
        As `toolkit.verbs.embed.embed` takes them. Weights, resizing and precision are by default the head's.

    Raises
    ------
    ToolkitError
        Something is missing or does not fit; nothing is written then.
    """
    artifacts = Path(artifacts)
    saved = SavedHead.open(artifacts, head)
    decision = saved.rule(rule, min_tags=min_tags)
    between = parse_separator(separator)
    check_tags(saved.space.tags, between)
    if paths not in (None, "name", "relative"):
        raise OptionError(f"--paths got {paths!r}; allowed are name, relative")
    path = None if out is None else Path(out)
    if path is not None:
        _check_target(path, force)
    asked = {"name": name, "root": root, "weights": weights} | embedding
    if str(source).endswith(SCORES_SUFFIX):
        _refuse({"paths": paths} | asked, source)
        return _again(Path(source), saved, decision, path, between, bom)
    inputs = gather(Path(source), artifacts, saved, asked, progress)
    path = path or artifacts / "predictions" / f"{inputs.source.name}.csv"
    row_of = {image: row for row, image in enumerate(inputs.source.ids)}
    rows = np.array([row_of.get(image, -1) for image in inputs.ids], dtype=np.intp)
    written, same = (list(inputs.ids), 0) if paths == "relative" else bare_names(inputs.ids)
    with work_folder(artifacts) as work:
        scores = score_apart(work, saved, inputs.source, progress)
        tags = saved.space.decode(decision.apply(scores))
        found: list[list[str]] = [tags[row] if row >= 0 else [] for row in rows]
        top = TopScores.of(scores, rows, written, saved.space.tags, head=saved.name, head_id=saved.id)
    path.parent.mkdir(parents=True, exist_ok=True)
    top.write(scores_path(path))
    write_predictions(path, written, found, separator=between, bom=bom)
    return PredictReport(
        path,
        scores_path(path),
        saved.name,
        decision.describe(),
        len(inputs.ids),
        sum(not tags for tags, row in zip(found, rows, strict=True) if row >= 0),
        same,
        inputs.failures,
    )


def _refuse(asked: Mapping[str, Any], source: Path | str) -> None:
    """Raise `OptionError` if something is asked for that was settled when the scores were made."""
    given = [name for name, value in asked.items() if value is not None]
    if given:
        raise OptionError(
            f"--{given[0].replace('_', '-')} cannot be used with {source}, whose images are scored already; "
            "leave it out, or predict from the images"
        )


def _again(
    source: Path, saved: SavedHead, rule: DecisionRule, path: Path | None, separator: str, bom: bool
) -> PredictReport:
    """Decide again from the scores an earlier prediction left, without images or head."""
    top = TopScores.read(source)
    _check_scores(source, top, saved)
    warn_if_cut(top, [rule])
    tags = saved.space.decode(redecide(rule, top))
    path = path or source.with_name(source.name.removesuffix(SCORES_SUFFIX) + ".csv")
    path.parent.mkdir(parents=True, exist_ok=True)
    if scores_path(path) != source:
        top.write(scores_path(path))
    names = top.img_path.tolist()
    write_predictions(path, names, tags, separator=separator, bom=bom)
    return PredictReport(
        path,
        scores_path(path),
        saved.name,
        rule.describe(),
        len(names),
        sum(not given for given, readable in zip(tags, top.readable, strict=True) if readable),
        0,
        tuple(
            Failure(name, "not readable when it was scored")
            for name, readable in zip(names, top.readable, strict=True)
            if not readable
        ),
    )


def _check_scores(source: Path, top: TopScores, saved: SavedHead) -> None:
    """Raise `OptionError` unless the scores are those of the head as it is now, whose rule decides."""
    have, want = top.tags.tolist(), list(saved.space.tags)
    if top.head != saved.name:
        raise OptionError(
            f"{source} holds scores of head {str(top.head)!r}, but the rule is that of head {saved.name!r}; "
            "name the right one with --head, or predict again from the images or the store"
        )
    if have == want and str(top.head_id) == saved.id:
        return
    since, more = "it was fitted again", len(want) - len(have)
    if "added" in saved.metrics and more > 0 and have == want[: len(have)]:
        since = f"{counted(more, 'tag was', 'tags were')} added"
    raise OptionError(
        f"{source} holds scores of head {saved.name!r} for {counted(len(have), 'tag')}, from before {since}; "
        f"its rule goes with scores of the head as it is now ({counted(len(want), 'tag')}), so predict again "
        "from the images or the store"
    )


def score_apart(work: Path, saved: SavedHead, source: Source, progress: Progress) -> Any:
    """Score a source in a process of its own; return (N, L) float32, mapped from a file in `work`."""
    job = work / "score"
    np.save(work / "rows.npy", source.rows)
    document = {
        "kind": "score",
        "head": saved.given,
        "folder": str(saved.folder.resolve()),
        "source": source.to_dict(),
        "n_tags": len(saved.space),
    }
    run_job(job, document, progress)
    return np.load(job / "scores.npy", mmap_mode="r")


def _check_target(path: Path, force: bool) -> None:
    """Refuse to overwrite a file that is not a prediction of ours: it may be somebody's labels."""
    if path.is_dir():
        raise OptionError(f"--out {path} is a folder; give a file name such as {path / 'submit.csv'}")
    if path.exists() and not scores_path(path).exists() and not force:
        raise OptionError(f"--out {path} exists and was not written by predict; give --force to overwrite it")
