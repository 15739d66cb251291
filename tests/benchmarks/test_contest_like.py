"""The generator the benchmarks at contest scale stand on: it must be what its docstring says."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from benchmarks import contest_like as generator
from benchmarks.contest_like import contest_like, write_contest_like, zipf_shares
from toolkit.evaluation.duplicates import near_duplicate_groups

N, D, L = 6000, 256, 700


@pytest.fixture(scope="module")
def data():
    return contest_like(N, D, L)


def test_features__are_like_pooled_activations(data):
    assert data.X.dtype == np.float32 and data.X.shape == (N, D)
    assert data.X.min() == 0
    assert 0.4 < (data.X == 0).mean() < 0.75
    assert (data.X.std(axis=0) > 0).all()


def test_tags__27_an_image(data):
    assert data.Y.dtype == bool and data.Y.shape == (N, L)
    assert data.Y.nnz / N == pytest.approx(27, rel=0.03)


def test_supports__follow_zipf(data):
    support = np.bincount(data.Y.indices, minlength=L)
    expected = N * zipf_shares(N, L, 27.0)
    np.testing.assert_allclose(support[:20], expected[:20], rtol=0.1)
    rank = np.arange(1, L + 1)
    slope = np.polyfit(np.log(rank[10:400]), np.log(support[10:400]), 1)[0]
    assert slope == pytest.approx(-generator.EXPONENT, abs=0.1)
    assert (np.diff(expected) <= 0).all()


def test_rarest_tags__have_about_three_images():
    Y = contest_like(500, 4, 2000).Y
    assert np.bincount(Y.indices, minlength=2000)[-1000:].mean() == pytest.approx(generator.FEWEST, rel=0.1)


def test_tags__are_predicted_by_the_features(data):
    train, test = slice(0, 4000), slice(4000, N)
    for tag in (0, 3, 30):
        y = data.Y[:, [tag]].toarray().ravel()
        found = LogisticRegression(C=1e-2, solver="newton-cholesky").fit(data.X[train], y[train])
        assert roc_auc_score(y[test], found.decision_function(data.X[test])) > 0.75


def test_duplicates__are_found_and_nothing_else_is(data):
    _, sizes = np.unique(near_duplicate_groups(data.X), return_counts=True)
    assert len(sizes) == N - sum(int(0.03 * n) for n in (2048, 2048, N - 4096))


def test_without_duplicates__no_row_is_like_another():
    X = contest_like(1000, D, 60, duplicates=0, tags_per_image=5).X
    assert len(set(near_duplicate_groups(X))) == 1000


def test_written__is_what_is_held(tmp_path, data):
    Y = write_contest_like(tmp_path / "X.npy", N, D, L)
    held = np.load(tmp_path / "X.npy", mmap_mode="r")
    assert held.dtype == np.float16
    np.testing.assert_array_equal(held, data.X.astype(np.float16))
    assert (Y != data.Y).nnz == 0


def test_seed__decides_all():
    one, same, other = (contest_like(300, 8, 40, tags_per_image=4, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.X, same.X)
    assert (one.Y != same.Y).nnz == 0 and (one.Y != other.Y).nnz > 0


@pytest.mark.parametrize(("L", "mean"), [(20, 27.0), (5000, 0.1)])
def test_impossible_means__are_refused(L, mean):
    with pytest.raises(ValueError, match=r"tags an image cannot be had of .* tags; allowed are"):
        zipf_shares(1000, L, mean)
