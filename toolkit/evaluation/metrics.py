"""F1 and related metrics of multi-label predictions, by scikit-learn's definitions.

Undefined values, such as the AP of a tag without positives, are nan and left out of means.
"""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import scipy.sparse as sp

from toolkit.arrays.types import Float32Array, Float64Array, Int64Array, RowNumbers

TAG_BLOCK = 256  # tags sorted at a time for AP: 7,000 rows x 256 float32 is 7 MB


@dataclass(frozen=True)
class Metrics:
    """Predictions compared with the truth.

    Attributes
    ----------
    micro_f1, micro_precision, micro_recall : float
        Of all (image, tag) pairs; precision is 0 when nothing was predicted, as in scikit-learn.
    macro_f1 : float
        Mean F1 over the `n_tags_with_support` tags that have a positive in the truth; nan without any.
    macro_f1_all : float
        Mean F1 over all `n_tags`; a tag without positives and predictions counts 0, as in scikit-learn.
    samples_f1 : float
        Mean over images of each image's F1; an image with neither truth nor prediction counts 0.
    map : float
        Mean average precision over tags with support; nan without scores.
    n_never_predicted : int
        Tags with support that were never predicted.
    support, predicted, true_positive : ndarray (L,) int64
        Per tag.
    f1, ap : ndarray (L,) float64
        Per tag; `f1` is nan for tags with neither positives nor predictions, `ap` for tags without positives.
    """

    micro_f1: float
    micro_precision: float
    micro_recall: float
    macro_f1: float
    macro_f1_all: float
    samples_f1: float
    map: float
    n_tags: int
    n_tags_with_support: int
    n_never_predicted: int
    support: Int64Array
    predicted: Int64Array
    true_positive: Int64Array
    f1: Float64Array
    ap: Float64Array

    def to_dict(self) -> dict[str, Any]:
        """Return all single numbers, for json: nan becomes None."""
        single = {key: value for key, value in vars(self).items() if not isinstance(value, np.ndarray)}
        return {key: None if math.isnan(value) else value for key, value in single.items()}


def evaluate(Y_true: sp.csr_array, Y_pred: sp.csr_array, scores: Float32Array | None = None) -> Metrics:
    """Compare predictions (N, L) with the truth (N, L), both boolean CSR; `scores` (N, L) adds mAP.

    `ValueError` if the shapes differ.
    """
    shapes = {Y_true.shape, Y_pred.shape} | ({scores.shape} if scores is not None else set())
    if len(shapes) != 1:
        raise ValueError(f"truth, predictions and scores must have one shape, they have {sorted(shapes)}")
    support, predicted = _per_tag(Y_true), _per_tag(Y_pred)
    true_positive = _per_tag(Y_true.multiply(Y_pred).tocsr())
    f1 = ratio(2 * true_positive, support + predicted, math.nan)
    ap = average_precision(Y_true, scores) if scores is not None else np.full(len(support), np.nan)
    seen = support > 0
    tp, fp, fn = per_image_counts(Y_true, Y_pred).T
    return Metrics(
        micro_f1=_share(2 * tp.sum(), support.sum() + predicted.sum()),
        micro_precision=_share(tp.sum(), predicted.sum()),
        micro_recall=_share(tp.sum(), support.sum()),
        macro_f1=_mean(f1[seen]),
        macro_f1_all=_mean(np.nan_to_num(f1)),
        samples_f1=_mean(ratio(2 * tp, 2 * tp + fp + fn)),
        map=_mean(ap[seen]),
        n_tags=len(support),
        n_tags_with_support=int(seen.sum()),
        n_never_predicted=int((seen & (predicted == 0)).sum()),
        support=support,
        predicted=predicted,
        true_positive=true_positive,
        f1=f1,
        ap=ap,
    )


BANDS = (1, 5, 20, 50, 200, 1000)
"""Positives among the training rows at which a band of tags begins; the first holds tags with none."""


def support_bands(train_support: Int64Array) -> list[tuple[str, RowNumbers]]:
    """Return the bands of tags by their positives in training (L,): name such as ``5-19``, and columns.

    Bands without tags are left out.
    """
    band = np.digitize(train_support, BANDS)
    names = ["0", *(f"{low}-{high - 1}" for low, high in pairwise(BANDS)), f"{BANDS[-1]}+"]
    return [(names[number], np.flatnonzero(band == number)) for number in np.unique(band)]


def per_image_counts(Y_true: sp.csr_array, Y_pred: sp.csr_array) -> Int64Array:
    """Return true positives, false positives and false negatives of each image, (N, 3)."""
    hits = Y_true.multiply(Y_pred)
    tp, true, predicted = (np.asarray(Y.sum(axis=1), np.int64).ravel() for Y in (hits, Y_true, Y_pred))
    return np.stack([tp, predicted - tp, true - tp], axis=1)


def average_precision(Y_true: sp.csr_array, scores: Float32Array) -> Float64Array:
    """Return AP of each tag, (L,); nan for tags without positives. Equal scores count as one cut.

    AP is the sum over cuts of (recall gained) times (precision), scikit-learn's ``average_precision_score``.
    """
    n_tags = Y_true.shape[1]
    out = np.full(n_tags, np.nan)
    columns = Y_true.tocsc()
    for start in range(0, n_tags, TAG_BLOCK):
        stop = min(start + TAG_BLOCK, n_tags)
        truth = columns[:, start:stop].toarray()
        block = scores[:, start:stop]
        order = np.argsort(-block, axis=0, kind="stable")
        ranked = np.take_along_axis(block, order, axis=0)
        hit = np.take_along_axis(truth, order, axis=0)
        for tag in np.flatnonzero(truth.any(axis=0)):
            # a cut lies after the last of each run of equal scores
            cuts = np.append(np.flatnonzero(np.diff(ranked[:, tag])), len(ranked) - 1)
            hits = np.cumsum(hit[:, tag])[cuts]
            gained = np.diff(hits, prepend=0)
            out[start + tag] = float((gained * hits / (cuts + 1)).sum() / hits[-1])
    return out


def ratio(numerator: Any, denominator: Any, undefined: float = 0.0) -> Float64Array:
    """Return the quotients of two arrays; `undefined` where the denominator is 0."""
    out: Float64Array = np.full_like(numerator, undefined, dtype=np.float64)
    np.divide(numerator, denominator, out=out, where=denominator > 0)
    return out


def _per_tag(Y: sp.csr_array) -> Int64Array:
    return np.bincount(Y.indices[Y.data.astype(bool)], minlength=Y.shape[1]).astype(np.int64)


def _share(part: int, whole: int) -> float:
    return float(part / whole) if whole else 0.0


def _mean(values: Float64Array) -> float:
    return float(values.mean()) if len(values) else math.nan
