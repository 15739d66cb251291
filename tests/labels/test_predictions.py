"""The csv of predictions: what is written reads back, and nothing half-written is left."""

import pytest

from toolkit.errors import LabelError
from toolkit.files.csv import read_csv
from toolkit.labels.predictions import bare_names, check_tags, write_predictions


@pytest.mark.parametrize(("separator", "bom"), [(",", False), ("|", True)])
def test_write_predictions__one_row_an_image_in_order(tmp_path, separator, bom):
    path = tmp_path / "submit.csv"
    names, tags = ["b.jpg", "一, 二.jpg", "a.jpg"], [["海", "天空"], [], ['say "x"']]
    write_predictions(path, names, tags, separator=separator, bom=bom)
    rows = [cells for _, cells in read_csv(path, error=LabelError)]
    assert rows == [
        ["img_path", "tags"],
        *([name, separator.join(own)] for name, own in zip(names, tags, strict=True)),
    ]
    assert path.read_bytes().startswith(b"\xef\xbb\xbf" * bom + b"img_path,tags\n")
    assert list(tmp_path.iterdir()) == [path]


def test_bare_names__and_how_many_are_shared_by_different_images():
    ids = ["x/1.jpg", "y/1.jpg", "2.jpg", "z/2.jpg", "3.jpg", "3.jpg"]
    assert bare_names(ids) == (["1.jpg", "1.jpg", "2.jpg", "2.jpg", "3.jpg", "3.jpg"], 4)


def test_check_tags__that_hold_the_separator():
    check_tags(["a", "b c"], ",")
    with pytest.raises(LabelError) as raised:
        check_tags(["a", "b, c", "d,"], ",")
    assert str(raised.value) == (
        "2 tags hold the separator ',', first 'b, c'; nothing was written: give another --separator, such as "
        "| or ;"
    )


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", "＝", "＠"])
def test_write_predictions__formulas(tmp_path, caplog, start):
    path, names, tags = tmp_path / "s.csv", ["a.jpg", f"{start}b.jpg"], [["sea", f"{start}1+1"], ["a=b"]]
    write_predictions(path, names, tags)
    assert [cells for _, cells in read_csv(path, error=LabelError)][1:] == [
        ["a.jpg", f"sea,{start}1+1"],
        [f"{start}b.jpg", "a=b"],
    ]
    assert caplog.messages == [
        "2 cells written: a name or tag begins with = + - @, a tab or a line break, first "
        f"{start + 'b.jpg'!r}; a spreadsheet takes that for a formula: open the file as text, or write it "
        "with --excel-safe"
    ]
    caplog.clear()
    write_predictions(path, names, tags, separator=";", excel_safe=True)
    assert [cells for _, cells in read_csv(path, error=LabelError)][1:] == [
        ["a.jpg", f"sea;'{start}1+1"],
        [f"'{start}b.jpg", "a=b"],
    ]
    assert caplog.messages == []


def test_write_predictions__ordinary_names_are_no_formulas(tmp_path, caplog):
    names, tags = ["a-b.jpg", "1+1.jpg", "图.jpg"], [["a=b", "x@y"], [], ["海"]]
    write_predictions(tmp_path / "s.csv", names, tags)
    plain = (tmp_path / "s.csv").read_bytes()
    write_predictions(tmp_path / "s.csv", names, tags, excel_safe=True)
    assert caplog.messages == [] and (tmp_path / "s.csv").read_bytes() == plain
