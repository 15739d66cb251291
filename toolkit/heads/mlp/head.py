"""A small neural network on cached features: trained with torch, applied with numpy.

With ``hidden=()`` it is one dense sigmoid layer. torch is imported by `Mlp.fit` alone: scoring is a few numpy
products with the learned weights, so predicting needs no torch.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

import numpy as np
import scipy.sparse as sp
from annotated_types import Ge, Gt, Lt
from numpy.typing import NDArray
from scipy.special import expit

from toolkit.arrays.features import Features, Matrix, blocks, take
from toolkit.errors import HeadError, OptionError
from toolkit.heads.base import Array, HeadBase, Val, check_fit, check_val, hold_out
from toolkit.heads.mlp.layers import (
    IDENTITY,
    ROWS,
    Calibration,
    HiddenRows,
    Layers,
    calibrated,
    last_hidden,
    learned_calibration,
    linear,
    numbered,
)
from toolkit.heads.options import check_options
from toolkit.heads.transforms import FeatureTransform, TransformName
from toolkit.runtime.messages import counted
from toolkit.runtime.progress import Progress, silent

if TYPE_CHECKING:
    from toolkit.heads.mlp.training import Trained, Trainer

FEW_ROWS_BATCH, MANY_ROWS_BATCH = 64, 256  # 35,000 rows of 6,941 tags: twice the rows a second, a little F1
MANY_ROWS = 8000
EPOCHS = 60


class Mlp(HeadBase):
    """Transform, dropout, hidden layers with ReLU and dropout, one sigmoid a tag.

    ``-o hidden=0 -o dropout=.25`` is the notebook's dense sigmoid layer. The defaults were chosen by the mean
    test micro-F1 of ucmerced over six random splits.

    Parameters
    ----------
    hidden : tuple of int
        Widths of the hidden layers; empty (or zeros) means none.
    dropout, hidden_dropout : float
        Share of the transformed features, and of each hidden layer, zeroed at random while training.
    lr, weight_decay : float
        Of AdamW; biases do not decay.
    batch_size : int, optional
        Rows a step; more than there are rows means all rows. None is `FEW_ROWS_BATCH`, or from `MANY_ROWS`
        rows on `MANY_ROWS_BATCH`.
    epochs : int
        Passes over the rows at most; with `lr_drops` given, exactly.
    patience : int
        Epochs without a better validation F1 after which training stops; it also stops once the learning rate
        is below a hundredth of `lr`.
    lr_factor, lr_patience, min_delta : float, int, float
        The learning rate is multiplied by `lr_factor` after `lr_patience` epochs without a gain of
        `min_delta` in validation F1 (the notebook's .5, 2 and 1e-4).
    lr_drops : tuple of int, optional
        Epochs from which on the learning rate is multiplied by `lr_factor` once more. Given, no validation
        rows are used: `epochs` epochs replay that schedule. None learns both from validation rows.
    loss : str
        ``bce`` (binary cross-entropy) or ``asymmetric`` (Ridnik et al. 2021, arXiv 2009.14119).
    gamma_neg, gamma_pos, clip : float
        Of the asymmetric loss: how far easy negatives and positives are passed over, and the score up to
        which negatives cost nothing.
    label_smoothing : float
        The training targets 1 and 0 become 1 and 0 moved towards a half by half of this share.
    mixup : float
        Training rows are mixed in pairs, transformed features and targets alike, in shares drawn from
        Beta(mixup, mixup) (Zhang et al. 2018, arXiv 1710.09412). 0 mixes none.
    calibration : two floats, optional
        Slope and intercept that all logits are given after training. None learns them from validation rows
        unless training is plain: `loss` bce, neither smoothed nor mixed, gives probabilities already.
    transform : str
        What is done to the features first.
    views : bool
        Whether the augmented views handed to `fit` are used.
    seed : int
        Of the first weights, the order of rows, dropout, the choice of views and the hold-out. On a CPU two
        fits with one seed give equal scores.
    device : str
        Where training runs: ``auto`` (a GPU if torch sees one), ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
    precision : str
        Of the matrix products in training: ``fp32``, ``bf16`` (weights and sums stay float32), or ``auto``:
        bf16 where the processor or GPU computes in it.

    Attributes
    ----------
    history_ : list of dict
        Of every epoch: ``epoch, train_loss, lr`` and with validation rows ``val_loss, val_precision,
        val_recall, val_micro_f1, val_micro_f1_at_half, threshold``. Precision, recall and F1 are at
        `threshold`, the best global one to 2^-16, before `calibration_`; losses are summed over tags and
        averaged over rows, `val_loss` of targets neither smoothed nor mixed.
    epoch_ : int
        The epoch whose weights are kept.
    lr_drops_ : tuple of int
        The epochs up to `epoch_` at which the learning rate fell.
    calibration_ : two floats
        Slope and intercept put into the last layer; 1 and 0 where training is plain.
    """

    name: ClassVar[str] = "mlp"
    uses_views: ClassVar[bool] = True

    def __init__(
        self,
        *,
        hidden: tuple[Annotated[int, Ge(0)], ...] = (512,),
        dropout: Annotated[float, Ge(0), Lt(1)] = 0.25,
        hidden_dropout: Annotated[float, Ge(0), Lt(1)] = 0.5,
        lr: Annotated[float, Gt(0)] = 1e-3,
        weight_decay: Annotated[float, Ge(0)] = 1e-2,
        batch_size: Annotated[int, Ge(1)] | None = None,
        epochs: Annotated[int, Ge(1)] = EPOCHS,
        patience: Annotated[int, Ge(1)] = 10,
        lr_factor: Annotated[float, Gt(0), Lt(1)] = 0.5,
        lr_patience: Annotated[int, Ge(1)] = 2,
        min_delta: Annotated[float, Ge(0)] = 1e-4,
        lr_drops: tuple[Annotated[int, Ge(1)], ...] | None = None,
        loss: Literal["bce", "asymmetric"] = "bce",
        gamma_neg: Annotated[float, Ge(0)] = 4.0,
        gamma_pos: Annotated[float, Ge(0)] = 1.0,
        clip: Annotated[float, Ge(0), Lt(1)] = 0.05,
        label_smoothing: Annotated[float, Ge(0), Lt(1)] = 0.0,
        mixup: Annotated[float, Ge(0)] = 0.0,
        calibration: tuple[float, ...] | None = None,
        transform: TransformName = "standardize",
        views: bool = True,
        seed: int = 0,
        device: str = "auto",
        precision: Literal["auto", "fp32", "bf16"] = "auto",
    ) -> None:
        self.hidden = hidden
        self.dropout = dropout
        self.hidden_dropout = hidden_dropout
        self.lr = lr
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.epochs = epochs
        self.patience = patience
        self.lr_factor = lr_factor
        self.lr_patience = lr_patience
        self.min_delta = min_delta
        self.lr_drops = lr_drops
        self.loss = loss
        self.gamma_neg = gamma_neg
        self.gamma_pos = gamma_pos
        self.clip = clip
        self.label_smoothing = label_smoothing
        self.mixup = mixup
        self.calibration = calibration
        self.transform = transform
        self.views = views
        self.seed = seed
        self.device = device
        self.precision = precision

    def fit(
        self,
        X: Any,
        Y: sp.csr_array,
        *,
        val: Val | None = None,
        views: Sequence[Any] | None = None,
        progress: Progress = silent,
    ) -> Self:
        """Train on X (N, D) and Y (N, L); keep the epoch with the best micro-F1 on `val`.

        Without `val`, and with `lr_drops` None, a stratified 15 % of the rows is held out to find the best
        epoch, and a second training on all rows replays that number of epochs and learning rates.

        Too large to load (`toolkit.arrays.features`), the rows are read in every epoch, in the order they are
        trained on.

        Parameters
        ----------
        views : sequence of array (N, D), optional
            The same rows, augmented: in each epoch a row is drawn from the plain or one of these at random.

        Raises
        ------
        HeadError
            If the arrays do not fit together or hold NaN, or if training diverges.
        OptionError
            If an option has a value that is not allowed, or the device does not exist.
        """
        from toolkit.heads.mlp.training import Trainer  # imports torch

        check_options(self)
        features, labels = check_fit(X, Y)
        (N, D), L = features.shape, labels.shape[1]
        pair = None if val is None else check_val(val, D, L)
        self._check_calibration(pair)
        matrices = [features, *self._checked_views(views, features.shape)]
        transform = FeatureTransform.fit(self.transform, features)

        trainer = Trainer(self.device, matrices, labels, transform, progress)
        if pair is not None or self.lr_drops is not None:
            run, calibration = self._train(trainer, np.arange(N), pair)
        else:
            run, calibration = self._train_twice(trainer)
        self.n_features_, self.n_tags_ = D, L
        self.transform_, self.history_ = transform, run.history
        self._layers = calibrated(run.layers, calibration)
        self._added: Layers = []
        self.epoch_, self.lr_drops_, self.calibration_ = run.epoch, run.lr_drops, calibration
        return self

    def add_tags(self, X: Any, Y: sp.csr_array, *, progress: Progress = silent) -> Self:
        """Learn further tags Y (N, M) from X (N, D); the scores of the present ones stay as they are.

        The new columns are a linear layer on the last hidden layer, which stays fixed. It is trained like a
        network without hidden layers: the best epoch is found on held-out rows, then all rows are used.
        `history_`, `epoch_` and `lr_drops_` go on telling of the first fit.

        Raises
        ------
        HeadError
            If nothing is fitted yet, or the arrays do not fit together or hold NaN.
        """
        self._check_fitted()
        features, labels = check_fit(X, Y)
        self._check_X(features[:0])
        hidden = Features([HiddenRows(self._layers, self.transform_, features)])
        options = {
            "hidden": (),
            "dropout": self.hidden_dropout if self._layers[1:] else self.dropout,
            "transform": "raw",
            "epochs": max(self.epochs, EPOCHS),  # after a refit `epochs` is what sufficed for other tags
            "lr_drops": None,
            "calibration": None,
        }
        added = type(self)(**self.get_params() | options).fit(hidden, labels, progress=progress)
        self._added = [*self._added, *added._layers]
        self.n_tags_ += added.n_tags_
        return self

    def _train(
        self, trainer: "Trainer", rows: NDArray[np.intp], val: tuple[Matrix, sp.csr_array] | None
    ) -> tuple["Trained", Calibration]:
        """Train on some rows; return that and what calibrates its logits."""
        run = trainer.train(self, rows, val)
        if self.calibration is not None:
            return run, self.calibration
        if val is None or self._is_plain():
            return run, IDENTITY
        return run, learned_calibration(run.layers, trainer.rows.transform, *val, seed=self.seed)

    def _train_twice(self, trainer: "Trainer") -> tuple["Trained", Calibration]:
        """Find the best epoch on held-out rows, then train on all; one row alone can only do the latter."""
        X, everything = trainer.rows.matrices[0], np.arange(trainer.rows.shape[0])
        rest, held = hold_out(trainer.Y, self.seed)
        if not len(held):
            return self._train(trainer, everything, None)
        found, calibration = self._train(trainer, rest, (take(X, held), trainer.Y[held]))
        options = {"epochs": found.epoch, "lr_drops": found.lr_drops, "calibration": calibration}
        again, _ = type(self)(**self.get_params() | options)._train(trainer, everything, None)
        return replace(again, history=found.history), calibration

    def _is_plain(self) -> bool:
        """Return whether training makes the scores probabilities."""
        return self.loss == "bce" and not self.label_smoothing and not self.mixup

    def rows_a_step(self, n: int) -> int:
        """Return the batch size for n training rows."""
        return self.batch_size or (FEW_ROWS_BATCH if n < MANY_ROWS else MANY_ROWS_BATCH)

    def scores(self, X: Any) -> Array:
        """Return the network's sigmoid outputs for X (N, D): (N, L) float32."""
        rows = self._check_X(X)
        out = np.empty((len(rows), self.n_tags_), np.float32)
        for part, x in blocks(rows, ROWS):
            hidden = last_hidden(self._layers, self.transform_(x))
            first = 0
            # a product a group of tags: in one with more columns the present ones could round differently
            for layer in (self._layers[-1], *self._added):
                last = first + len(layer[1])
                expit(linear(hidden, layer), out=out[part, first:last])
                first = last
        return out

    def chosen(self) -> dict[str, Any]:
        """Return the options with the best epoch, the learning rates up to it and the calibration, fixed."""
        self._check_fitted()
        return self.get_params() | {
            "epochs": self.epoch_,
            "lr_drops": self.lr_drops_,
            "calibration": self.calibration_,
        }

    def _check_calibration(self, val: object | None) -> None:
        """Raise `OptionError` unless the calibration is two numbers, not needed, or can be learned."""
        if self.calibration is not None and len(self.calibration) != 2:
            raise OptionError(
                f"option 'calibration' of head {self.name!r} got {counted(len(self.calibration), 'number')}; "
                "it takes two: slope,intercept"
            )
        if self.calibration is None and not self._is_plain() and val is None and self.lr_drops is not None:
            raise OptionError(
                f"option 'lr_drops' of head {self.name!r} replays a fit, and its loss needs that fit's "
                "'calibration' too; give both, as chosen() does, or validation rows"
            )

    def _checked_views(self, views: Sequence[Any] | None, shape: tuple[int, ...]) -> list[Any]:
        if views is None or not self.views:
            return []
        for number, view in enumerate(views, start=1):
            if np.shape(view) != shape:
                raise HeadError(
                    f"view {number} has shape {np.shape(view)}, the plain rows {shape}; embed it again"
                )
        return list(views)

    def _arrays(self) -> dict[str, NDArray[Any]]:
        out: dict[str, NDArray[Any]] = {"mean": self.transform_.mean, "scale": self.transform_.scale}
        for number, (weight, bias) in enumerate(self._layers):
            out |= {f"weight{number}": weight, f"bias{number}": bias}
        for number, (weight, bias) in enumerate(self._added):
            out |= {f"added_weight{number}": weight, f"added_bias{number}": bias}
        return out

    def _facts(self) -> dict[str, Any]:
        return {
            "epoch": self.epoch_,
            "lr_drops": self.lr_drops_,
            "calibration": self.calibration_,
            "history": self.history_,
        }

    def _restore(self, arrays: dict[str, NDArray[Any]], facts: dict[str, Any]) -> None:
        self.transform_ = FeatureTransform(self.transform, arrays["mean"], arrays["scale"])
        self._layers = numbered(arrays, "")
        self._added = numbered(arrays, "added_")
        self.epoch_, self.lr_drops_ = facts["epoch"], tuple(facts["lr_drops"])
        self.calibration_ = tuple(facts.get("calibration", IDENTITY))  # heads of before have none
        self.history_ = facts["history"]
