"""Images to tags: embed what is new, score it with a saved head, decide, write."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.arrays.types import Float32Array
from toolkit.embedding.options import BatchOptions
from toolkit.errors import OptionError
from toolkit.evaluation.decisions.base import DecisionRule
from toolkit.evaluation.scorestore import (
    SCORES_SUFFIX,
    TopScores,
    csv_path,
    redecide,
    scores_path,
    warn_if_cut,
)
from toolkit.experiment.dataset import store_names
from toolkit.experiment.jobs import run_job, work_folder
from toolkit.experiment.options import DeviceOption
from toolkit.experiment.saved import SavedHead
from toolkit.experiment.stores import StoreSet
from toolkit.files.atomic import replacing_both, settle
from toolkit.files.folders import standing
from toolkit.files.npy import map_array
from toolkit.images.manifest import read_manifest
from toolkit.images.options import ImagePolicy
from toolkit.labels.predictions import bare_names, check_tags, write_predictions
from toolkit.labels.raw import parse_separator
from toolkit.runtime.messages import counted
from toolkit.runtime.options import option_fields, takes
from toolkit.runtime.progress import Progress
from toolkit.store.reading import EmbeddingStore
from toolkit.store.records import Failure
from toolkit.verbs.options import PredictOptions, StoreNameOptions


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


@takes(PredictOptions)
def predict(options: PredictOptions) -> PredictReport:
    """Tag every image of `source` and write ``img_path,tags``, one row an image in the order of the input.

    A folder or csv is embedded first, as the head's store was; what is embedded already is not read again.
    For a head fitted on several stores name as many, joined by ``+``. A ``.scores.npz`` of an earlier
    prediction by the same head is decided again: neither images nor head are touched, ``img_path`` stays as
    it is there, and options of embedding are refused. `force` overwrites an `out` that no earlier call wrote.

    Returns
    -------
    PredictReport

    Raises
    ------
    ToolkitError
        Something is missing or does not fit; nothing is written then.

    Examples
    --------
    >>> import toolkit
    >>> fitted = toolkit.fit("knn", options={"k": 5}, artifacts=artifacts)
    >>> report = toolkit.predict("train", head="knn", artifacts=artifacts)
    >>> report.path.name, report.n_images
    ('train.csv', 60)
    """
    artifacts = Path(options.artifacts)
    saved = SavedHead.open(artifacts, options.head)
    rule = saved.rule(options.rule, min_tags=options.min_tags)
    check_tags(saved.space.tags, parse_separator(options.separator))
    out = None if options.out is None else Path(options.out)
    if out is not None:
        _check_target(out, options.force)
    if str(options.source).endswith(SCORES_SUFFIX):
        _refuse_embedding_options(options)
        return _decide_again(options, saved, rule, out)
    inputs = _inputs(options, artifacts, saved)
    path = out or artifacts / "predictions" / f"{inputs.store_set.name}.csv"
    row_of = {image: row for row, image in enumerate(inputs.store_set.ids)}
    rows = np.array([row_of.get(image, -1) for image in inputs.ids], dtype=np.intp)
    names, n_same = (list(inputs.ids), 0) if options.paths == "relative" else bare_names(inputs.ids)
    with work_folder(artifacts) as work:
        scores = score_in_child(work, saved, inputs.store_set, options.progress)
        decoded = saved.space.decode(rule.apply(scores))
        tags: list[list[str]] = [decoded[row] if row >= 0 else [] for row in rows]
        top = TopScores.of(scores, rows, names, saved.space.tags, head=saved.name, head_id=saved.id)
    _write(path, top, names, tags, options)
    return PredictReport(
        path,
        scores_path(path),
        saved.name,
        rule.describe(),
        len(inputs.ids),
        _without_tags(tags, rows >= 0),
        n_same,
        inputs.failures,
    )


def _check_target(path: Path, force: bool) -> None:
    """Refuse to overwrite a file that no prediction wrote: it may be somebody's labels."""
    if path.is_dir():
        raise OptionError(f"--out {path} is a folder; give a file name such as {path / 'submit.csv'}")
    settle(path, scores_path(path))
    if path.exists() and not scores_path(path).exists() and not force:
        raise OptionError(f"--out {path} exists and was not written by predict; give --force to overwrite it")


def _write(
    path: Path,
    top: TopScores,
    names: Sequence[str],
    tags: Sequence[Sequence[str]],
    options: PredictOptions,
) -> None:
    """Write the csv and the scores beside it: both or, after an error or a kill, neither."""
    separator = parse_separator(options.separator)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing_both(path, scores_path(path)) as (fresh, scores):
        write_predictions(
            fresh, names, tags, separator=separator, bom=options.bom, excel_safe=options.excel_safe
        )
        top.write(scores)


def score_in_child(work: Path, saved: SavedHead, store_set: StoreSet, progress: Progress) -> Any:
    """Score some stores in a process of its own; return (N, L) float32, mapped from a file in `work`."""
    folder = work / "score"
    run_job(
        "score",
        saved.given,
        folder,
        progress,
        saved=saved.folder.absolute(),
        identity=saved.identity,
        store_set=store_set.to_dict(),
        rows=store_set.rows,
        n_tags=len(saved.space),
    )
    scores: Float32Array = map_array(folder / "scores.npy")
    return scores


# ---------------------------------------------------------------------- inputs


@dataclass(frozen=True, eq=False)
class _Inputs:
    """Images to predict: the embeddings of those that have any, all ids in order, and the unreadable ones."""

    store_set: StoreSet
    ids: tuple[str, ...]
    failures: tuple[Failure, ...]


def _inputs(options: PredictOptions, artifacts: Path, saved: SavedHead) -> _Inputs:
    """Open the stores of `source` that the head needs, or make them by embedding."""
    source = Path(options.source)
    if source.exists() and not (standing(source) / "embeddings.npy").is_file():
        stores = [_embed(source, options, saved, number) for number in range(len(saved.stores))]
        root = None if options.root is None else Path(options.root)
        ids = list(read_manifest(source, root=root, image_column=options.image_column).inputs)
    else:
        stores = _open(source, artifacts)
        ids = _ids(stores[0])
    saved.require(stores, remedy="embed the images as the head's were, or fit the head on this store")
    wanted = set(ids)
    failures = {failure.img_path: failure for store in stores for failure in store.failures}
    return _Inputs(
        StoreSet.of(stores, [record.scale for record in saved.stores]),
        tuple(ids),
        tuple(failure for image, failure in failures.items() if image in wanted),
    )


def _open(source: Path, artifacts: Path) -> list[EmbeddingStore]:
    if standing(source).exists():
        return [EmbeddingStore(source)]
    known, text = store_names(artifacts), str(source)
    names = [text] if text in known else text.split("+")
    missing = [name for name in names if name not in known]
    if missing:
        stores = ", ".join(known) or "none"
        raise OptionError(f"there is no folder, csv or store {missing[0]!r}; stores are: {stores}")
    return [EmbeddingStore(artifacts / "embeddings" / name) for name in names]


def _ids(store: EmbeddingStore) -> list[str]:
    ids = [*store.ids, *(failure.img_path for failure in store.failures)]
    # a folder's images are sorted by code point: failed ones go back to their places
    return sorted(ids) if list(store.ids) == sorted(store.ids) else ids


def _embed(source: Path, options: PredictOptions, saved: SavedHead, number: int) -> EmbeddingStore:
    """Embed `source` as the head's store of that number was."""
    from toolkit.verbs.embed import embed_images, store_name  # image decoders: only where they are needed
    from toolkit.verbs.options import EmbedOptions

    record = saved.stores[number]
    if record.spec.backbone == "imported":
        raise OptionError(
            f"head {saved.name!r} was fitted on imported features, so the images of {source} cannot be "
            "embedded for it; import their features too (toolkit import) and give the name of that store"
        )
    name = options.name or store_name(source)
    weights = options.weights
    if number:
        name, weights = f"{name}.{record.store}", None  # the weights asked for are the first store's
    target = Path(options.artifacts) / "embeddings" / name
    training: dict[str, Any] = {}
    if target.exists():  # what only concerns training stays as it is
        meta = EmbeddingStore(target).meta
        training = {"views": meta.views, "dtype": meta.dtype, "seed": meta.seed}
    asked = {
        each.name: getattr(options, each.name)
        for kind in (DeviceOption, BatchOptions, ImagePolicy)
        for each in option_fields(kind)
    }
    return embed_images(
        EmbedOptions(
            source,
            name=name,
            root=options.root,
            image_column=options.image_column,
            weights=weights or default_weights(record.spec.weights),
            artifacts=options.artifacts,
            force=options.force,
            progress=options.progress,
            **record.spec.network_options(),
            **training,
            **asked,
        ),
        for_prediction=True,
    ).store


def default_weights(recorded: str) -> str | None:
    """Return the weights a head's store was made with, or None, for the usual ones, if that file is gone."""
    named = not recorded.endswith((".pth", ".pt", ".safetensors"))
    return recorded if named or Path(recorded).is_file() else None


# ---------------------------------------------------------------------- from saved scores


def _refuse_embedding_options(options: PredictOptions) -> None:
    """Raise `OptionError` if an option is given that was settled when the scores were made."""
    settled = ["paths", "weights"]
    for kind in (StoreNameOptions, DeviceOption, BatchOptions, ImagePolicy):
        settled += [each.name for each in option_fields(kind)]
    for name in settled:
        if name in options.given:
            raise OptionError(
                f"--{name.replace('_', '-')} cannot be used with {options.source}, whose images are scored "
                "already; leave it out, or predict from the images"
            )


def _decide_again(
    options: PredictOptions, saved: SavedHead, rule: DecisionRule, out: Path | None
) -> PredictReport:
    """Decide from the scores an earlier prediction left, without images or head."""
    source = Path(options.source)
    settle(csv_path(source), source)
    top = TopScores.read(source)
    _check_scores(source, top, saved)
    warn_if_cut(top, [rule])
    tags = saved.space.decode(redecide(rule, top))
    path = out or csv_path(source)
    names = top.img_path.tolist()
    _write(path, top, names, tags, options)
    unreadable = [name for name, readable in zip(names, top.readable, strict=True) if not readable]
    return PredictReport(
        path,
        scores_path(path),
        saved.name,
        rule.describe(),
        len(names),
        _without_tags(tags, top.readable),
        0,
        tuple(Failure(name, "not readable when it was scored") for name in unreadable),
    )


def _without_tags(tags: Sequence[Sequence[str]], readable: Any) -> int:
    return sum(not each for each, is_readable in zip(tags, readable, strict=True) if is_readable)


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
