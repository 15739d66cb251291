"""Options of the frozen network."""

from typing import Annotated, Literal

from annotated_types import Ge, Le

from toolkit.backbones.registry import engine_choices
from toolkit.runtime.options import Option, Options

ResizeMode = Literal["full", "crop", "squash"]
Decode = Literal["scaled", "exact", "device"]

INT8 = "int8-"
"""Prefix of the name of an int8 graph, which is a precision too: its calibration decides the rows."""


class _Precisions(tuple[str, ...]):
    """Precisions to choose from. The name of an int8 graph is allowed too, but not listed."""

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or str(name).startswith(INT8)


PRECISIONS = _Precisions(("auto", "fp32", "bf16", "fp16", "int8"))


class NetworkOptions(Options):
    """Network, preprocessing, device and precision."""

    backbone: Annotated[
        str,
        Option("The frozen network: resnet50, another of torchvision, timm:NAME, or a plug-in's."),
    ] = "resnet50"
    weights: Annotated[
        str | None,
        Option(
            "imagenet1k-v1 (default), imagenet1k-v2, a .pth or .safetensors file, or random:SEED "
            "(env TOOLKIT_WEIGHTS).",
            environment="TOOLKIT_WEIGHTS",
        ),
    ] = None
    resize: Annotated[
        ResizeMode | None,
        Option(
            "The whole image in its own shape (default), its central square, or the whole image made square "
            "(default for networks that take one size only)."
        ),
    ] = None
    # the usual networks halve their input five times
    input_size: Annotated[
        int | None, Ge(32), Le(4096), Option("Pixels a side the network sees; by default the weights' (224).")
    ] = None
    flip: Annotated[bool, Option("Average with the mirror image: twice the work, a little more F1.")] = False
    decode: Annotated[
        Decode,
        Option("Large JPEGs: shrunk by the codec to twice the size needed, in full, or by the GPU."),
    ] = "scaled"
    device: Annotated[str, Option("auto, cpu, cuda, cuda:N or mps; several: cuda:0,cuda:1 or all.")] = "auto"
    engine: Annotated[str, Option("auto: openvino on CPUs, torch on GPUs.", choices=engine_choices)] = "auto"
    precision: Annotated[
        str,
        Option(
            "auto: the fastest that keeps the features faithful; int8 (CPUs only) gives up some.",
            choices=lambda: PRECISIONS,
        ),
    ] = "auto"
