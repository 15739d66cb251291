"""A small neural network on cached features: trained with torch, applied with numpy.

Only `Mlp.fit` and `Mlp.add_tags` import torch.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

import numpy as np
import scipy.sparse as sp
from msgspec import Meta
from numpy.typing import NDArray
from scipy.special import expit

from toolkit.arrays.features import Features, Matrix, blocks, take
from toolkit.arrays.types import Float32Array
from toolkit.errors import OptionError
from toolkit.files.json import typed
from toolkit.files.npy import Expected
from toolkit.heads.base import HeadBase, Val, check_fit, hold_out
from toolkit.heads.mlp.layers import (
    IDENTITY,
    ROWS,
    HiddenRows,
    Layers,
    check_chain,
    last_hidden,
    layer_expected,
    linear,
    numbered,
)
from toolkit.heads.mlp.options import EPOCHS, MlpOptions
from toolkit.heads.transforms import FeatureTransform
from toolkit.runtime.devices import resolve_device
from toolkit.runtime.messages import counted
from toolkit.runtime.progress import Progress, silent

if TYPE_CHECKING:  # imports torch
    from toolkit.heads.mlp.training import Trained, Trainer


@dataclass(frozen=True)
class _Facts:
    epoch: Annotated[int, Meta(ge=0)]
    lr_drops: tuple[Annotated[int, Meta(ge=1)], ...]
    history: list[dict[str, Any]]
    calibration: tuple[float, float] = IDENTITY  # absent in older files


class Mlp(HeadBase, MlpOptions):
    """Transform, dropout, hidden layers with ReLU and dropout, a sigmoid for each tag.

    ``-o hidden=0 -o dropout=.25`` is the notebook's dense sigmoid layer. `fit` keeps the epoch with the best
    micro-F1 on validation rows. Without these, and with `lr_drops` None, a stratified 15 % of the rows is
    held out to find the best epoch; a second training on all rows replays its epochs and learning rates.
    With views, each epoch draws a row from the plain rows or one of the views at random.

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
        rows = TrainingRows([X, *(views if self.views else ())], transform, resolve_device(self.device))
        trainer = Trainer(rows, Y, progress)
        if val is not None or self.lr_drops is not None:
            trained = trainer.train(self, np.arange(len(X)), val)
        else:
            trained = self._train_twice(trainer)
        self._layers: Layers = trained.layers
        self._added: Layers = []
        self.transform_, self.calibration_ = transform, trained.calibration
        self.epoch_, self.lr_drops_, self.history_ = trained.epoch, trained.lr_drops, trained.history

    def _check_calibration(self, val: Val) -> None:
        """Raise `OptionError` unless the calibration is two numbers, can be learned, or is not needed."""
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

    def _train_twice(self, trainer: "Trainer") -> "Trained":
        """Find the best epoch on held-out rows, then train on all rows; of one row nothing is held out."""
        everything = np.arange(trainer.rows.shape[0])
        rest, held = hold_out(trainer.Y, self.seed)
        if not len(held):
            return trainer.train(self, everything)
        first = trainer.train(self, rest, (take(trainer.rows.matrices[0], held), trainer.Y[held]))
        fixed = replace(self, epochs=first.epoch, lr_drops=first.lr_drops, calibration=first.calibration)
        return replace(trainer.train(fixed, everything), history=first.history)

    def add_tags(self, X: Any, Y: sp.csr_array, *, progress: Progress = silent) -> Self:
        """Learn the tags Y (N, M) from X (N, D); the scores of the present ones stay equal.

        The new columns are a linear layer on the last hidden layer, which stays fixed. It is trained as a
        network without hidden layers. `history_`, `epoch_` and `lr_drops_` stay those of `fit`.
        """
        features, labels = check_fit(self._check_matrix(X), Y)
        added = replace(
            self,
            hidden=(),
            dropout=self.hidden_dropout if self._layers[1:] else self.dropout,
            transform="raw",
            epochs=max(self.epochs, EPOCHS),  # those of a refit sufficed for other tags
            lr_drops=None,
            calibration=None,
        )
        added.fit(Features([HiddenRows(self._layers, self.transform_, features)]), labels, progress=progress)
        self._added = [*self._added, *added._layers]
        self.n_tags_ += added.n_tags_
        return self

    def scores(self, X: Any) -> Float32Array:
        """Return the network's sigmoid outputs for X (N, D): (N, L) float32."""
        rows = self._check_matrix(X)
        out = np.empty((len(rows), self.n_tags_), np.float32)
        for part, x in blocks(rows, ROWS):
            hidden, first = last_hidden(self._layers, self.transform_(x)), 0
            # one product for each group of tags: in a wider one the present tags could round differently
            for layer in (self._layers[-1], *self._added):
                last = first + len(layer[1])
                expit(linear(hidden, layer), out=out[part, first:last])
                first = last
        return out

    def chosen(self) -> dict[str, Any]:
        """Return the options that replay the best epoch, its learning rates and the calibration."""
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
        return {name: getattr(self, f"{name}_") for name in ("epoch", "lr_drops", "calibration", "history")}

    def _expected(self, name: str) -> Expected:
        if name in ("mean", "scale"):
            return FeatureTransform.expected(name, self.n_features_)
        return layer_expected(name)

    def _restore(self, arrays: dict[str, NDArray[Any]], facts: dict[str, Any]) -> None:
        learned = typed(facts, _Facts)
        self.transform_ = FeatureTransform(self.transform, arrays["mean"], arrays["scale"])
        self._layers, self._added = numbered(arrays, ""), numbered(arrays, "added_")
        check_chain(self._layers, self._added, self.n_features_, self.n_tags_)
        self.epoch_, self.lr_drops_ = learned.epoch, learned.lr_drops
        self.calibration_, self.history_ = learned.calibration, learned.history
