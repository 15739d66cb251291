"""A small neural network on cached features: trained with torch, applied with numpy.

torch is imported by `Mlp.fit` alone: scoring is a few numpy products with the learned weights.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.special import expit

from toolkit.arrays.features import Features, Matrix, blocks, take
from toolkit.arrays.types import Float32Array, RowNumbers
from toolkit.errors import OptionError
from toolkit.heads.base import HeadBase, Val, check_fit, hold_out
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
from toolkit.heads.mlp.options import EPOCHS, MlpOptions
from toolkit.heads.transforms import FeatureTransform
from toolkit.runtime.devices import resolve_device
from toolkit.runtime.messages import counted
from toolkit.runtime.progress import Progress, silent

if TYPE_CHECKING:  # it imports torch
    from toolkit.heads.mlp.training import Trained, Trainer


class Mlp(HeadBase, MlpOptions):
    """Transform, dropout, hidden layers with ReLU and dropout, one sigmoid a tag.

    Its options are those of `MlpOptions`; ``-o hidden=0 -o dropout=.25`` is the notebook's dense sigmoid
    layer. `fit` keeps the epoch with the best micro-F1 on validation rows. Without these, and with `lr_drops`
    None, a stratified 15 % of the rows is held out to find the best epoch, and a second training on all rows
    replays that number of epochs and learning rates. With views, a row is drawn in each epoch from the plain
    rows or one of the views at random. Rows too large to load are read in every epoch, in training order.

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
        Slope and intercept included in the last layer; 1 and 0 if training is plain.
    """

    name: ClassVar[str] = "mlp"
    uses_views: ClassVar[bool] = True

    def _fit(self, X: Matrix, Y: sp.csr_array, val: Val, views: list[Any], progress: Progress) -> None:
        from toolkit.heads.mlp.rows import TrainingRows
        from toolkit.heads.mlp.training import Trainer

        self._check_calibration(val)
        transform = FeatureTransform.fit(self.transform, X)
        matrices = [X, *(views if self.views else ())]
        trainer = Trainer(TrainingRows(matrices, transform, resolve_device(self.device)), Y, progress)
        if val is not None or self.lr_drops is not None:
            result, calibration = self._train(trainer, np.arange(len(X)), val)
        else:
            result, calibration = self._train_twice(trainer)
        self.transform_, self.history_ = transform, result.history
        self._layers: Layers = calibrated(result.layers, calibration)
        self._added: Layers = []
        self.epoch_, self.lr_drops_, self.calibration_ = result.epoch, result.lr_drops, calibration

    def _check_calibration(self, val: Val) -> None:
        """Raise `OptionError` unless the calibration is two numbers, not needed, or can be learned."""
        if self.calibration is not None and len(self.calibration) != 2:
            raise OptionError(
                f"option 'calibration' of head {self.name!r} got {counted(len(self.calibration), 'number')}; "
                "it takes two: slope,intercept"
            )
        if self.calibration is None and not self.is_plain and val is None and self.lr_drops is not None:
            raise OptionError(
                f"option 'lr_drops' of head {self.name!r} replays a fit, and its loss needs that fit's "
                "'calibration' too; give both, as chosen() does, or validation rows"
            )

    def _train(self, trainer: "Trainer", rows: RowNumbers, val: Val) -> tuple["Trained", Calibration]:
        """Train on some rows; return the result and what calibrates its logits."""
        result = trainer.train(self, rows, val)
        if self.calibration is not None:
            return result, self.calibration
        if val is None or self.is_plain:
            return result, IDENTITY
        return result, learned_calibration(result.layers, trainer.rows.transform, *val, seed=self.seed)

    def _train_twice(self, trainer: "Trainer") -> tuple["Trained", Calibration]:
        """Find the best epoch on held-out rows, then train on all; of one row alone, only the latter."""
        X, everything = trainer.rows.matrices[0], np.arange(trainer.rows.shape[0])
        rest, held = hold_out(trainer.Y, self.seed)
        if not len(held):
            return self._train(trainer, everything, None)
        first, calibration = self._train(trainer, rest, (take(X, held), trainer.Y[held]))
        again = replace(self, epochs=first.epoch, lr_drops=first.lr_drops, calibration=calibration)
        return replace(again._train(trainer, everything, None)[0], history=first.history), calibration

    def add_tags(self, X: Any, Y: sp.csr_array, *, progress: Progress = silent) -> Self:
        """Learn further tags Y (N, M) from X (N, D); the scores of the present ones stay as they are.

        The new columns are a linear layer on the last hidden layer, which stays fixed. It is trained like a
        network without hidden layers: the best epoch is found on held-out rows, then all rows are used.
        `history_`, `epoch_` and `lr_drops_` stay those of the first fit.
        """
        self._check_fitted()
        features, labels = check_fit(X, Y)
        self._check_X(features[:0])
        added = replace(
            self,
            hidden=(),
            dropout=self.hidden_dropout if self._layers[1:] else self.dropout,
            transform="raw",
            epochs=max(self.epochs, EPOCHS),  # after a refit `epochs` is what sufficed for other tags
            lr_drops=None,
            calibration=None,
        )
        added.fit(Features([HiddenRows(self._layers, self.transform_, features)]), labels, progress=progress)
        self._added = [*self._added, *added._layers]
        self.n_tags_ += added.n_tags_
        return self

    def scores(self, X: Any) -> Float32Array:
        """Return the network's sigmoid outputs for X (N, D): (N, L) float32."""
        rows = self._check_X(X)
        out = np.empty((len(rows), self.n_tags_), np.float32)
        for part, x in blocks(rows, ROWS):
            hidden = last_hidden(self._layers, self.transform_(x))
            first = 0
            # one product a group of tags: in one with more columns the present ones could round differently
            for layer in (self._layers[-1], *self._added):
                last = first + len(layer[1])
                expit(linear(hidden, layer), out=out[part, first:last])
                first = last
        return out

    @property
    def history(self) -> list[dict[str, Any]]:
        """The epochs of the fit (`history_`)."""
        return self.history_

    def chosen(self) -> dict[str, Any]:
        """Return the options with the best epoch, the learning rates up to it and the calibration, fixed."""
        self._check_fitted()
        chosen = {"epochs": self.epoch_, "lr_drops": self.lr_drops_, "calibration": self.calibration_}
        return self.get_params() | chosen

    def _arrays(self) -> dict[str, NDArray[Any]]:
        out: dict[str, NDArray[Any]] = {"mean": self.transform_.mean, "scale": self.transform_.scale}
        for prefix, layers in (("", self._layers), ("added_", self._added)):
            for number, (weight, bias) in enumerate(layers):
                out |= {f"{prefix}weight{number}": weight, f"{prefix}bias{number}": bias}
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
        self._layers, self._added = numbered(arrays, ""), numbered(arrays, "added_")
        self.epoch_, self.lr_drops_ = facts["epoch"], tuple(facts["lr_drops"])
        self.calibration_ = tuple(facts.get("calibration", IDENTITY))  # earlier heads have none
        self.history_ = facts["history"]
