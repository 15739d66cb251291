"""Is a store what its images give today? A sample is embedded again, another way, and compared."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.backbones.base import Rows
from toolkit.backbones.engines.choice import EngineName
from toolkit.backbones.fidelity import LEAST_WORST, cosines
from toolkit.backbones.frozen import load_backbone
from toolkit.backbones.preprocessing import options_of
from toolkit.backbones.weights import FILES
from toolkit.embedding.forward import embed_entries
from toolkit.embedding.read import ReadOptions, digest_of_file
from toolkit.errors import OptionError, StoreError
from toolkit.images.manifest import Entry
from toolkit.runtime.progress import Progress, silent
from toolkit.store.reading import EmbeddingStore
from toolkit.store.spec import EmbeddingSpec

SAME = 1e-5  # largest relative difference between two batch sizes of one engine in fp32 on a processor
GPU_SAME = 1e-4  # cuDNN takes other algorithms at other batch sizes, some of which round more (Winograd's)
FLOAT16_SAME = 2e-3  # what a store of float16 adds: its rounding is 2 ** -11, of the largest value of a row


@dataclass(frozen=True)
class Verification:
    """How far a sample of rows, embedded again, is from the store's.

    Attributes
    ----------
    store : str
    rows, changed : int
        Rows compared; rows drawn whose image is gone or no longer what it was, which are not compared.
    engine, precision, device : str
        What embedded them again, `batch_size` images at a time.
    largest_difference : float
        Largest absolute difference, and as a share of the largest value of its row in `relative`.
    worst_cosine : float
    allowed : str
        What `agrees` means here, in words.
    agrees : bool
    """

    store: str
    rows: int
    changed: int
    engine: str
    precision: str
    device: str
    batch_size: int
    largest_difference: float
    relative: float
    worst_cosine: float
    worst_image: str
    allowed: str
    agrees: bool


def verify(
    store: str,
    *,
    artifacts: Path | str = "artifacts",
    n: int = 32,
    device: str = "auto",
    engine: EngineName | None = None,
    precision: str | None = None,
    batch_size: int | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> Verification:
    """Embed `n` rows of a store again and compare.

    Engine and precision are the store's own unless given; the batch size is then not the usual one, for rows
    must not depend on it. With the same engine in fp32 on the same kind of device rows have to agree to 1e-5
    (on GPUs 1e-4), otherwise to a cosine of .998.

    Raises
    ------
    StoreError, OptionError, WeightsError
        There is no such store, its images are gone, or its backbone cannot be loaded.
    """
    opened = EmbeddingStore(Path(artifacts) / "embeddings" / store)
    spec = opened.meta.spec
    if spec.backbone == "imported":
        raise OptionError(f"the features of {store!r} were imported; verify is for stores that embed made")
    engine = engine or ("openvino" if spec.engine == "openvino" else "torch")
    options = options_of(spec.preprocessing)
    if engine == "openvino" and options["decode"] == "device":
        options["decode"] = "exact"  # the nearest it has
    backbone = load_backbone(
        spec.backbone,
        weights=_weights(opened.name, spec),
        **options,
        device=device,
        engine=engine,
        precision=precision or spec.precision,
        graphs=Path(artifacts) / "graphs",
        progress=progress,
    )
    if backbone.spec.weights_sha256 != spec.weights_sha256:
        raise OptionError(
            f"{backbone.spec.weights} are not the weights of the store {store!r}; set TOOLKIT_WEIGHTS"
        )
    size = batch_size or max(backbone.batch_size // 2 + 1, 1)
    drawn = np.sort(np.random.default_rng(seed).permutation(len(opened.rows))[:n])
    entries = [(int(row), Entry(opened.ids[row], Path(opened.meta.root) / opened.ids[row])) for row in drawn]
    same = [(row, entry) for row, entry in entries if _is(entry, opened.rows[row].digest)]
    if not same:
        raise StoreError(f"none of the images of {store!r} is in {opened.meta.root} as it was; embed again")
    fresh = np.zeros((len(same), spec.dim), np.float32)
    place = {row: number for number, (row, _) in enumerate(same)}
    for done, embedded in enumerate(embed_entries(same, backbone, ReadOptions(batch_size=size)), start=1):
        if embedded.row is None:
            raise StoreError(f"{opened.ids[embedded.slot]} cannot be read any more: {embedded.reason}")
        fresh[place[embedded.slot]] = embedded.rows[0]
        progress("verify", done, len(same))
    return _compare(
        opened,
        fresh,
        [row for row, _ in same],
        backbone.spec,
        changed=len(entries) - len(same),
        device=backbone.device,
        batch_size=size,
    )


def _compare(
    opened: EmbeddingStore, fresh: Rows, rows: list[int], spec: EmbeddingSpec, **facts: Any
) -> Verification:
    stored = opened.embeddings()[rows].astype(np.float32)
    difference = np.abs(fresh - stored).max(axis=1)
    relative = float((difference / np.maximum(np.abs(stored).max(axis=1), 1e-12)).max())
    cosine = cosines(fresh, stored)
    made_on, now_on = _kind(opened.meta.made_with.get("device", "cpu")), _kind(facts["device"])
    exact = spec.difference(opened.meta.spec) is None and spec.precision == "fp32" and made_on == now_on
    limit = max(SAME if now_on == "cpu" else GPU_SAME, FLOAT16_SAME if opened.meta.dtype == "float16" else 0)
    agrees = relative <= limit if exact else bool(cosine.min() >= LEAST_WORST)
    return Verification(
        store=opened.name,
        rows=len(rows),
        engine=spec.engine,
        precision=spec.precision,
        largest_difference=float(difference.max()),
        relative=relative,
        worst_cosine=float(cosine.min()),
        worst_image=opened.ids[rows[int(cosine.argmin())]],
        allowed=f"relative difference at most {limit:g}" if exact else f"cosine at least {LEAST_WORST}",
        agrees=agrees,
        **facts,
    )


def _kind(devices: str) -> str:
    """Return ``cpu``, ``cuda`` or ``mps`` of devices such as ``cuda:0,cuda:1``; several kinds by commas."""
    return ",".join(sorted({device.partition(":")[0] for device in devices.split(",")}))


def _weights(store: str, spec: EmbeddingSpec) -> str:
    """Return the store's weights, or what TOOLKIT_WEIGHTS says where that file has gone."""
    if not spec.weights.endswith(FILES) or Path(spec.weights).is_file():
        return spec.weights
    named = os.environ.get("TOOLKIT_WEIGHTS")
    if not named:
        raise OptionError(
            f"the weights of the store {store!r}, {spec.weights}, are not there; "
            "put them back, or set TOOLKIT_WEIGHTS to where they are now"
        )
    return named


def _is(entry: Entry, digest: str) -> bool:
    try:
        return digest_of_file(entry.path) == digest
    except OSError:
        return False
