"""The training loop of `toolkit.heads.mlp`: the only module of the heads that imports torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from toolkit.decisions import best_threshold
from toolkit.errors import OptionError
from toolkit.heads.base import Array
from toolkit.heads.transforms import FeatureTransform
from toolkit.progress import Progress

if TYPE_CHECKING:
    from toolkit.heads.mlp import Mlp

Layers = list[tuple[Array, Array]]  # weight (out, in) and bias (out,) of each layer
_VAL_ROWS = 1024
LEAST_LR = 0.01  # share of the first learning rate below which training stops: F1 then moves by 1e-4 at most


@dataclass(frozen=True)
class Trained:
    """What a training leaves: the weights of `epoch`, and how they came about."""

    layers: Layers
    epoch: int
    lr_drops: tuple[int, ...]
    history: list[dict[str, float]]


def train(
    options: "Mlp",
    arrays: Sequence[Any],
    Y: sp.csr_array,
    rows: NDArray[np.intp],
    transform: FeatureTransform,
    *,
    val: tuple[Array, sp.csr_array] | None,
    progress: Progress,
) -> Trained:
    """Train a network and return the weights of its best epoch, or of the last where none is chosen.

    Parameters
    ----------
    options : Mlp
        Its constructor options.
    arrays : sequence of array (N, D)
        The plain rows and any augmented views of them.
    Y : csr_array (N, L) bool
    rows : ndarray (n,)
        The rows to train on.
    transform : FeatureTransform
    val : (X, Y), optional
        Rows the epochs are measured on; they choose the epoch unless ``options.lr_drops`` fixes it.
    progress : Progress
        Told once an epoch.
    """
    random = np.random.default_rng(options.seed)
    network = Network(options, arrays[0].shape[1], Y[rows])
    schedule = _Schedule(options, choosing=val is not None and options.lr_drops is None)
    kept, history = network.layers(), list[dict[str, float]]()
    for epoch in range(1, options.epochs + 1):
        lr = schedule.lr(epoch)
        loss = network.epoch(_batches(options, arrays, Y, rows, transform, random), lr) / len(rows)
        record = {"epoch": epoch, "train_loss": loss, "lr": lr}
        note = f"loss {loss:.3f}"
        if val is not None:
            record |= network.measure(transform, *val)
            note += f", validation micro-F1 {record['val_micro_f1']:.4f}"
        history.append(record)
        progress("train mlp", epoch, options.epochs, note)
        if schedule.better(record):
            kept = network.layers()
        if schedule.over(epoch):
            break
    return Trained(kept, schedule.best_epoch, schedule.drops_until_best(), history)


def _batches(
    options: "Mlp",
    arrays: Sequence[Any],
    Y: sp.csr_array,
    rows: NDArray[np.intp],
    transform: FeatureTransform,
    random: np.random.Generator,
) -> Any:
    """Yield one epoch's batches in random order: transformed rows (B, D) and their tags (B, L), float32."""
    from toolkit.heads.mlp import gather

    order = random.permutation(rows)
    which = random.integers(len(arrays), size=len(rows))
    size = options.rows_a_step(len(rows))
    for start in range(0, len(rows), size):
        batch = slice(start, start + size)
        yield (
            transform(gather(arrays, order[batch], which[batch])),
            Y[order[batch]].toarray().astype(np.float32),
        )


class Network:
    """Linear layers with ReLU and dropout between them, as plain tensors, and their AdamW.

    torch's own layers draw from its global generator; these draw from their own.
    """

    def __init__(self, options: "Mlp", D: int, Y: sp.csr_array) -> None:
        self.device = pick_device(options.device)
        self.draw = torch.Generator(self.device).manual_seed(options.seed)
        self.keep = (1 - options.dropout, 1 - options.hidden_dropout)
        widths = [D, *filter(None, options.hidden), Y.shape[1]]
        first = torch.Generator().manual_seed(options.seed)
        self.weights: list[Tensor] = []
        self.biases: list[Tensor] = []
        for fan_in, fan_out in pairwise(widths):
            # He et al. 2015 (arXiv 1502.01852) for layers before a ReLU; the last starts at the prevalences
            bound = (6 / fan_in) ** 0.5 if len(self.weights) < len(widths) - 2 else fan_in**-0.5
            weight = torch.empty(fan_out, fan_in).uniform_(-bound, bound, generator=first)
            self.weights.append(weight.to(self.device).requires_grad_())
            self.biases.append(torch.zeros(fan_out, device=self.device).requires_grad_())
        with torch.no_grad():
            self.biases[-1].copy_(torch.from_numpy(prior_logits(Y)))
        self.optimizer = torch.optim.AdamW(
            [
                {"params": self.weights, "weight_decay": options.weight_decay},
                {"params": self.biases, "weight_decay": 0.0},
            ],
            lr=options.lr,
        )

    def logits(self, x: Tensor, *, training: bool = False) -> Tensor:
        """Return the logits (B, L) of transformed rows x (B, D)."""
        for number, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            keep = self.keep[min(number, 1)]
            if number:
                x = F.relu(x)
            if training and keep < 1:
                x = x * (torch.empty_like(x).bernoulli_(keep, generator=self.draw) / keep)
            x = F.linear(x, weight, bias)
        return x

    def epoch(self, batches: Any, lr: float) -> float:
        """Take one step a batch; return the sum of all rows' losses.

        The loss is summed over tags: averaged over thousands of them, a rare tag's gradient would drown in
        Adam's epsilon.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        total = torch.zeros((), device=self.device)
        for x, y in batches:
            logits = self.logits(torch.from_numpy(x).to(self.device), training=True)
            loss = F.binary_cross_entropy_with_logits(
                logits, torch.from_numpy(y).to(self.device), reduction="sum"
            )
            self.optimizer.zero_grad()
            (loss / len(x)).backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            total += loss.detach()
        return float(total)

    @torch.no_grad()
    def measure(self, transform: FeatureTransform, X: Array, Y: sp.csr_array) -> dict[str, float]:
        """Return the loss, and precision, recall and F1 pooled over all tags, on rows X (n, D), Y (n, L)."""
        scores, loss = np.empty(Y.shape, np.float32), 0.0
        for start in range(0, len(X), _VAL_ROWS):
            block = slice(start, start + _VAL_ROWS)
            logits = self.logits(torch.from_numpy(transform(X[block])).to(self.device))
            y = torch.from_numpy(Y[block].toarray().astype(np.float32)).to(self.device)
            loss += float(F.binary_cross_entropy_with_logits(logits, y, reduction="sum"))
            scores[block] = torch.sigmoid(logits).cpu().numpy()
        threshold, f1 = best_threshold(scores, Y)
        hits, predicted, true = _counts(scores, Y, threshold)
        hits_at_half, predicted_at_half, _ = _counts(scores, Y, 0.5)
        return {
            "val_loss": loss / len(X),
            "val_precision": hits / max(predicted, 1),
            "val_recall": hits / max(true, 1),
            "val_micro_f1": f1,
            "val_micro_f1_at_half": 2 * hits_at_half / max(predicted_at_half + true, 1),
            "threshold": threshold,
        }

    def layers(self) -> Layers:
        """Return copies of the weights, on the CPU."""
        pairs = zip(self.weights, self.biases, strict=True)
        return [(w.detach().cpu().numpy().copy(), b.detach().cpu().numpy().copy()) for w, b in pairs]


class _Schedule:
    """Decides learning rates, the best epoch and the end, from validation or by replaying `lr_drops`."""

    def __init__(self, options: "Mlp", *, choosing: bool) -> None:
        self.options = options
        self.choosing = choosing
        self.drops = list(options.lr_drops or ())
        self.best_epoch = 0
        self._best = (-1.0, 0.0)
        self._best_f1_epoch = 0
        self._plateau_f1 = -1.0
        self._flat = 0

    def lr(self, epoch: int) -> float:
        """Return the learning rate of this epoch."""
        fallen = sum(drop <= epoch for drop in self.drops)
        return self.options.lr * self.options.lr_factor**fallen

    def better(self, record: dict[str, float]) -> bool:
        """Take note of an epoch; return whether its weights are the ones to keep.

        Of epochs with equal F1 the one with the lower loss is kept, yet only a higher F1 renews patience.
        """
        epoch = int(record["epoch"])
        if not self.choosing:
            self.best_epoch = epoch
            return epoch == self.options.epochs
        f1 = record["val_micro_f1"]
        self._watch(f1, epoch)
        if f1 > self._best[0]:
            self._best_f1_epoch = epoch
        rank = (f1, -record["val_loss"])
        if rank <= self._best:
            return False
        self._best, self.best_epoch = rank, epoch
        return True

    def _watch(self, f1: float, epoch: int) -> None:
        """Let the learning rate fall from the next epoch on where F1 has stopped growing."""
        self._flat += 1
        if f1 > self._plateau_f1 + self.options.min_delta:
            self._plateau_f1, self._flat = f1, 0
        elif self._flat >= self.options.lr_patience:
            self.drops.append(epoch + 1)
            self._flat = 0

    def over(self, epoch: int) -> bool:
        """Return whether patience has run out, or the learning rate has become too low to change anything."""
        if not self.choosing:
            return False
        spent = self.lr(epoch + 1) < LEAST_LR * self.options.lr
        return spent or epoch - self._best_f1_epoch >= self.options.patience

    def drops_until_best(self) -> tuple[int, ...]:
        """Return the epochs up to the best at which the learning rate fell."""
        return tuple(drop for drop in self.drops if drop <= self.best_epoch)


def _counts(scores: Array, Y: sp.csr_array, threshold: float) -> tuple[int, int, int]:
    """Return true positives, predicted positives and positives, pooled over all tags."""
    at = Y.tocoo().coords
    hits = int((scores[at] >= np.float32(threshold)).sum())
    return hits, int((scores >= np.float32(threshold)).sum()), Y.nnz


def prior_logits(Y: sp.csr_array) -> Array:
    """Return each tag's logit of its share of rows (L,) float32, with half a row added to either side."""
    positives = np.asarray(Y.sum(axis=0), np.float64)
    return np.log((positives + 0.5) / (Y.shape[0] - positives + 0.5)).astype(np.float32)


def pick_device(name: str) -> torch.device:
    """Return the device called `name`, ``auto`` being the best there is; `OptionError` if it is not there."""
    if name == "auto":
        best = "mps" if torch.backends.mps.is_available() else "cpu"
        return torch.device("cuda" if torch.cuda.is_available() else best)
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise OptionError(
            f"device {name!r} cannot be used ({reason}); give auto, cpu, cuda, cuda:N or mps"
        ) from error
