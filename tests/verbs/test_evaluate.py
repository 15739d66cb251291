"""evaluate against scikit-learn, with rows missing, in excess and in another order."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score

from tests.made_up import TAGS, made_up, names, write_labels
from toolkit.errors import LabelError
from toolkit.files.csv import write_csv
from toolkit.verbs.evaluate import evaluate
from toolkit.verbs.fit import fit
from toolkit.verbs.predict import predict


def test_metrics__are_scikit_learns(tmp_path):
    _, Y = made_up(n=50)
    _, P = made_up(3, n=50)
    write_labels(tmp_path / "truth.csv", names(50), Y)
    order = np.random.default_rng(0).permutation(50)[:45]
    bare = [names(50)[row].rpartition("/")[2] for row in order]
    write_labels(tmp_path / "p.csv", [*bare, "extra.jpg"], np.vstack([P[order], P[:1]]))
    found = evaluate(tmp_path / "p.csv", tmp_path / "truth.csv")
    predicted = np.zeros_like(P)
    predicted[order] = P[order]
    for average in ("micro", "macro", "samples"):
        want = f1_score(Y, predicted, average=average, zero_division=0)
        assert getattr(found.metrics, f"{average}_f1") == pytest.approx(want)
    assert (found.n_images, found.n_missing, found.n_extra) == (50, 5, 1)
    assert np.isnan(found.metrics.map)


def test_tags__only_in_the_predictions_count_against_them(tmp_path):
    write_csv(tmp_path / "t.csv", ("img_path", "tags"), [("1.jpg", "sea"), ("2.jpg", "car,sea")])
    write_csv(tmp_path / "p.csv", ("img_path", "tags"), [("1.jpg", "sea|boat"), ("2.jpg", "sea")])
    found = evaluate(tmp_path / "p.csv", tmp_path / "t.csv", predictions_separator="|")
    assert found.space.tags == ("car", "sea", "boat")
    assert found.metrics.micro_precision == pytest.approx(2 / 3)
    assert found.metrics.micro_recall == pytest.approx(2 / 3)
    tags = tmp_path / "tags.txt"
    tags.write_text("sea\ncar\n")
    with pytest.raises(LabelError, match="boat"):
        evaluate(tmp_path / "p.csv", tmp_path / "t.csv", predictions_separator="|", tags=tags)


def test_errors(tmp_path):
    write_csv(tmp_path / "t.csv", ("img_path", "tags"), [("1.jpg", "sea")])
    write_csv(tmp_path / "p.csv", ("img_path", "tags"), [("9.jpg", "sea")])
    with pytest.raises(LabelError, match="no prediction of .* one is for '9.jpg', an image is '1.jpg'"):
        evaluate(tmp_path / "p.csv", tmp_path / "t.csv")
    with pytest.raises(LabelError, match=r"there is no file of predictions .*none.csv; check the path"):
        evaluate(tmp_path / "none.csv", tmp_path / "t.csv")
    with pytest.raises(LabelError, match=r"there is no label file .*none.csv; check the path"):
        evaluate(tmp_path / "p.csv", tmp_path / "none.csv")


def test_scores_beside__give_map(home, given):
    fit("logreg", options={"C": 0.1}, **given)
    report = predict("train", artifacts=given["artifacts"], out=home / "s.csv")
    _, Y = made_up()
    metrics = evaluate(report.path, home / "labels.csv").metrics
    with np.load(report.scores) as top:
        order = [list(top["tags"]).index(tag) for tag in TAGS]
        scores = np.zeros((160, 4), np.float32)
        np.put_along_axis(scores, top["columns"].astype(int), top["scores"], axis=1)
    want = average_precision_score(Y, scores[:, order], average="macro")
    assert metrics.map == pytest.approx(want, abs=1e-6)
    assert metrics.micro_f1 > 0.6
    report.scores.write_bytes(b"broken")
    with pytest.raises(LabelError, match="is damaged .*predict again, or remove it"):
        evaluate(report.path, home / "labels.csv")


def test_notes__tags_joined_by_another_mark(tmp_path):
    truth, predictions = tmp_path / "t.csv", tmp_path / "p.csv"
    write_csv(truth, ("img_path", "tags"), [("1.jpg", "sea,sand"), ("2.jpg", "ship"), ("3.jpg", "sand,ship")])
    for mark in (" ", "/", ";"):
        rows = [("1.jpg", f"sea{mark}sand"), ("2.jpg", "ship"), ("3.jpg", f"sand{mark}ship")]
        write_csv(predictions, ("img_path", "tags"), rows)
        found = evaluate(predictions, truth)
        assert found.metrics.micro_f1 < 1
        assert any(
            note.startswith(f"{predictions}: ") and repr(mark) in note and "--predictions-separator" in note
            for note in found.notes
        )
        assert evaluate(predictions, truth, predictions_separator=mark).metrics.micro_f1 == 1
        turned = evaluate(truth, predictions)
        assert any("(--separator)" in note and note.startswith(f"{predictions}: ") for note in turned.notes)
        assert evaluate(truth, predictions, separator=mark).metrics.micro_f1 == 1


def test_notes__none_about_separators_where_they_are_right(tmp_path):
    write_csv(tmp_path / "t.csv", ("img_path", "tags"), [("1.jpg", "sea,tennis court"), ("2.jpg", "ship")])
    found = evaluate(tmp_path / "t.csv", tmp_path / "t.csv")
    assert found.metrics.micro_f1 == 1
    assert not any("separator" in note for note in found.notes)


def test_fold_tags__across_both_files(tmp_path):
    write_csv(tmp_path / "t.csv", ("img_path", "tags"), [("1.jpg", "sea,sand"), ("2.jpg", "Ship")])
    write_csv(tmp_path / "p.csv", ("img_path", "tags"), [("1.jpg", "Sea,SAND"), ("2.jpg", "ship")])
    found = evaluate(tmp_path / "p.csv", tmp_path / "t.csv")
    assert found.metrics.micro_f1 == 0
    assert found.notes[-1].startswith(
        "3 predicted tags differ from the truth's in capitals, width or blanks alone"
    )
    folded = evaluate(tmp_path / "p.csv", tmp_path / "t.csv", fold_tags=True)
    assert folded.metrics.micro_f1 == 1
    assert folded.space.tags == ("Ship", "sand", "sea")


def test_columns__of_each_file_are_its_own(tmp_path):
    (tmp_path / "t.csv").write_text("photo;cat;dog;age\n1.jpg;1;;4\n2.jpg;0;1;5\n")
    (tmp_path / "p.csv").write_text("bild,tags\n1.jpg,cat\n2.jpg,dog\n")
    found = evaluate(
        tmp_path / "p.csv",
        tmp_path / "t.csv",
        image_column="photo",
        tag_column=["cat", "dog"],
        blank="absent",
        predictions_column="bild",
    )
    assert found.metrics.micro_f1 == 1
