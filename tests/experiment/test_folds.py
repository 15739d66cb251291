"""--folds: rules are tuned on scores of heads that never saw the row."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from tests.made_up import made_up
from toolkit.errors import OptionError, SplitError
from toolkit.evaluation.decisions.registry import parse_rule
from toolkit.evaluation.splits import stratified_split
from toolkit.experiment.dataset import load_dataset
from toolkit.experiment.options import DataOptions
from toolkit.experiment.saved_scores import SavedScores
from toolkit.heads.registry import get_head, load_head
from toolkit.verbs.compare import compare
from toolkit.verbs.fit import fit

C = {"C": 0.5}


def out_of_fold(data, K, seed=0):
    """Return pool rows and their out-of-fold scores, by hand."""
    X, Y, split = made_up()[0], data.Y, data.split
    pool = np.sort(np.concatenate([split.train, split.val]))
    dealt = stratified_split(Y[pool], [1 / K] * K, seed=seed, groups=data.groups[pool])
    scores = np.full((len(pool), Y.shape[1]), np.nan, np.float32)
    for held in dealt:
        rest = np.setdiff1d(np.arange(len(pool)), held)
        scores[held] = get_head("logreg")(**C).fit(X[pool[rest]], Y[pool[rest]]).scores(X[pool[held]])
    return pool, scores


def test_fit__tunes_on_out_of_fold_scores_and_measures_the_pools_head(given):
    report = fit("logreg", options=C, folds=4, **given)
    data = load_dataset(DataOptions(**given))
    pool, scores = out_of_fold(data, 4)
    rule = parse_rule("global").fit(scores, data.Y[pool])
    np.testing.assert_allclose(report.rule.to_dict()["thresholds"], rule.to_dict()["thresholds"], atol=1e-4)
    X, test = made_up()[0], data.split.test
    head = get_head("logreg")(**C).fit(X[pool], data.Y[pool])
    predicted = rule.apply(head.scores(X[test])).toarray()
    assert report.metrics.micro_f1 == pytest.approx(
        f1_score(data.Y[test].toarray(), predicted, average="micro"), abs=1e-6
    )
    kept = SavedScores.read(report.folder, "tuning")
    assert kept.top.img_path.tolist() == [data.ids[row] for row in pool]
    np.testing.assert_array_equal(kept.Y.toarray(), data.Y[pool].toarray())
    np.testing.assert_allclose(kept.top.scores.max(axis=1), scores.max(axis=1), atol=1e-4)


def test_fit__without_test_rows_says_what_it_measured(given):
    report = fit("logreg", options=C, folds=3, test_fraction=0.0, **given)
    assert report.measured_on.startswith("160 train and val rows, cross-fitted")


def test_compare__the_ensemble_learns_from_the_pool(given):
    found = compare(["logreg", "knn", "ensemble"], folds=3, refit=False, **given)
    head = load_head(given["artifacts"] / "heads" / "ensemble")
    kept = {
        name: SavedScores.read(given["artifacts"] / "heads" / name, "tuning") for name in ("logreg", "knn")
    }
    from toolkit.heads.ensemble import Ensemble

    dense = {}
    for name, one in kept.items():
        dense[name] = np.zeros(one.Y.shape, np.float32)
        np.put_along_axis(dense[name], one.top.columns.astype(int), one.top.scores, axis=1)
    again = Ensemble(members=("logreg", "knn")).combine(dense, kept["knn"].Y)
    np.testing.assert_allclose(again.coefficients_, head.coefficients_, atol=1e-4)
    seconds = found.to_dict()["seconds"]
    assert seconds["logreg: folds"] > 0 and "logreg: refit" not in seconds and "split" in seconds


def test_errors(given):
    with pytest.raises(OptionError, match="--folds got 1; give 0 .* or 2 or more"):
        fit("knn", folds=1, **given)
    with pytest.raises(SplitError, match="rows are too few for --folds 500"):
        fit("knn", folds=500, **given)
