"""Images to tags: embed what is new, score it with a saved head, decide, write."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from toolkit.errors import OptionError
from toolkit.experiment.dataset import store_names
from toolkit.experiment.jobs import run_job, work_folder
from toolkit.experiment.saved import BEST, SavedHead
from toolkit.labels import parse_separator
from toolkit.manifest import read_manifest
from toolkit.progress import Progress, silent
from toolkit.store import EmbeddingStore, Failure
from toolkit.submission import TopScores, bare_names, check_tags, scores_path, write_predictions

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
    paths: Paths = "name",
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
        again.
    head : str
        A fitted head; ``best`` is the last comparison's winner, or the only one there is.
    out : path, optional
        By default ``artifacts/predictions/<name>.csv``. Scores lie beside it.
    rule, min_tags : optional
        Decide otherwise than the head was tuned to; see `SavedHead.rule`.
    paths : {"name", "relative"}
        What ``img_path`` is: the bare file name, or the path relative to `source`.
    separator : str
        Between tags: ``,`` ``|`` ``;`` ``space`` ``tab``.
    bom : bool
        Whether the csv begins with a byte order mark, for Excel.
    force : bool
        Whether an `out` that no earlier call wrote is overwritten.
    name, root, weights, **embedding
        As `toolkit.embedding.embed` takes them. Weights, resizing and precision are by default the head's.

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
    if paths not in ("name", "relative"):
        raise OptionError(f"--paths got {paths!r}; allowed are name, relative")
    path = None if out is None else Path(out)
    if path is not None:
        _check_target(path, force)
    asked = {"name": name, "root": root, "weights": weights} | embedding
    store, ids = _store(Path(source), artifacts, saved, asked, progress)
    remedy = "embed the images as the head's were, or fit the head on this store"
    saved.spec.require(
        store.meta.spec, have=f"head {saved.name!r}", want=f"store {store.name!r}", remedy=remedy
    )
    path = path or artifacts / "predictions" / f"{store.name}.csv"
    row_of = {image: row for row, image in enumerate(store.ids)}
    rows = np.array([row_of.get(image, -1) for image in ids], dtype=np.intp)
    written, same = bare_names(ids) if paths == "name" else (list(ids), 0)
    with work_folder(artifacts) as work:
        scores = _score(work, saved, store, head, progress)
        tags = saved.space.decode(decision.apply(scores))
        found: list[list[str]] = [tags[row] if row >= 0 else [] for row in rows]
        top = TopScores.of(scores, rows, written, saved.space.tags)
    path.parent.mkdir(parents=True, exist_ok=True)
    top.write(scores_path(path))
    write_predictions(path, written, found, separator=between, bom=bom)
    return PredictReport(
        path,
        scores_path(path),
        saved.name,
        decision.describe(),
        len(ids),
        sum(not tags for tags, row in zip(found, rows, strict=True) if row >= 0),
        same,
        tuple(failure for failure in store.failures if failure.img_path in set(ids)),
    )


def _score(work: Path, saved: SavedHead, store: EmbeddingStore, head: str, progress: Progress) -> Any:
    job = work / "score"
    document = {
        "kind": "score",
        "head": head if ":" in head else saved.name,
        "folder": str(saved.folder.resolve()),
        "store": str(store.folder.resolve()),
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


def _store(
    source: Path, artifacts: Path, saved: SavedHead, asked: dict[str, Any], progress: Progress
) -> tuple[EmbeddingStore, list[str]]:
    """Return the store of the source's images, embedding what it lacks, and all ids in the input's order."""
    folder = artifacts / "embeddings" / str(source)
    if source.exists() and not (source / "embeddings.npy").is_file():
        return _embed(source, artifacts, saved, asked, progress)
    if not source.exists() and str(source) not in store_names(artifacts):
        names = ", ".join(store_names(artifacts)) or "none"
        raise OptionError(f"there is no folder, csv or store {str(source)!r}; stores are: {names}")
    store = EmbeddingStore(source if source.exists() else folder)
    ids = [*store.ids, *(failure.img_path for failure in store.failures)]
    # a folder's images are sorted by code point: failed ones go back to their places
    return store, sorted(ids) if list(store.ids) == sorted(store.ids) else ids


def _embed(
    source: Path, artifacts: Path, saved: SavedHead, asked: dict[str, Any], progress: Progress
) -> tuple[EmbeddingStore, list[str]]:
    from toolkit.backbones.preprocessing import options_of
    from toolkit.embedding import embed, store_name  # decoders: only where something may be to embed

    spec = saved.spec
    if spec.backbone == "imported":
        raise OptionError(
            f"head {saved.name!r} was fitted on imported features, so the images of {source} cannot be "
            "embedded for it; import their features too (toolkit import) and give the name of that store"
        )
    given = {key: value for key, value in asked.items() if value is not None}
    name = given.setdefault("name", store_name(source))
    given.setdefault("weights", default_weights(spec.weights))
    like: dict[str, Any] = {
        "backbone": spec.backbone,
        **options_of(spec.preprocessing),
        "precision": spec.precision,
        "engine": spec.engine,
    }
    like["for_prediction"] = True
    target = artifacts / "embeddings" / name
    if target.exists():  # what only concerns training stays as it is
        meta = EmbeddingStore(target).meta
        like |= {"views": meta.views, "dtype": meta.dtype, "seed": meta.seed}
    report = embed(source, artifacts=artifacts, progress=progress, **like, **given)
    return report.store, list(read_manifest(source, root=given.get("root")).inputs)


def default_weights(recorded: str) -> str | None:
    """Return the weights a head's store was made with, or None, for the usual ones, if that file is gone."""
    named = not recorded.endswith((".pth", ".pt", ".safetensors"))
    return recorded if named or Path(recorded).is_file() else None
