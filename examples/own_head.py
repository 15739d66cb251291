"""A head of your own, compared with logistic regression on made-up features.

Run it with ``python examples/own_head.py``. It downloads nothing and takes a few seconds.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

import toolkit
from toolkit.heads.base import HeadBase, as_labels


@dataclass(kw_only=True, eq=False, repr=False)
class Prior(HeadBase):
    """Scores every image with the share of training images that have the tag."""

    name = "prior"

    smoothing: float = 1.0

    def _fit(self, X: Any, Y: Any, val: Any, views: Any, progress: Any) -> None:
        """Count the tags; the features are not looked at."""
        self._share = (np.asarray(Y.sum(axis=0)) + self.smoothing) / (len(X) + 2 * self.smoothing)

    def scores(self, X: Any) -> Any:
        """Return (N, L) float32: the same row for every image."""
        return np.tile(self._share.astype(np.float32), (len(self._check_X(X)), 1))

    def _arrays(self) -> dict[str, Any]:
        return {"share": self._share}

    def _restore(self, arrays: dict[str, Any], facts: dict[str, Any]) -> None:
        self._share = arrays["share"]


def make_data(rows: int = 600, features: int = 32, tags: int = 8, seed: int = 0) -> tuple[Any, Any]:
    """Return features X (N, D), and labels Y (N, L) that depend on them with some noise."""
    random = np.random.default_rng(seed)
    X = random.normal(size=(rows, features)).astype(np.float32)
    noise = random.normal(scale=2.0, size=(rows, tags))
    return X, X @ random.normal(size=(features, tags)) + noise > np.linspace(2, 8, tags)


def micro_f1(predicted: Any, Y: Any) -> float:
    """Return F1 over all tags of all rows together."""
    hits = predicted.multiply(as_labels(Y)).sum()
    return float(2 * hits / (predicted.sum() + as_labels(Y).sum()))


def main() -> None:
    """Fit each head on train rows, tune its rule on val rows, measure it on test rows."""
    X, Y = make_data()
    train, val, test = toolkit.stratified_split(as_labels(Y), (0.6, 0.2, 0.2), seed=0)
    for head in (Prior(), toolkit.get_head("logreg")(C=0.1)):
        head.fit(X[train], as_labels(Y)[train], val=(X[val], as_labels(Y)[val]))
        rule = toolkit.parse_rule("global").fit(head.scores(X[val]), Y[val])
        f1 = micro_f1(rule.apply(head.scores(X[test])), Y[test])
        print(f"{head.name}: {rule.describe()}, micro F1 {f1:.3f}")


if __name__ == "__main__":
    main()
