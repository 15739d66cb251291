"""LabelSpace: order, encoding, decoding, tag list files."""

import numpy as np
import pytest
import scipy.sparse as sp

from toolkit.errors import LabelError, OptionError
from toolkit.labels.space import LabelSpace

E_ACUTE, E_COMBINED = "caf\u00e9", "cafe\u0301"


def test_space__index_and_length():
    space = LabelSpace(("狗", "猫", "b"))
    assert len(space) == 3
    assert space.column("猫") == 1
    assert space.column("鸟") is None
    assert space == LabelSpace(("狗", "猫", "b"))
    assert space != LabelSpace(("猫", "狗", "b"))


def test_space__rejects_repeats_and_blanks():
    with pytest.raises(LabelError, match="tag 'b' is listed twice, as number 2 and 3; drop one"):
        LabelSpace(("a", "b", "b"))
    with pytest.raises(LabelError, match="tag 2 of 2 is blank"):
        LabelSpace(("a", " "))
    with pytest.raises(LabelError, match="listed twice, as number 1 and 2"):
        LabelSpace((E_ACUTE, E_COMBINED))


def test_space__compares_in_nfc_but_keeps_the_spelling_and_the_width():
    space = LabelSpace((E_COMBINED, "Ａ", "A"))
    assert space.tags == (E_COMBINED, "Ａ", "A")
    assert space.column(E_ACUTE) == 0
    assert (
        space.encode([[E_ACUTE], ["A"], ["Ａ"]]).toarray().tolist()
        == np.eye(3, dtype=bool)[[0, 2, 1]].tolist()
    )
    assert space.decode(space.encode([[E_ACUTE]])) == [[E_COMBINED]]


def test_encode__equals_brute_force():
    rng = np.random.default_rng(0)
    tags = [f"标签{i}" for i in range(40)]
    rows = [[tags[j] for j in rng.permutation(40)[: rng.integers(0, 9)]] for _ in range(60)]
    Y = LabelSpace(tuple(tags)).encode(rows)
    assert isinstance(Y, sp.csr_array)
    assert Y.dtype == bool
    assert Y.indices.dtype == np.int32
    np.testing.assert_array_equal(Y.toarray(), [[tag in row for tag in tags] for row in rows])


def test_encode__repeats_count_once_and_empty_rows_stay():
    space = LabelSpace(("a", "b"))
    Y = space.encode([["b", "b", "a"], [], ("a" for _ in range(2))])
    assert Y.toarray().tolist() == [[True, True], [False, False], [True, False]]
    assert Y.nnz == 3
    assert space.encode([]).shape == (0, 2)
    assert LabelSpace(()).encode([[]]).shape == (1, 0)


def test_encode__unknown_tag():
    with pytest.raises(LabelError, match="tag 'zebra' of row 1 is not among the 2 tags"):
        LabelSpace(("a", "b")).encode([["a"], ["b", "zebra", "lion"]])


def test_decode__column_order_whatever_the_storage():
    space = LabelSpace(("z", "y", "x"))
    unsorted = sp.csr_array((np.array([1, 1, 0, 1]), [2, 0, 1, 1], [0, 2, 3, 4]), shape=(3, 3))
    assert space.decode(unsorted) == [["z", "x"], [], ["y"]]
    assert unsorted.indices.tolist() == [2, 0, 1, 1]
    rows = [["z"], [], ["z", "y", "x"]]
    assert space.decode(space.encode(rows)) == rows


def test_decode__wrong_width():
    with pytest.raises(LabelError, match=r"Y has shape \(1, 3\), the tag list 2 tags"):
        LabelSpace(("a", "b")).decode(sp.csr_array((1, 3), dtype=bool))


def test_columns__unknown_is_minus_one():
    assert LabelSpace(("a", "b")).columns(["b", "c", "a"]).tolist() == [1, -1, 0]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("tail", ["", "{end}", "{end}{end}", "{end} \t{end}"])
def test_read__lines_stripped_order_kept(tmp_path, end, encoding, tail):
    path = tmp_path / "tags.txt"
    text = end.join([" 猫", "狗 ", "N/A", "null", "nan", "1.0", "a,b"]) + tail.format(end=end)
    path.write_bytes(text.encode(encoding))
    assert LabelSpace.read(path).tags == ("猫", "狗", "N/A", "null", "nan", "1.0", "a,b")


def test_read__errors_name_the_line(tmp_path):
    path = tmp_path / "tags.txt"
    path.write_text("a\n\nb\n", encoding="utf-8")
    with pytest.raises(LabelError, match=r"tags\.txt line 2 is blank"):
        LabelSpace.read(path)
    path.write_text("a\nb\n a\n", encoding="utf-8")
    with pytest.raises(LabelError, match=r"tags\.txt line 3: tag 'a' is on line 1 already"):
        LabelSpace.read(path)
    path.write_text(f"{E_ACUTE}\n{E_COMBINED}\n", encoding="utf-8")
    with pytest.raises(LabelError, match=r"line 2: .* is on line 1 already"):
        LabelSpace.read(path)
    path.write_text("\n\n", encoding="utf-8")
    with pytest.raises(LabelError, match="holds no tags; write one a line"):
        LabelSpace.read(path)
    with pytest.raises(LabelError, match=r"none\.txt cannot be read"):
        LabelSpace.read(tmp_path / "none.txt")


def test_read__gb18030_only_on_request_and_utf8_all_the_same(tmp_path):
    path = tmp_path / "tags.txt"
    path.write_bytes("天空\n大海\n".encode("gb18030"))
    with pytest.raises(LabelError, match=r"looks like GB18030.*--encoding gb18030"):
        LabelSpace.read(path)
    assert LabelSpace.read(path, encoding="gb18030").tags == ("天空", "大海")
    path.write_text("天空\n大海\n", encoding="utf-8")
    assert LabelSpace.read(path, encoding="gb18030").tags == ("天空", "大海")
    with pytest.raises(OptionError, match="unknown encoding 'x-no'"):
        path.write_bytes(b"\xff")
        LabelSpace.read(path, encoding="x-no")


def test_read__utf16_without_mark_on_request(tmp_path):
    path = tmp_path / "tags.txt"
    path.write_bytes("a\nb\n".encode("utf-16-le"))
    assert LabelSpace.read(path, encoding="utf-16-le").tags == ("a", "b")


def test_read__selected_tags_csv_of_wd_tagger(tmp_path):
    path = tmp_path / "selected_tags.csv"
    path.write_text('tag_id,name,category,count\n9,general,9,1\n1,"a,b",0,5\n', encoding="utf-8")
    assert LabelSpace.read(path).tags == ("general", "a,b")
    path.write_text("tag_id,name\n9,x\n1,x\n", encoding="utf-8")
    with pytest.raises(LabelError, match="line 3: tag 'x' is on line 2 already"):
        LabelSpace.read(path)
    path.write_text("tag_id,title\n9,x\n", encoding="utf-8")
    with pytest.raises(
        LabelError, match="no tag column: columns found are 'tag_id', 'title'; name it one of name"
    ):
        LabelSpace.read(path)


def test_write__round_trip_and_exact_bytes(tmp_path):
    path = tmp_path / "tags.txt"
    space = LabelSpace(("天空", "a,b", "a\u2028b", "🐈"))
    space.write(path)
    assert path.read_bytes() == "天空\na,b\na\u2028b\n🐈\n".encode()
    assert LabelSpace.read(path) == space


@pytest.mark.parametrize("tag", ["a\nb", " a", "a\r"])
def test_write__tag_that_would_not_come_back(tmp_path, tag):
    with pytest.raises(LabelError, match="cannot be a line of"):
        LabelSpace((tag,)).write(tmp_path / "tags.txt")
    assert not (tmp_path / "tags.txt").exists()
