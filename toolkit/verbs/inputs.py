"""What is to be predicted, as a fitted head must see it: embedded where it is not yet, and checked."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.errors import OptionError
from toolkit.experiment.dataset import store_names
from toolkit.experiment.saved import SavedHead
from toolkit.experiment.sources import Source
from toolkit.images.manifest import read_manifest
from toolkit.runtime.progress import Progress
from toolkit.store.reading import EmbeddingStore
from toolkit.store.records import Failure


@dataclass(frozen=True, eq=False)
class Inputs:
    """Images to predict.

    Attributes
    ----------
    source : Source
        The embeddings of those that have any.
    ids : tuple of str
        All images, in the order of the input.
    failures : tuple of Failure
        Those that could not be read.
    """

    source: Source
    ids: tuple[str, ...]
    failures: tuple[Failure, ...]


def gather(
    source: Path, artifacts: Path, saved: SavedHead, asked: dict[str, Any], progress: Progress
) -> Inputs:
    """Open, or make by embedding what is lacking, the stores of `source` that the head `saved` needs.

    Parameters
    ----------
    source : path, or name of a store
        For a head fitted on several stores as many, joined by ``+``, in its order.
    asked : dict
        What the user says about embedding, as `toolkit.verbs.embed.embed` takes it; None is not said.

    Raises
    ------
    OptionError
        There is no such folder, csv or store, or there are more or fewer stores than the head's.
    SpecMismatchError
        A store was made otherwise than the one the head was fitted on; the message names the field.
    """
    if source.exists() and not (source / "embeddings.npy").is_file():
        stores = [
            _embed(source, artifacts, saved, block, asked, progress) for block in range(len(saved.parts))
        ]
        ids = list(read_manifest(source, root=asked.get("root")).inputs)
    else:
        stores = _open(source, artifacts)
        ids = _ids(stores[0])
    saved.require(stores, remedy="embed the images as the head's were, or fit the head on this store")
    wanted = set(ids)
    failures = {failure.img_path: failure for store in stores for failure in store.failures}
    return Inputs(
        Source.of(stores, [part.scale for part in saved.parts]),
        tuple(ids),
        tuple(failure for image, failure in failures.items() if image in wanted),
    )


def _open(source: Path, artifacts: Path) -> list[EmbeddingStore]:
    if source.exists():
        found = [source]
    else:
        there, text = store_names(artifacts), str(source)
        names = [text] if text in there else text.split("+")
        missing = [name for name in names if name not in there]
        if missing:
            stores = ", ".join(there) or "none"
            raise OptionError(f"there is no folder, csv or store {missing[0]!r}; stores are: {stores}")
        found = [artifacts / "embeddings" / name for name in names]
    return [EmbeddingStore(folder) for folder in found]


def _ids(store: EmbeddingStore) -> list[str]:
    ids = [*store.ids, *(failure.img_path for failure in store.failures)]
    # a folder's images are sorted by code point: failed ones go back to their places
    return sorted(ids) if list(store.ids) == sorted(store.ids) else ids


def _embed(
    source: Path, artifacts: Path, saved: SavedHead, block: int, asked: dict[str, Any], progress: Progress
) -> EmbeddingStore:
    from toolkit.backbones.preprocessing import options_of
    from toolkit.verbs.embed import embed, store_name  # decoders: only where something may be to embed

    part = saved.parts[block]
    spec = part.spec
    if spec.backbone == "imported":
        raise OptionError(
            f"head {saved.name!r} was fitted on imported features, so the images of {source} cannot be "
            "embedded for it; import their features too (toolkit import) and give the name of that store"
        )
    given = {key: value for key, value in asked.items() if value is not None}
    name = given.setdefault("name", store_name(source))
    if block:
        given["name"] = name = f"{name}.{part.store}"
        given.pop("weights", None)  # those asked for are the first store's
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
    return embed(source, artifacts=artifacts, progress=progress, **like, **given).store


def default_weights(recorded: str) -> str | None:
    """Return the weights a head's store was made with, or None, for the usual ones, if that file is gone."""
    named = not recorded.endswith((".pth", ".pt", ".safetensors"))
    return recorded if named or Path(recorded).is_file() else None
