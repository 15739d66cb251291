"""A frozen network with its preprocessing, on one device, by one engine, in one precision."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from pkgutil import resolve_name

import numpy as np

from toolkit.arrays.types import Float32Array, Pixels
from toolkit.backbones.base import Decoded, DeviceMemoryError, Engine, LoadedNetwork
from toolkit.backbones.families import default_weights
from toolkit.backbones.fidelity import check
from toolkit.backbones.int8 import Calibration
from toolkit.backbones.options import NetworkOptions
from toolkit.backbones.registry import ENGINES, choose_engine, device_for
from toolkit.backbones.weights import FILES
from toolkit.errors import OptionError
from toolkit.runtime.devices import resolve_device
from toolkit.runtime.progress import Progress, silent
from toolkit.store.spec import EmbeddingSpec

LOT = 4  # files a decoding thread takes at a time: half the overhead of one by one
DEVICE_LOT = 32  # nvJPEG's hardware decodes the files of one call side by side


class FrozenBackbone:
    """A running network; it implements `toolkit.backbones.base.Backbone`.

    Attributes
    ----------
    device, why : str
        The device, and how the precision was chosen.
    """

    def __init__(self, network: LoadedNetwork, engine: Engine, precision: str, why: str) -> None:
        self._engine, self._decoder = engine, network.decoder
        self.preprocessing, self.preprocess = network.preprocessing, network.resize
        self.least_side = network.preprocessing.least_side
        self.spec = _spec(network, precision)
        self.device, self.why = network.options.device, why
        self.batch_size = engine.batch_size(network.preprocessing.recipe.crop_size)
        self.in_flight, self.pads = engine.in_flight, engine.pads
        self.lot = LOT if network.decoder is None else DEVICE_LOT

    def decode(self, files: Sequence[bytes], max_pixels: int) -> list[Decoded | None]:
        """Decode plain RGB JPEGs on the device, if that is an option of the network."""
        return [None] * len(files) if self._decoder is None else self._decoder(files, max_pixels)

    def forward(self, batch: Pixels) -> Float32Array:
        """Return embeddings (B, D) of pixels (B, H, W, 3)."""
        rows = self._engine.forward(batch)
        if self.preprocessing.flip:
            mirrored = self._engine.forward(np.ascontiguousarray(batch[:, :, ::-1]))
            rows = (rows + mirrored) * np.float32(0.5)
        return rows


def load_backbone(
    options: NetworkOptions,
    *,
    graphs: Path | None = None,
    calibration: Calibration | None = None,
    progress: Progress = silent,
) -> FrozenBackbone:
    """Load a backbone, ready to run.

    Parameters
    ----------
    options : NetworkOptions
        Engine ``auto`` is OpenVINO on CPUs and torch elsewhere. Precision ``auto`` is the fastest of fp32,
        bf16 and fp16 that is native here and faithful (see `toolkit.backbones.fidelity`); ``int8`` calibrates
        a graph, and ``int8-DIGEST`` is a graph calibrated before.
    graphs : Path, optional
        The folder of int8 graphs.
    calibration : callable, optional
        Takes the preprocessing and returns pictures (H, W, 3) to calibrate int8 with.

    Raises
    ------
    OptionError, WeightsError
        A name, option or file does not exist or does not fit.
    """
    settled = _settled(options)
    load = resolve_name(ENGINES[settled.engine].load)
    try:
        network: LoadedNetwork = load(settled, graphs=graphs, calibration=calibration, progress=progress)
        precision, why = choose_precision(network)
        return FrozenBackbone(network, network.start(precision), precision, why)
    except DeviceMemoryError as error:
        raise OptionError(f"{error}; free some of its memory, or give another --device") from error


def _settled(options: NetworkOptions) -> NetworkOptions:
    """Decide weights, device and engine."""
    device = resolve_device(device_for(options.device, options.engine, options.precision))
    engine = choose_engine(options.engine, device, precision=options.precision, decode=options.decode)
    weights = options.weights or default_weights(options.backbone)
    if weights.endswith(FILES):
        weights = str(Path(weights).resolve())  # a store is also used from other folders
    return replace(options.part(NetworkOptions), weights=weights, device=device, engine=engine)


def choose_precision(network: LoadedNetwork) -> tuple[str, str]:
    """Return the precision and the reason for it; for ``auto`` the fast ones are compared with fp32."""
    if network.options.precision != "auto":
        return network.options.precision, "as asked for"
    if not network.fast_precisions:
        return "fp32", f"{network.processor} has no faster precision worth taking"
    reasons = []
    for precision in network.fast_precisions:
        measurement = check(network, precision)
        if measurement.faithful:
            return precision, f"{precision}: {measurement}"
        reasons.append(f"{precision} is not faithful enough with these weights: {measurement}")
    return "fp32", "; ".join(reasons)


def _spec(network: LoadedNetwork, precision: str) -> EmbeddingSpec:
    options, facts = network.options, network.facts
    return EmbeddingSpec(
        backbone=options.backbone,
        weights=options.weights or "",
        weights_sha256=facts.weights_sha256,
        preprocessing=str(network.preprocessing),
        pooling=facts.pooling,
        dim=facts.dim,
        precision=precision,
        engine=options.engine,
        options=network.preprocessing.options,
    )
