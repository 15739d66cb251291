"""One frozen network with its preprocessing, on one device, by one engine, in one precision."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import numpy as np
from PIL import Image

from toolkit.backbones.base import Decoded, DeviceMemoryError, Pixels, Rows
from toolkit.backbones.engines.choice import Engine, EngineName, Precision, choose_engine, device_for
from toolkit.backbones.families import default_weights, family_of
from toolkit.backbones.fidelity import check
from toolkit.backbones.graphs import Graph, GraphFacts, graph_folder, load_graph
from toolkit.backbones.int8 import INT8, Calibration, int8_graph
from toolkit.backbones.preprocessing import Decode, Preprocessing, Recipe, ResizeMode
from toolkit.backbones.weights import FILES
from toolkit.errors import OptionError
from toolkit.runtime.devices import resolve_device
from toolkit.runtime.progress import Progress, silent
from toolkit.store.spec import EmbeddingSpec

if TYPE_CHECKING:
    from toolkit.backbones.jpeg import DeviceDecoder

LOT = 4  # files a decoding thread takes at a time: measured, half of what handing them out one by one costs
DEVICE_LOT = 32  # nvJPEG's hardware decodes the files of one call side by side
SMALLEST, LARGEST = 32, 4096  # pixels: the usual networks halve their input five times


class FrozenBackbone:
    """Preprocessing and engine behind the protocol `toolkit.backbones.base.Backbone`.

    Attributes
    ----------
    spec : EmbeddingSpec
    device, why : str
        Where it runs; and how the precision was chosen, in words.
    preprocessing : Preprocessing
    batch_size, in_flight, lot, pads
        See `toolkit.backbones.base.Backbone`.
    """

    def __init__(
        self,
        spec: EmbeddingSpec,
        preprocessing: Preprocessing,
        engine: Engine,
        device: str,
        why: str,
        *,
        shape: Callable[[Image.Image], Pixels] | None = None,
        decoder: "DeviceDecoder | None" = None,
    ) -> None:
        """Resize and cut pictures by `shape`, or else by `preprocessing`, which is Pillow's way to do it."""
        self.spec = spec
        self.preprocessing = preprocessing
        self.device = device
        self.why = why
        self._engine = engine
        self._shape = shape or preprocessing
        self._decoder = decoder
        self.batch_size = engine.batch_size
        self.in_flight = engine.in_flight
        self.lot = LOT if decoder is None else DEVICE_LOT
        self.pads = engine.pads

    def preprocess(self, image: Image.Image) -> Pixels:
        """Return an RGB image as (H, W, 3) uint8."""
        return self._shape(image)

    def least_side(self, width: int, height: int) -> int | None:
        """Return how short the shorter side of a picture may become while it is decoded."""
        return self.preprocessing.least_side(width, height)

    def decode(self, files: Sequence[bytes], max_pixels: int) -> list[Decoded | None]:
        """Decode plain RGB JPEGs on the device where the preprocessing says so."""
        return [None] * len(files) if self._decoder is None else self._decoder(files, max_pixels=max_pixels)

    def forward(self, batch: Pixels) -> Rows:
        """Return embeddings (B, D) float32 of (B, H, W, 3) uint8 pixels."""
        rows = self._engine.forward(batch)
        if self.preprocessing.flip:
            mirrored = self._engine.forward(np.ascontiguousarray(batch[:, :, ::-1]))
            rows = (rows + mirrored) * np.float32(0.5)
        return rows


@dataclass(frozen=True, kw_only=True)
class _Given:
    """What the user asked for, resolved as far as names go."""

    name: str
    weights: str
    device: str
    engine: str
    precision: str


def load_backbone(
    name: str = "resnet50",
    *,
    weights: str | None = None,
    resize: ResizeMode | None = None,
    input_size: int | None = None,
    decode: Decode = "scaled",
    flip: bool = False,
    device: str = "auto",
    engine: EngineName = "auto",
    precision: str = "auto",
    graphs: Path | None = None,
    calibration: Calibration | None = None,
    progress: Progress = silent,
) -> FrozenBackbone:
    """Load a backbone, ready to run.

    Parameters
    ----------
    name : str
        ``resnet50``, another classifier of torchvision, ``timm:NAME``, or a plug-in's.
    weights : str, optional
        ``imagenet1k-v1``, ``imagenet1k-v2``, a ``.pth`` or ``.safetensors`` file, or ``random:SEED``.
    resize, decode, flip
        See `toolkit.backbones.preprocessing.Preprocessing`. Sizes and statistics come from the weights.
    input_size : int, optional
        Side of the square the network sees, in pixels, at least 32; by default that of the weights (224).
    device : str
        ``auto`` (CUDA, then MPS, then CPU), ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
    engine : {"auto", "torch", "openvino"}
        ``auto`` is OpenVINO on processors and torch elsewhere.
    precision : str
        ``auto`` is the fastest of fp32, bf16 and fp16 that is native here and faithful (see
        `toolkit.backbones.fidelity`). ``int8`` calibrates a graph with `calibration` and keeps it in
        `graphs`; ``int8-DIGEST`` is a graph kept there before.
    graphs : Path, optional
        The folder int8 graphs are kept in.
    calibration : callable, optional
        Given the preprocessing, returns pictures (H, W, 3) uint8 for int8.
    progress : Progress
        Told of what is done once: fetching weights, preparing the network, calibration.

    Raises
    ------
    OptionError, WeightsError
        A name, option or file that does not exist or does not fit.
    """
    for option, value, allowed in (
        ("resize", resize, (None, *get_args(ResizeMode))),
        ("decode", decode, get_args(Decode)),
        ("precision", precision if not precision.startswith(INT8) else "int8", get_args(Precision)),
    ):
        if value not in allowed:
            raise OptionError(f"--{option} got {value!r}; allowed are {', '.join(filter(None, allowed))}")
    if input_size is not None and not SMALLEST <= input_size <= LARGEST:
        raise OptionError(f"--input-size got {input_size}; give {SMALLEST} to {LARGEST:,}")
    place = resolve_device(device_for(device, engine, precision))
    # decoding on the device is torchvision's, and int8 graphs are OpenVINO's
    chosen = choose_engine("torch" if decode == "device" and engine == "auto" else engine, place)
    if decode == "device" and chosen != "torch":
        raise OptionError("--decode device goes with --engine torch")
    if precision.startswith("int8") and chosen != "openvino":
        raise OptionError(f"--precision int8 runs on the processor by OpenVINO, not on {place} by {chosen}")
    given = _Given(
        name=name,
        weights=_placed(weights or default_weights(name)),
        device=place,
        engine=chosen,
        precision=precision,
    )

    def prepared(recipe: Recipe) -> Preprocessing:
        return Preprocessing.of(recipe, resize=resize, input_size=input_size, decode=decode, flip=flip)

    if chosen == "torch":
        return _on_torch(given, prepared)
    graph = load_graph(family_of(name), name, given.weights, progress=progress)
    if precision.startswith("int8"):
        graph = int8_graph(precision, graph, prepared(graph.facts.recipe), graphs, calibration, progress)
    return _on_openvino(given, graph, prepared)


def _placed(weights: str) -> str:
    """Return the name of weights; that of a file with its whole path, for the store is used elsewhere too."""
    return str(Path(weights).resolve()) if weights.endswith(FILES) else weights


def _on_openvino(given: _Given, graph: Graph, prepared: Callable[[Recipe], Preprocessing]) -> FrozenBackbone:
    from toolkit.backbones.engines.openvino import OpenVinoEngine, fast_precisions, processor

    facts, preprocessing = graph.facts, prepared(graph.facts.recipe)

    def engine(precision: str) -> OpenVinoEngine:
        return OpenVinoEngine(graph.path, precision)

    if given.precision.startswith("int8"):
        precision, why = graph.folder.name, "as asked for"
    else:
        able = fast_precisions()
        if given.precision not in ("auto", "fp32", *able):
            there = ", ".join(("fp32", *able))
            raise OptionError(
                f"--precision {given.precision}: {processor()} does not compute in it; it has {there}, "
                "and --engine torch emulates bf16"
            )
        precision, why = _choose_precision(given, able, engine, preprocessing, graph.folder, processor())
    spec = _spec(given, preprocessing, precision, facts)
    return FrozenBackbone(spec, preprocessing, engine(precision.partition("-")[0]), given.device, why)


def _on_torch(given: _Given, prepared: Callable[[Recipe], Preprocessing]) -> FrozenBackbone:

    from toolkit.backbones.engines.torch import TorchEngine, fast_precisions, processor
    from toolkit.backbones.network import build_network, facts_of
    from toolkit.backbones.resizing import resize_picture

    network = build_network(family_of(given.name), given.name, given.weights)
    facts = facts_of(network, given.name, given.weights)  # before an engine moves the network to its device
    preprocessing = prepared(network.recipe)
    side = preprocessing.recipe.crop_size

    def engine(precision: str) -> TorchEngine:
        return TorchEngine(network, given.device, precision)

    able = fast_precisions(given.device)
    memory = graph_folder(given.name, given.weights)
    try:
        precision, why = _choose_precision(
            given, able, engine, preprocessing, memory, processor(given.device)
        )
        run = engine(precision)
    except DeviceMemoryError as error:
        raise OptionError(f"{error}; free some of its memory, or give another --device") from error
    run.tune(side)
    return FrozenBackbone(
        _spec(given, preprocessing, precision, facts),
        preprocessing,
        run,
        given.device,
        why,
        shape=lambda image: resize_picture(image, preprocessing),
        decoder=_decoder(given.device, preprocessing),
    )


def _decoder(device: str, preprocessing: Preprocessing) -> "DeviceDecoder | None":
    if preprocessing.decode != "device":
        return None
    from toolkit.backbones.jpeg import DeviceDecoder

    return DeviceDecoder(device, preprocessing)


def _spec(given: _Given, preprocessing: Preprocessing, precision: str, facts: GraphFacts) -> EmbeddingSpec:
    return EmbeddingSpec(
        backbone=given.name,
        weights=given.weights,
        weights_sha256=facts.weights_sha256,
        preprocessing=str(preprocessing),
        pooling=facts.pooling,
        dim=facts.dim,
        precision=precision,
        engine=given.engine,
    )


def _choose_precision(
    given: _Given,
    able: Sequence[str],
    engine: Callable[[str], Engine],
    preprocessing: Preprocessing,
    memory: Path,
    processor: str,
) -> tuple[str, str]:
    """Return the precision to run in and why, measuring the fast ones against fp32 under ``auto``."""
    if given.precision != "auto":
        return given.precision, "as asked for"
    if not able:
        return "fp32", f"{processor} has no faster precision worth taking"
    reasons = []
    for precision in able:
        side = preprocessing.recipe.crop_size
        found = check(
            lambda name: engine(name).forward,
            precision,
            side,
            remember=memory,
            what=f"{given.engine} on {processor} at {side}",
            network={"backbone": given.name, "weights": given.weights},
        )
        if found.faithful:
            return precision, f"{precision}: {found}"
        reasons.append(f"{precision} is not faithful enough with these weights: {found}")
    return "fp32", "; ".join(reasons)
