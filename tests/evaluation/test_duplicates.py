"""Near-duplicate groups against brute force."""

import logging

import numpy as np

from toolkit.evaluation.duplicates import DUPLICATE_COSINE, near_duplicate_groups


def test_groups__equal_brute_force():
    random = np.random.default_rng(0)
    base = random.normal(size=(200, 500)).astype(np.float32)
    X = np.vstack([base, base[:30] + random.normal(scale=0.1, size=(30, 500)).astype(np.float32)])
    X = np.vstack([X, base[:10] * 1.0])
    groups = near_duplicate_groups(X)
    centred = X - X.mean(axis=0)
    unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    close = unit @ unit.T >= DUPLICATE_COSINE
    assert close.sum() > 240 + 2 * 30
    np.testing.assert_array_equal(groups[:, None] == groups, close | (close.astype(int) @ close > 0))


def test_groups__digests_join_and_zero_rows_do_not():
    X = np.random.default_rng(0).normal(size=(30, 8)).astype(np.float32)
    X[3:6] = X.mean(axis=0)
    groups = near_duplicate_groups(X, digests=["a", "", "a", *[""] * 27])
    assert groups[0] == groups[2] != groups[1]


def test_groups__features_that_separate_nothing_are_not_used(caplog):
    direction = np.random.default_rng(0).normal(size=16)
    X = (np.arange(60)[:, None] * direction).astype(np.float32)
    with caplog.at_level(logging.WARNING):
        groups = near_duplicate_groups(X, digests=["same", "same", *[""] * 58])
    assert len(set(groups)) == 59 and groups[0] == groups[1]
    assert "look alike to these features" in caplog.text
