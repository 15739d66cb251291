"""Backbones of the timm collection, as ``timm:<name>``; needs the extra ``toolkit[timm]``."""

from typing import Any

from toolkit.backbones.network import Network, digest, load_weights, seeded
from toolkit.backbones.preprocessing import Recipe
from toolkit.backbones.weights import PRETRAINED, TORCHVISION, file_state
from toolkit.errors import OptionError, WeightsError


def build(name: str, weights: str) -> Network:
    """Build ``timm:<name>`` without its classifier, its recipe from timm's data configuration."""
    try:
        import timm
    except ImportError as error:
        raise OptionError(f"backbone {name} needs timm: pip install 'toolkit[timm]'") from error
    model = name.removeprefix("timm:")
    if not timm.is_model(model):
        near = ", ".join(timm.list_models(f"*{model[:6]}*")[:5])
        raise OptionError(f"timm {timm.__version__} has no model {model!r}; near: {near or 'none'}")
    if weights in TORCHVISION:
        raise WeightsError(f"--weights got {weights}, torchvision's; for {name} give {PRETRAINED} or a file")
    try:
        module = seeded(
            weights, lambda: timm.create_model(model, pretrained=weights == PRETRAINED, num_classes=0)
        )
    except (OSError, RuntimeError) as error:
        raise WeightsError(
            f"the pretrained weights of {name} are not cached and cannot be fetched "
            f"({str(error).splitlines()[0]}); give --weights FILE, or --weights random:0 to try the pipeline"
        ) from error
    state = None if weights == PRETRAINED else file_state(weights)
    if state is not None:
        config: Any = module.pretrained_cfg
        classifier = str(config.get("classifier") or "fc")
        load_weights(module, state, name=name, weights=weights, classifier=classifier)
    from timm.data import resolve_model_data_config

    return Network(module, _recipe(resolve_model_data_config(module)), digest(module), "timm")


def _recipe(config: dict[str, Any]) -> Recipe:
    side = int(config["input_size"][-1])
    interpolation = str(config["interpolation"])
    return Recipe(
        resize_size=int(side / float(config["crop_pct"])),
        crop_size=side,
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        interpolation=interpolation if interpolation in ("bilinear", "bicubic") else "bicubic",
    )
