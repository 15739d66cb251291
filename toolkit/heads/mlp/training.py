"""The training of the network with torch."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor
from torch.nn import functional as F

from toolkit.arrays.features import Matrix, blocks
from toolkit.arrays.types import Int64Array, RowNumbers
from toolkit.errors import HeadError
from toolkit.heads.base import Val
from toolkit.heads.mlp.layers import IDENTITY, Calibration, Layers, calibrated, learned_calibration
from toolkit.heads.mlp.losses import Asymmetric, CrossEntropy, loss_and_gradient
from toolkit.heads.mlp.options import MlpOptions, Precision
from toolkit.heads.mlp.rows import TrainingRows, mixed, sparse_targets
from toolkit.heads.mlp.schedule import Schedule
from toolkit.heads.transforms import FeatureTransform
from toolkit.runtime.progress import Progress

_VAL_ROWS = 1024
CUTS = 2**16  # validation F1 is measured at thresholds k / CUTS; a power of two, so that counting is exact
BF16_PROCESSORS = ("avx512_bf16", "amx_bf16")  # flags of processors that multiply bf16 faster than float32


@dataclass(frozen=True)
class Trained:
    """The calibrated weights of the best epoch, and the record of the training."""

    layers: Layers
    calibration: Calibration
    epoch: int
    lr_drops: tuple[int, ...]
    history: list[dict[str, float]]


@dataclass(frozen=True)
class Trainer:
    """Trains networks on some of the `rows` of X (N, D) and Y (N, L)."""

    rows: TrainingRows
    Y: sp.csr_array
    progress: Progress

    def train(self, options: MlpOptions, rows: RowNumbers, val: Val = None) -> Trained:
        """Train a network on some rows (n,); return the weights of its best epoch.

        `val` chooses the best epoch, unless ``options.lr_drops`` makes it the last, and the calibration.
        `HeadError` if training diverges, or rows hold NaN or infinity.
        """
        random = np.random.default_rng(options.seed)
        network = Network(options, self.rows.shape[1], self.Y[rows], self.rows.device)
        schedule = Schedule(options, choosing=val is not None and options.lr_drops is None)
        kept, history, epoch, over = network.layers(), list[dict[str, float]](), 0, False
        while not over:
            epoch += 1
            lr = schedule.lr(epoch)
            loss = self._epoch(network, rows, lr, random) / len(rows)
            if not np.isfinite(loss):
                raise HeadError(
                    f"training diverged in epoch {epoch} (loss {loss}); give a lower lr than {lr:g}"
                )
            record = {"epoch": epoch, "train_loss": loss, "lr": lr}
            note = f"loss {loss:.3f}"
            if val is not None:
                record |= network.measure(self.rows.transform, *val)
                note += f", validation micro-F1 {record['val_micro_f1']:.4f}"
            history.append(record)
            if schedule.better(record):
                kept = network.layers()
            over = schedule.over(epoch)
            self.progress("train mlp", epoch, epoch if over else options.epochs, note)
        calibration = options.calibration or IDENTITY
        if options.calibration is None and val is not None and not options.is_plain:
            calibration = learned_calibration(kept, self.rows.transform, *val, seed=options.seed)
        layers = calibrated(kept, calibration)
        return Trained(layers, calibration, schedule.best_epoch, schedule.drops_until_best(), history)

    def _epoch(self, network: "Network", rows: RowNumbers, lr: float, random: np.random.Generator) -> float:
        """Take a step for each batch of rows, in random order and of random views; return the summed loss."""
        order = random.permutation(rows)
        which = random.integers(len(self.rows.matrices), size=len(rows))
        mixup, size = network.options.mixup, network.options.rows_a_step(len(rows))
        total = torch.zeros((), device=self.rows.device)
        for number, x in enumerate(self.rows.batches(order, which, size)):
            y = self.Y[order[number * size : number * size + len(x)]]
            batch = mixed(x, y, mixup, random) if mixup else (x, y)
            total += network.step(*batch, lr)
        return float(total)


class Network:
    """Linear layers with ReLU and dropout between them, and their AdamW.

    They are plain tensors, since torch's layers draw from its global generator. Weights, optimizer state and
    losses are float32; with bf16 the matrix products of training round their factors.
    """

    def __init__(self, options: MlpOptions, D: int, Y: sp.csr_array, device: torch.device) -> None:
        self.options, self.device = options, device
        self.dtype = working_dtype(options.precision, device)
        asymmetric = Asymmetric(options.gamma_pos, options.gamma_neg, options.clip)
        self.loss = asymmetric if options.loss == "asymmetric" else CrossEntropy()
        self.random = torch.Generator(device).manual_seed(options.seed)
        self.keep = (1 - options.dropout, 1 - options.hidden_dropout)
        widths = [D, *filter(None, options.hidden), Y.shape[1]]
        first = torch.Generator().manual_seed(options.seed)
        self.weights: list[Tensor] = []
        self.biases: list[Tensor] = []
        for fan_in, fan_out in pairwise(widths):
            # He et al. 2015 (arXiv 1502.01852) for layers before a ReLU; the last starts at the prevalences
            bound = (6 / fan_in) ** 0.5 if len(self.weights) < len(widths) - 2 else fan_in**-0.5
            weight = torch.empty(fan_out, fan_in).uniform_(-bound, bound, generator=first)
            self.weights.append(weight.to(device).requires_grad_())
            self.biases.append(torch.zeros(fan_out, device=device).requires_grad_())
        positives = np.asarray(Y.sum(axis=0), np.float64)
        prior = np.log((positives + 0.5) / (Y.shape[0] - positives + 0.5)).astype(np.float32)
        with torch.no_grad():
            self.biases[-1].copy_(torch.from_numpy(prior))
        groups = [
            {"params": self.weights, "weight_decay": options.weight_decay},
            {"params": self.biases, "weight_decay": 0.0},
        ]
        # fused: one pass over weights and state instead of a dozen
        self.optimizer = torch.optim.AdamW(groups, lr=options.lr, fused=True)

    def logits(self, x: Tensor, *, training: bool = False) -> Tensor:
        """Return the logits (B, L) float32 of transformed rows x (B, D)."""
        dtype = self.dtype if training else torch.float32
        for number, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            keep = self.keep[min(number, 1)]
            if number:
                x = F.relu(x)
            if training and keep < 1:
                kept = torch.empty(x.shape, device=self.device).bernoulli_(keep, generator=self.random)
                x = x * kept.div_(keep)
            x = F.linear(x.to(dtype), weight.to(dtype), bias.to(dtype))
        return x.float()

    def step(self, x: Tensor, Y: sp.csr_array, lr: float) -> Tensor:
        """Learn from transformed rows x (B, D) and targets Y (B, L); return the summed loss.

        The loss is a sum over tags: in a mean of thousands, a rare tag's gradient would be lost in Adam's
        epsilon.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        logits = self.logits(x, training=True)
        loss, gradient = self._loss(logits.detach(), Y, self.options.label_smoothing)
        self.optimizer.zero_grad()
        torch.autograd.backward(logits, gradient.div_(len(x)))
        self.optimizer.step()
        return loss

    def _loss(self, logits: Tensor, Y: sp.csr_array, smoothing: float) -> tuple[Tensor, Tensor]:
        at, targets = (torch.from_numpy(each).to(self.device) for each in sparse_targets(Y))
        return loss_and_gradient(self.loss, logits, at, targets, smoothing)

    @torch.no_grad()
    def measure(self, transform: FeatureTransform, X: Matrix, Y: sp.csr_array) -> dict[str, float]:
        """Return the loss and micro-averaged precision, recall and F1 on rows X (n, D), Y (n, L).

        Scores are only counted, in `CUTS` steps: no matrix (n, L) is held.
        """
        loss = 0.0
        reached, hits = (np.zeros(CUTS + 1, np.int64) for _ in range(2))
        for part, rows in blocks(X, _VAL_ROWS):
            logits = self.logits(torch.from_numpy(transform(rows)).to(self.device))
            if not torch.isfinite(logits).all():
                lr = self.optimizer.param_groups[0]["lr"]
                raise HeadError(f"training diverged (scores are no numbers); give a lower lr than {lr:g}")
            loss += float(self._loss(logits, Y[part], 0.0)[0])
            steps = (torch.sigmoid(logits) * CUTS).int().view(-1)
            positives = steps[torch.from_numpy(sparse_targets(Y[part])[0]).to(self.device)]
            reached += torch.bincount(steps, minlength=CUTS + 1).cpu().numpy()
            hits += torch.bincount(positives, minlength=CUTS + 1).cpu().numpy()
        return {"val_loss": loss / X.shape[0]} | _at_best_cut(reached, hits)

    def layers(self) -> Layers:
        """Return copies of the weights, on the CPU."""
        pairs = zip(self.weights, self.biases, strict=True)
        return [(w.detach().cpu().numpy().copy(), b.detach().cpu().numpy().copy()) for w, b in pairs]


def _at_best_cut(reached: Int64Array, hits: Int64Array) -> dict[str, float]:
    """Return F1, precision and recall at the cut with the highest F1, from counts of scores in each step."""
    predicted, true = (np.cumsum(counts[::-1])[::-1] for counts in (reached, hits))
    f1 = 2 * true / np.maximum(predicted + true[0], 1)
    cut = int(CUTS - np.argmax(f1[::-1])) if true[0] else CUTS // 2  # of equal ones the highest
    return {
        "val_precision": float(true[cut] / max(predicted[cut], 1)),
        "val_recall": float(true[cut] / max(true[0], 1)),
        "val_micro_f1": float(f1[cut]),
        "val_micro_f1_at_half": float(f1[CUTS // 2]),
        "threshold": cut / CUTS,
    }


def working_dtype(precision: Precision, device: torch.device) -> torch.dtype:
    """Return the type of the factors of matrix products in training.

    ``auto`` is bf16 if the device multiplies it natively: it depends on the machine only, so fits repeat.
    """
    if precision != "auto":
        return {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
    if device.type == "cuda":
        native = torch.cuda.get_device_capability(device) >= (8, 0)
    else:
        flags = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
        native = device.type == "cpu" and any(flags.get(flag) for flag in BF16_PROCESSORS)
    return torch.bfloat16 if native else torch.float32
