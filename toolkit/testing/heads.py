"""The contract of heads as a class of tests, for heads of other packages too; it needs pytest."""
# ruff: noqa: D102 - tests need no docstrings

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import scipy.sparse as sp

from toolkit.arrays.types import Float32Array
from toolkit.errors import HeadError, OptionError
from toolkit.evaluation.decisions.cuts import best_threshold
from toolkit.heads.base import Head
from toolkit.heads.options import describe_options, option_types


def example_rows(N: int = 240, D: int = 12, L: int = 5, seed: int = 0) -> tuple[Float32Array, sp.csr_array]:
    """Return X (N, D) and Y (N, L + 2): L tags that X predicts, one that no row has and one that all have."""
    random = np.random.default_rng(seed)
    X = random.normal(size=(N, D)).astype(np.float32)
    logits = X @ np.random.default_rng(99).normal(size=(D, L)) * 2 - 1
    Y = random.random((N, L)) < 1 / (1 + np.exp(-logits))
    return np.abs(X) + X, sp.csr_array(np.hstack([Y, np.zeros((N, 1), bool), np.ones((N, 1), bool)]))


class HeadContract:
    """Tests that every head must pass. Derive a test class from it.

    Attributes
    ----------
    head_class : type
    options : mapping, optional
        Options that make the head fast; it must still learn `example_rows`.

    Examples
    --------
    In ``tests/test_my_head.py`` of another package:

    >>> from toolkit.heads.knn.head import Knn
    >>> class TestMyHead(HeadContract):
    ...     head_class = Knn
    ...     options = {"k": 5, "temperature": 0.1}
    >>> TestMyHead().test_scores__shape_range_and_better_than_chance()
    """

    head_class: ClassVar[type[Head]]
    options: ClassVar[Mapping[str, Any]] = {}

    def make(self, **options: Any) -> Head:
        """Return a new head with the `options` of the class and these."""
        return self.head_class(**{**self.options, **options})

    @classmethod
    @cache
    def fitted(cls) -> Head:
        """Return a head fitted on `example_rows`, shared by all tests, which must not change it."""
        return cls().make().fit(*example_rows(), val=example_rows(80, seed=1))

    def test_options__are_stored_and_described(self) -> None:
        head = self.make()
        params = head.get_params()
        assert set(params) == set(option_types(self.head_class)) == set(describe_options(self.head_class))
        assert self.head_class(**params).get_params() == params
        assert head.set_params(**params) is head and head.get_params() == params
        with pytest.raises(HeadError, match="nope"):
            head.set_params(nope=1)

    def test_options__a_wrong_type_is_an_option_error(self) -> None:
        if "seed" in self.make().get_params():
            with pytest.raises(OptionError, match="seed"):
                self.make(seed="x").fit(*example_rows(30))

    def test_scikit_learn__clones_it(self) -> None:
        from sklearn.base import clone

        head = self.make()
        assert clone(head).get_params() == head.get_params()

    def test_scores__shape_range_and_better_than_chance(self) -> None:
        X, Y = example_rows(120, seed=2)
        scores = self.fitted().scores(X)
        assert scores.shape == Y.shape and scores.dtype == np.float32
        assert scores.min() >= 0 and scores.max() <= 1
        share = Y.nnz / Y.shape[0] / Y.shape[1]  # if all tags are predicted, F1 is 2 share / (share + 1)
        assert best_threshold(scores, Y)[1] > 2 * share / (share + 1) + 0.1
        assert scores[:, -2].max() < 0.2 and scores[:, -1].min() > 0.8

    def test_scores__no_rows_and_one_row(self) -> None:
        (X, _), scores = example_rows(5), self.fitted().scores
        assert scores(X[:0]).shape == (0, 7)
        one_by_one = np.vstack([scores(X[row : row + 1]) for row in range(5)])
        np.testing.assert_allclose(one_by_one, scores(X), atol=1e-5)

    def test_scores__float16_rows_are_read(self) -> None:
        half = example_rows(20)[0].astype(np.float16)
        scores = self.fitted().scores
        np.testing.assert_array_equal(scores(half), scores(half.astype(np.float32)))

    def test_save_load__bit_equal_and_without_pickle(self, tmp_path: Path) -> None:
        self.fitted().save(tmp_path)
        X, _ = example_rows(30, seed=3)
        loaded = self.head_class.load(tmp_path)
        np.testing.assert_array_equal(loaded.scores(X), self.fitted().scores(X))
        for state in ("get_params", "chosen", "diagnostics"):
            assert getattr(loaded, state)() == getattr(self.fitted(), state)()
        assert loaded.history == self.fitted().history
        for path in tmp_path.rglob("*"):
            if path.suffix == ".npy":
                np.load(path, allow_pickle=False)
            elif path.is_file() and path.suffix != ".safetensors":
                json.loads(path.read_text(encoding="utf-8"))

    def test_load__not_its_own_files(self, tmp_path: Path) -> None:
        with pytest.raises(HeadError):
            self.head_class.load(tmp_path)
        self.fitted().save(tmp_path)
        other = type("Other", (self.head_class,), {"name": f"not {self.head_class.name}"})
        with pytest.raises(HeadError):
            other.load(tmp_path)  # type: ignore[attr-defined]

    def test_fit__a_second_fit_starts_afresh_and_seeds_repeat(self) -> None:
        X, Y = example_rows(90)
        head = self.make().fit(*example_rows(60, D=7, L=2, seed=5))
        np.testing.assert_array_equal(head.fit(X, Y).scores(X), self.make().fit(X, Y).scores(X))

    def test_fit__without_validation_rows_and_with_few_rows(self) -> None:
        X, Y = example_rows(60)
        for N in (60, 3, 2, 1):
            scores = self.make().fit(X[:N], Y[:N]).scores(X)
            assert scores.shape == (60, 7) and np.isfinite(scores).all()

    def test_fit__takes_dense_and_integer_labels(self) -> None:
        X, Y = example_rows(60)
        want = self.make().fit(X, Y).scores(X)
        dense: Any = Y.toarray().astype(np.uint8)
        np.testing.assert_array_equal(self.make().fit(X, dense).scores(X), want)

    def test_fit__views_are_learned_from_or_ignored(self) -> None:
        X, Y = example_rows(60)
        scores = self.make().fit(X, Y, views=[X + 1]).scores(X)
        if self.head_class.uses_views:
            assert scores.shape == Y.shape
            with pytest.raises(HeadError):
                self.make().fit(X, Y, views=[X[:9]])
        else:
            np.testing.assert_array_equal(scores, self.make().fit(X, Y).scores(X))

    def test_fit__arrays_that_do_not_fit_are_head_errors(self) -> None:
        X, Y = example_rows(30)
        nan = X.copy()
        nan[3, 3] = np.nan
        three: Any = Y.toarray() * 3
        for wrong in ((X, Y[:20]), (X[:0], Y[:0]), (X, Y[:, :0]), (nan, Y), (X[0], Y), (X, three)):
            with pytest.raises(HeadError):
                self.make().fit(*wrong)
        for val in ((X[:, :5], Y), (X, Y[:, :3])):
            with pytest.raises(HeadError):
                self.make().fit(X, Y, val=val)
        for head, rows in ((self.make(), X), (self.fitted(), X[:, :9])):
            with pytest.raises(HeadError):
                head.scores(rows)

    def test_fit__progress_of_every_stage_ends_complete(self) -> None:
        last: dict[str, tuple[int, int | None]] = {}

        def progress(stage: str, done: int, total: int | None, note: str = "") -> None:
            last[stage] = (done, total)

        self.make().fit(*example_rows(60), progress=progress)
        assert [stage for stage, (done, total) in last.items() if done != total] == []

    def test_chosen__refits_without_choosing_again(self) -> None:
        chosen = self.fitted().chosen()
        assert self.head_class(**chosen).fit(*example_rows()).chosen() == chosen

    def test_history_and_diagnostics__are_json(self) -> None:
        history, diagnostics = self.fitted().history, self.fitted().diagnostics()
        assert isinstance(history, list) and isinstance(diagnostics, dict)
        assert json.loads(json.dumps([history, diagnostics])) == [history, diagnostics]

    def test_add_tags__present_scores_stay_or_it_is_a_head_error(self) -> None:
        X, Y = example_rows(90)
        head = self.make().fit(X, Y[:, [0, 1, 5]])
        before = head.scores(X)
        try:
            head.add_tags(X, Y[:, [2, 3]])
        except HeadError:
            assert head.n_tags_ == 3
        assert head.n_features_ == 12 and head.scores(X).shape == (90, head.n_tags_)
        np.testing.assert_array_equal(head.scores(X)[:, :3], before)
