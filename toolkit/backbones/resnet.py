"""torchvision's ResNet50 without its classifier: 2048-d globally averaged features (He et al. 2015)."""

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torchvision.models import ResNet50_Weights, resnet50

from toolkit.backbones.base import Pixels, ResizeMode, preprocessing_of
from toolkit.backbones.weights import (
    DEFAULT_WEIGHTS,
    TORCHVISION,
    State,
    digest_of,
    random_seed,
    read_weights,
)
from toolkit.errors import OptionError, WeightsError
from toolkit.spec import EmbeddingSpec

Precision = Literal["auto", "fp32", "bf16", "fp16"]
DIM = 2048
SMALLEST = 32  # pixels: the network halves its input five times
_AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


class ResNet50:
    """Frozen ResNet50, average-pooled.

    Parameters
    ----------
    weights : str
        ``imagenet1k-v1``, ``imagenet1k-v2``, a ``.pth`` or ``.safetensors`` file, or ``random:SEED``.
    resize : {"crop", "squash"}
        See `toolkit.backbones.base.Preprocessing`. Sizes and statistics come from the weights.
    input_size : int, optional
        Side of the square the network sees, in pixels, at least 32; by default that of the weights (224).
    flip : bool
        Average each embedding with that of the mirror image: twice the work, a little more F1.
    device : str
        ``auto`` (CUDA, then MPS, then CPU), ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
    precision : {"auto", "fp32", "bf16", "fp16"}
        ``auto`` is fp32: whether a faster one keeps the features faithful is not measured here.
    """

    def __init__(
        self,
        *,
        weights: str = DEFAULT_WEIGHTS,
        resize: ResizeMode = "crop",
        input_size: int | None = None,
        flip: bool = False,
        device: str = "auto",
        precision: Precision = "auto",
    ) -> None:
        state = read_weights(weights, ResNet50_Weights)
        entry = ResNet50_Weights[TORCHVISION.get(weights, "IMAGENET1K_V1")]
        if input_size is not None and input_size < SMALLEST:
            raise OptionError(f"--input-size got {input_size}; give {SMALLEST} or more")
        self._preprocess = preprocessing_of(entry.transforms(), resize, input_size=input_size, flip=flip)
        self._precision = "fp32" if precision == "auto" else precision
        self._device = _device(device)
        network = _network(weights, state)
        sha = digest_of(network.state_dict())
        network.fc = torch.nn.Identity()
        self._network = network.eval().to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        scale = torch.tensor(self._preprocess.std) * 255
        self._offset = (torch.tensor(self._preprocess.mean) * 255).to(self._device)
        self._scale = scale.to(self._device)
        self.spec = EmbeddingSpec(
            backbone="resnet50",
            weights=weights,
            weights_sha256=sha,
            preprocessing=str(self._preprocess),
            pooling="avg",
            dim=DIM,
            precision=self._precision,
        )

    def preprocess(self, image: Image.Image) -> Pixels:
        """Return an RGB image as (H, H, 3) uint8, H being the input size."""
        return self._preprocess(image)

    @torch.inference_mode()
    def forward(self, batch: Pixels) -> NDArray[np.float32]:
        """Return (B, 2048) float32 embeddings of (B, H, H, 3) uint8 pixels."""
        pixels = torch.from_numpy(batch).to(self._device, dtype=torch.float32)
        # (B, H, W, 3) seen as (B, 3, H, W) is channels_last already: no copy
        x = ((pixels - self._offset) / self._scale).permute(0, 3, 1, 2)
        kind = _AUTOCAST.get(self._precision)
        with torch.autocast(self._device.type, dtype=kind, enabled=kind is not None):
            out: torch.Tensor = self._network(x)
            if self._preprocess.flip:
                out = (out + self._network(x.flip(-1))) / 2
        return out.to(torch.float32).cpu().numpy()


def _network(weights: str, state: State | None) -> torch.nn.Module:
    seed = random_seed(weights)
    if seed is not None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return resnet50(weights=None)  # type: ignore[no-any-return]
    network: torch.nn.Module = resnet50(weights=None)
    assert state is not None
    wanted = network.state_dict()
    # the classifier is dropped anyway, so weights without one, or with one for other classes, are fine
    usable = {key: value for key, value in state.items() if not key.startswith("fc.")}
    missing = [key for key in wanted if key not in usable and not key.startswith("fc.")]
    missing = [key for key in missing if not key.endswith("num_batches_tracked")]
    wrong = [key for key, value in usable.items() if key not in wanted or value.shape != wanted[key].shape]
    if missing or wrong:
        first = (missing + wrong)[0]
        raise WeightsError(
            f"{weights} does not fit resnet50: {len(missing + wrong)} tensors differ, first {first!r}"
        )
    network.load_state_dict({key: value.to(torch.float32) for key, value in usable.items()}, strict=False)
    torch.nn.init.zeros_(network.fc.weight)  # type: ignore[arg-type,union-attr]
    torch.nn.init.zeros_(network.fc.bias)  # type: ignore[arg-type,union-attr]
    return network


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    allowed = "auto, cpu, cuda, cuda:N, mps"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise OptionError(f"--device got {name!r}; allowed are {allowed}") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise OptionError(f"--device {name}: this machine has no usable CUDA GPU; use --device cpu")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise OptionError("--device mps: this machine has no Metal GPU; use --device cpu")
    if device.type not in ("cpu", "cuda", "mps"):
        raise OptionError(f"--device got {name!r}; allowed are {allowed}")
    return device
