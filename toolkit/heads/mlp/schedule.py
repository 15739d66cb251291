"""The learning rates, the best epoch and the last epoch of a training."""

from toolkit.heads.mlp.options import MlpOptions

LEAST_LR = 0.01  # share of the first learning rate below which training stops: F1 then moves by 1e-4 at most


class Schedule:
    """Chooses learning rates, the best and the last epoch by validation, or replays `lr_drops`.

    Unless it is `choosing`, all epochs run and the last is the best.
    """

    def __init__(self, options: MlpOptions, *, choosing: bool) -> None:
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
        return self.options.lr * self.options.lr_factor ** sum(drop <= epoch for drop in self.drops)

    def better(self, record: dict[str, float]) -> bool:
        """Register an epoch; return whether it is the best so far.

        Of epochs with equal F1 the one with the lower loss is better, but only a higher F1 renews patience.
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
        """Reduce the learning rate from the next epoch if F1 has stopped growing."""
        self._flat += 1
        if f1 > self._plateau_f1 + self.options.min_delta:
            self._plateau_f1, self._flat = f1, 0
        elif self._flat >= self.options.lr_patience:
            self.drops.append(epoch + 1)
            self._flat = 0

    def over(self, epoch: int) -> bool:
        """Return whether this epoch is the last: by number, by patience or by a too low learning rate."""
        last = epoch == self.options.epochs
        if last or not self.choosing:
            return last
        spent = self.lr(epoch + 1) < LEAST_LR * self.options.lr
        return spent or epoch - self._best_f1_epoch >= self.options.patience

    def drops_until_best(self) -> tuple[int, ...]:
        """Return the epochs up to the best at which the learning rate fell."""
        return tuple(drop for drop in self.drops if drop <= self.best_epoch)
