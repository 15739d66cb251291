"""Whether a store still matches its images: a sample is embedded again, another way, and compared."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.arrays.types import Float32Array
from toolkit.backbones.fidelity import LEAST_WORST, cosines
from toolkit.backbones.frozen import load_backbone
from toolkit.backbones.options import NetworkOptions
from toolkit.backbones.weights import FILES
from toolkit.embedding.forward import embed_entries
from toolkit.embedding.options import ReadOptions
from toolkit.errors import OptionError, StoreError
from toolkit.images.files import digest_of_file
from toolkit.images.manifest import Entry
from toolkit.runtime.options import takes
from toolkit.store.reading import EmbeddingStore
from toolkit.store.spec import EmbeddingSpec
from toolkit.verbs.options import VerifyOptions

SAME = 1e-5  # largest relative difference between two batch sizes of one engine in fp32 on a CPU
GPU_SAME = 1e-4  # at other batch sizes cuDNN uses other algorithms, some of which round more (Winograd's)
FLOAT16_SAME = 2e-3  # rounding of a float16 store: 2 ** -11, of the largest value of a row


@dataclass(frozen=True)
class Verification:
    """How far a sample of rows, embedded again, is from the store's.

    Attributes
    ----------
    store : str
    rows, changed : int
        Rows compared; rows drawn but not compared, because their image changed or is gone.
    engine, precision, device : str
        What embedded them again, `batch_size` images at a time.
    largest_difference, relative : float
        Largest absolute difference; and as a share of the largest value of its row.
    worst_cosine : float
    worst_image : str
    allowed : str
        What `agrees` requires here, in words.
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


@takes(VerifyOptions)
def verify(options: VerifyOptions) -> Verification:
    """Embed some rows of a store again and compare.

    The batch size is by default not the usual one, because rows must not depend on it. With the same engine
    in fp32 on the same kind of device rows must agree to 1e-5 (on GPUs 1e-4), otherwise to a cosine of .998.

    Returns
    -------
    Verification
        The differences, and whether they are small enough.

    Raises
    ------
    StoreError
        There is no such store, or its images are gone or have changed.
    OptionError, WeightsError
        The store's features were imported, or its backbone cannot be loaded.

    Examples
    --------
    Skipped in tests, because weights must be fetched first.

    >>> toolkit.verify("train", n=100).agrees  # doctest: +SKIP
    True
    """
    artifacts = Path(options.artifacts)
    store = EmbeddingStore(artifacts / "embeddings" / options.store)
    spec = store.meta.spec
    if spec.backbone == "imported":
        raise OptionError(
            f"the features of {options.store!r} were imported; verify is for stores that embed made"
        )
    backbone = load_backbone(
        _network(options, store.name, spec), graphs=artifacts / "graphs", progress=options.progress
    )
    if backbone.spec.weights_sha256 != spec.weights_sha256:
        raise OptionError(
            f"{backbone.spec.weights} are not the weights of the store {options.store!r}; set TOOLKIT_WEIGHTS"
        )
    size = options.batch_size or max(backbone.batch_size // 2 + 1, 1)
    drawn = np.sort(np.random.default_rng(options.seed).permutation(len(store.rows))[: options.n])
    entries = [(int(row), Entry(store.ids[row], Path(store.meta.root) / store.ids[row])) for row in drawn]
    same = [(row, entry) for row, entry in entries if _has_digest(entry, store.rows[row].digest)]
    if not same:
        raise StoreError(
            f"none of the images of {options.store!r} is in {store.meta.root} as it was; embed again"
        )
    fresh = np.zeros((len(same), spec.dim), np.float32)
    place = {row: number for number, (row, _) in enumerate(same)}
    for number, embedded in enumerate(embed_entries(same, backbone, ReadOptions(batch_size=size)), start=1):
        if embedded.row is None:
            raise StoreError(f"{store.ids[embedded.slot]} cannot be read any more: {embedded.reason}")
        fresh[place[embedded.slot]] = embedded.rows[0]
        options.progress("verify", number, len(same))
    return _compare(
        store,
        fresh,
        [row for row, _ in same],
        backbone.spec,
        changed=len(entries) - len(same),
        device=backbone.device,
        batch_size=size,
    )


def _network(options: VerifyOptions, store: str, spec: EmbeddingSpec) -> NetworkOptions:
    """Return the options of the store's network, by the engine and precision asked for."""
    made = spec.network_options()
    engine = options.engine or spec.engine
    if engine == "openvino" and made["decode"] == "device":
        made["decode"] = "exact"  # the nearest it has
    changed = {"engine": engine, "precision": options.precision or spec.precision, "device": options.device}
    return NetworkOptions(**made | changed, weights=_weights(store, spec))


def _compare(
    store: EmbeddingStore, fresh: Float32Array, rows: list[int], spec: EmbeddingSpec, **facts: Any
) -> Verification:
    stored = store.embeddings()[rows].astype(np.float32)
    difference = np.abs(fresh - stored).max(axis=1)
    relative = float((difference / np.maximum(np.abs(stored).max(axis=1), 1e-12)).max())
    cosine = cosines(fresh, stored)
    made_on, now_on = _kind(store.meta.made_with.get("device", "cpu")), _kind(facts["device"])
    exact = spec.difference(store.meta.spec) is None and spec.precision == "fp32" and made_on == now_on
    limit = max(SAME if now_on == "cpu" else GPU_SAME, FLOAT16_SAME if store.meta.dtype == "float16" else 0)
    return Verification(
        store=store.name,
        rows=len(rows),
        engine=spec.engine,
        precision=spec.precision,
        largest_difference=float(difference.max()),
        relative=relative,
        worst_cosine=float(cosine.min()),
        worst_image=store.ids[rows[int(cosine.argmin())]],
        allowed=f"relative difference at most {limit:g}" if exact else f"cosine at least {LEAST_WORST}",
        agrees=relative <= limit if exact else bool(cosine.min() >= LEAST_WORST),
        **facts,
    )


def _kind(devices: str) -> str:
    """Return ``cpu``, ``cuda`` or ``mps`` of devices such as ``cuda:0,cuda:1``; several kinds by commas."""
    return ",".join(sorted({device.partition(":")[0] for device in devices.split(",")}))


def _weights(store: str, spec: EmbeddingSpec) -> str:
    """Return the store's weights, or those that TOOLKIT_WEIGHTS names if that file is gone."""
    if not spec.weights.endswith(FILES) or Path(spec.weights).is_file():
        return spec.weights
    named = os.environ.get("TOOLKIT_WEIGHTS")
    if not named:
        raise OptionError(
            f"the weights of the store {store!r}, {spec.weights}, do not exist; "
            "put them back, or set TOOLKIT_WEIGHTS to where they are now"
        )
    return named


def _has_digest(entry: Entry, digest: str) -> bool:
    try:
        return digest_of_file(entry.path) == digest
    except OSError:
        return False
