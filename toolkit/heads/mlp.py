"""A small neural network on cached features: trained with torch, applied with numpy.

With ``hidden=()`` it is one dense sigmoid layer. torch is imported by `Mlp.fit` alone: scoring is a few numpy
products with the learned weights, so predicting needs no torch.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

import numpy as np
import scipy.sparse as sp
from annotated_types import Ge, Gt, Lt
from numpy.typing import NDArray
from scipy.special import expit

from toolkit.errors import HeadError
from toolkit.heads.base import Array, HeadBase, Val, as_features, check_fit, check_val, hold_out
from toolkit.heads.options import check_options
from toolkit.heads.transforms import FeatureTransform, TransformName
from toolkit.progress import Progress, silent

if TYPE_CHECKING:
    from toolkit.heads.mlp_training import Trained

FEW_ROWS_BATCH, MANY_ROWS_BATCH = 64, 256  # 35,000 rows of 6,941 tags: twice the rows a second, a little F1
MANY_ROWS = 8000
_ROWS = 4096  # rows scored at once: bounds the memory of the hidden layers


class Mlp(HeadBase):
    """Transform, dropout, hidden layers with ReLU and dropout, one sigmoid a tag; binary cross-entropy.

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
    transform : str
        What is done to the features first.
    views : bool
        Whether the augmented views handed to `fit` are used.
    seed : int
        Of the first weights, the order of rows, dropout, the choice of views and the hold-out. On a CPU two
        fits with one seed give equal scores.
    device : str
        ``auto`` (a GPU if torch sees one), ``cpu``, ``cuda``, ``cuda:1``, ``mps``: where training runs.

    Attributes
    ----------
    history_ : list of dict
        Of every epoch: ``epoch, train_loss, lr`` and with validation rows ``val_loss, val_precision,
        val_recall, val_micro_f1, val_micro_f1_at_half, threshold``. Precision, recall and F1 are at
        `threshold`, the best global one; losses are summed over tags and averaged over rows.
    epoch_ : int
        The epoch whose weights are kept.
    lr_drops_ : tuple of int
        The epochs up to `epoch_` at which the learning rate fell.
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
        epochs: Annotated[int, Ge(1)] = 60,
        patience: Annotated[int, Ge(1)] = 10,
        lr_factor: Annotated[float, Gt(0), Lt(1)] = 0.5,
        lr_patience: Annotated[int, Ge(1)] = 2,
        min_delta: Annotated[float, Ge(0)] = 1e-4,
        lr_drops: tuple[Annotated[int, Ge(1)], ...] | None = None,
        transform: TransformName = "standardize",
        views: bool = True,
        seed: int = 0,
        device: str = "auto",
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
        self.transform = transform
        self.views = views
        self.seed = seed
        self.device = device

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

        Parameters
        ----------
        views : sequence of array (N, D), optional
            The same rows, augmented: in each epoch a row is drawn from the plain or one of these at random.

        Raises
        ------
        HeadError
            If the arrays do not fit together or hold NaN.
        OptionError
            If an option has a value that is not allowed, or the device does not exist.
        """
        check_options(self)
        features, labels = check_fit(X, Y)
        (N, D), L = features.shape, labels.shape[1]
        pair = None if val is None else check_val(val, D, L)
        arrays = [features, *self._checked_views(views, features.shape)]
        transform = FeatureTransform.fit(self.transform, features)

        everything = np.arange(N)
        if pair is not None or self.lr_drops is not None:
            run = self._train(arrays, labels, everything, transform, pair, progress)
            history = run.history
        else:
            run, history = self._train_twice(arrays, labels, transform, progress)
        self.n_features_, self.n_tags_ = D, L
        self.transform_, self._layers, self.history_ = transform, run.layers, history
        self.epoch_, self.lr_drops_ = run.epoch, run.lr_drops
        return self

    def _train(
        self,
        arrays: Sequence[Any],
        Y: sp.csr_array,
        rows: NDArray[np.intp],
        transform: FeatureTransform,
        val: tuple[Array, sp.csr_array] | None,
        progress: Progress,
    ) -> "Trained":
        from toolkit.heads.mlp_training import train  # imports torch

        return train(self, arrays, Y, rows, transform, val=val, progress=progress)

    def _train_twice(
        self, arrays: Sequence[Any], Y: sp.csr_array, transform: FeatureTransform, progress: Progress
    ) -> tuple["Trained", list[dict[str, float]]]:
        """Find the best epoch on held-out rows, then train on all; one row alone can only do the latter."""
        everything = np.arange(len(arrays[0]))
        first = self
        history: list[dict[str, float]] = []
        rest, held = hold_out(Y, self.seed)
        if len(held):
            pair = (arrays[0][held], Y[held])
            found = self._train(arrays, Y, rest, transform, pair, progress)
            history = found.history
            first = type(self)(**self.get_params() | {"epochs": found.epoch, "lr_drops": found.lr_drops})
        run = first._train(arrays, Y, everything, transform, None, progress)
        return run, history or run.history

    def rows_a_step(self, n: int) -> int:
        """Return the batch size for n training rows."""
        return self.batch_size or (FEW_ROWS_BATCH if n < MANY_ROWS else MANY_ROWS_BATCH)

    def scores(self, X: Any) -> Array:
        """Return the network's sigmoid outputs for X (N, D): (N, L) float32."""
        rows = self._check_X(X)
        out = np.empty((len(rows), self.n_tags_), np.float32)
        for start in range(0, len(rows), _ROWS):
            x = self.transform_(rows[start : start + _ROWS])
            for weight, bias in self._layers[:-1]:
                x = np.maximum(x @ weight.T + bias, 0)
            weight, bias = self._layers[-1]
            expit(x @ weight.T + bias, out=out[start : start + _ROWS])
        return out

    def chosen(self) -> dict[str, Any]:
        """Return the options with the best epoch, and the learning rates up to it, fixed."""
        self._check_fitted()
        return self.get_params() | {"epochs": self.epoch_, "lr_drops": self.lr_drops_}

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
        return out

    def _facts(self) -> dict[str, Any]:
        return {"epoch": self.epoch_, "lr_drops": self.lr_drops_, "history": self.history_}

    def _restore(self, arrays: dict[str, NDArray[Any]], facts: dict[str, Any]) -> None:
        self.transform_ = FeatureTransform(self.transform, arrays["mean"], arrays["scale"])
        count = sum(key.startswith("weight") for key in arrays)
        self._layers = [(arrays[f"weight{n}"], arrays[f"bias{n}"]) for n in range(count)]
        self.epoch_, self.lr_drops_ = facts["epoch"], tuple(facts["lr_drops"])
        self.history_ = facts["history"]


def gather(arrays: Sequence[Any], rows: NDArray[np.intp], which: NDArray[np.intp]) -> Array:
    """Return row ``rows[i]`` of ``arrays[which[i]]`` for every i, (n, D) float32; `HeadError` on NaN."""
    out = np.empty((len(rows), arrays[0].shape[1]), np.float32)
    for number, array in enumerate(arrays):
        mine = which == number
        if mine.any():
            out[mine] = array[rows[mine]]
    return as_features(out)
