"""Csv files: rows, lines, columns, and what is written."""

import csv

import pytest

from toolkit.errors import LabelError, ManifestError
from toolkit.files.csv import IMAGE_COLUMNS, find_column, first_rows, need_column, read_csv, write_csv
from toolkit.files.text import decode_text, read_text
from toolkit.runtime.messages import listed

CHINESE = "img_path,tags\n一.jpg,天空\n二.jpg,大海和沙滩\n"


def rows_of(path, **options):
    return list(read_csv(path, error=LabelError, **options))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_read_csv__utf8_with_and_without_bom(tmp_path, encoding):
    path = tmp_path / "a.csv"
    path.write_bytes(CHINESE.encode(encoding))
    assert rows_of(path) == [
        (1, ["img_path", "tags"]),
        (2, ["一.jpg", "天空"]),
        (3, ["二.jpg", "大海和沙滩"]),
    ]
    assert read_text(path, error=LabelError) == CHINESE


@pytest.mark.parametrize("encoding", ["gb18030", "gbk", "GB2312"])
def test_read_csv__gb18030_is_recognised_and_read_on_request(tmp_path, encoding):
    path = tmp_path / "a.csv"
    path.write_bytes(CHINESE.encode("gb18030"))
    with pytest.raises(
        LabelError, match=r"a\.csv is not UTF-8 \(at line 2\); it looks like GB18030 .*--encoding gb18030$"
    ):
        rows_of(path)
    with pytest.raises(ManifestError, match="looks like GB18030"):
        read_text(path, error=ManifestError)
    assert rows_of(path, encoding=encoding)[2] == (3, ["二.jpg", "大海和沙滩"])


def test_read_csv__gb18030_mark_is_dropped(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(('\ufeff"img_path",tags\n一.jpg,天空\n').encode("gb18030"))
    assert rows_of(path, encoding="gb18030")[0] == (1, ["img_path", "tags"])


def test_read_csv__undecodable_far_into_a_long_file_names_the_line(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"img_path,tags\n" + b"a.jpg,x\n" * 50_000 + "二.jpg,大海\n".encode("gbk"))
    with pytest.raises(LabelError, match=r"at line 50002.*GB18030"):
        rows_of(path)


def test_read_csv__utf16_asked_for_but_without_its_mark(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes("a,b\n1,2\n".encode("utf-16-le"))
    with pytest.raises(LabelError, match=r"a\.csv is not UTF-16 \(at line 1\); save it as UTF-8"):
        rows_of(path, encoding="utf-16")
    assert rows_of(path, encoding="utf-16-le") == [(1, ["a", "b"]), (2, ["1", "2"])]


def test_read_csv__line_numbers_are_physical(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b'img_path,tags\r\n\r\n"two\r\nlines.jpg","a\nb"\r\nlast.jpg,c')
    assert rows_of(path) == [
        (1, ["img_path", "tags"]),
        (3, ["two\r\nlines.jpg", "a\nb"]),
        (6, ["last.jpg", "c"]),
    ]


def test_read_csv__line_separators_of_unicode_do_not_end_a_row(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("img_path,tags\na\u2028b\x85c.jpg,x\n", encoding="utf-8")
    assert rows_of(path)[1] == (2, ["a\u2028b\x85c.jpg", "x"])


def test_read_csv__wrong_number_of_cells(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("img_path,tags\na.jpg,x\nb.jpg,x,y,z,w\n", encoding="utf-8")
    with pytest.raises(LabelError, match=r"a\.csv line 3: row has 5 cells, header has 2: quote the tag list"):
        rows_of(path)
    path.write_text("img_path,tags\na.jpg\n", encoding="utf-8")
    with pytest.raises(LabelError, match=r"line 2: row has 1 cell, header has 2: a cell is missing$"):
        rows_of(path)


def test_read_csv__quote_that_never_closes_names_where_it_opens(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('img_path,tags\na.jpg,x\nb.jpg,"y\nc.jpg,z\n', encoding="utf-8")
    with pytest.raises(
        LabelError, match=r"a\.csv line 3: a quote of the row that starts there is never closed"
    ):
        rows_of(path)


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf"])
def test_read_csv__empty(tmp_path, content):
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    with pytest.raises(LabelError, match=r"a\.csv is empty; its first line must name the columns"):
        rows_of(path)


def test_read_csv__quote_that_never_closes_is_not_followed_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr("toolkit.files.csv.MOST_ROW", 1000)
    path = tmp_path / "a.csv"
    path.write_text('img_path,tags\na.jpg,x\nb.jpg,"y\n' + "c.jpg,z\n" * 10_000, encoding="utf-8")
    rows = read_csv(path, error=LabelError)
    assert [next(rows), next(rows)] == [(1, ["img_path", "tags"]), (2, ["a.jpg", "x"])]
    with pytest.raises(LabelError, match=r"line 3: a quote of the row that starts there is never closed"):
        next(rows)


def test_read_csv__quote_that_closes_too_early(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('img_path,tags\na.jpg,"x" y\n', encoding="utf-8")
    with pytest.raises(LabelError, match=r"line 2: a quote closes before its cell ends; check the quotes"):
        rows_of(path)


@pytest.mark.parametrize(
    "content", ["x" * 5_000_000, "x" * 4_000_001 + "\n", "img_path,tags\n" + "," * 5_000_000]
)
def test_read_csv__a_line_without_end(tmp_path, content):
    path = tmp_path / "a.csv"
    path.write_text(content, encoding="utf-8")
    line = content.count("\n", 0, 20) + 1
    with pytest.raises(
        LabelError,
        match=rf"a\.csv line {line}: the line has more than 4,000,000 characters; is this a csv\?$",
    ):
        rows_of(path)
    assert first_rows(path, 2, error=LabelError) == []


@pytest.mark.parametrize("kept", ["utf-8", "utf-16"])
def test_read_csv__a_line_without_end_is_not_read_to_its_end(tmp_path, kept):
    path = tmp_path / "a.csv"
    with path.open("wb") as file:
        file.write("img_path,tags\n".encode(kept))
        file.write("x".encode(f"{kept}-le" if kept == "utf-16" else kept) * 66_000)
        file.truncate(1 << 40)  # a terabyte of NUL
    with pytest.raises(LabelError, match=r"line 2: the line has more than 4,000,000 characters"):
        rows_of(path, encoding=kept)


def test_read_csv__a_cell_of_7000_tags_and_as_many_columns(tmp_path):
    path = tmp_path / "a.csv"
    tags = ",".join(f"a tag of thirty characters {number}" for number in range(7000))
    path.write_text(f'img_path,tags\n1.jpg,"{tags}"\n', encoding="utf-8")
    assert rows_of(path)[1] == (2, ["1.jpg", tags])
    path.write_text(f"img_path,{tags}\n", encoding="utf-8")
    assert len(rows_of(path)[0][1]) == 7001


def test_read_csv__nul_far_into_the_file(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"img_path,tags\n" + b"a.jpg,x\n" * 50_000 + b"b\0.jpg,x\n")
    with pytest.raises(LabelError, match=r"line 50002: the row holds a NUL character"):
        rows_of(path)
    with pytest.raises(LabelError, match=r"f is not a text file: line 2 holds a NUL character"):
        decode_text("a\nb\0".encode("utf-16"), name="f", error=LabelError, encoding="utf-16")


def test_read_csv__text_in_another_encoding_far_into_a_mixed_file(tmp_path):
    """The start, which is UTF-8, counts as much as the line that is not."""
    path = tmp_path / "a.csv"
    start = ("img_path,tags\n" + "é.jpg,naïve façade\n" * 60_000).encode()
    path.write_bytes(start + "ü,x\n".encode("latin-1"))
    with pytest.raises(LabelError, match=r"\(at line 60002\); save it as UTF-8 or name its encoding"):
        rows_of(path)
    path.write_bytes(b"img_path,tags\n" + b"a.jpg,x\n" * 300_000 + "二.jpg,大海\n".encode("gbk") * 300_000)
    with pytest.raises(LabelError, match=r"\(at line 300002\); it looks like GB18030"):
        rows_of(path)


def test_names_in_messages__are_escaped_and_cut(tmp_path):
    folder = tmp_path / "a\x1b[31m\nb"
    with pytest.raises(LabelError) as caught:
        read_text(folder, error=LabelError)
    assert str(caught.value).isprintable()
    assert str(caught.value).startswith(repr(str(folder)))
    assert listed(["\u202egpj.exe", "x" * 100]) == r"'\u202egpj.exe', '" + "x" * 60 + "'... (100 characters)"


def test_find_column__first_alias_wins_in_any_case():
    assert find_column(["id", " File_Name ", "x"], IMAGE_COLUMNS) == 1
    assert find_column(["x", "ID"], IMAGE_COLUMNS) == 1
    assert find_column(["x", "y"], IMAGE_COLUMNS) is None


def test_need_column__errors_list_what_there_is(tmp_path):
    path = tmp_path / "a.csv"
    with pytest.raises(
        LabelError, match="no image column: columns found are 'pic', 'tags'; name it one of img_path"
    ):
        need_column(["pic", "tags"], IMAGE_COLUMNS, what="image", path=path, error=LabelError)
    with pytest.raises(LabelError, match="has two columns 'tags'; rename one"):
        need_column(["tags", "TAGS"], ("tags",), what="tag", path=path, error=LabelError)


NASTY = [
    ["a,b.jpg", "x"],
    ['q"uote.jpg', "y,z"],
    ["line\nfeed.jpg", ""],
    ["carriage\rreturn.jpg", "r"],
    [" outer blank ", "N/A"],
    ["表情😀.jpg", "100%"],
    ["\udcff\udcfe.jpg", "not utf-8"],
]


@pytest.mark.parametrize("bom", [False, True])
def test_write_csv__reads_back_cell_by_cell(tmp_path, bom):
    path = tmp_path / "out.csv"
    write_csv(path, ["img_path", "tags"], NASTY, bom=bom)
    assert path.read_bytes().startswith(b"\xef\xbb\xbf") is bom
    assert [cells for _, cells in rows_of(path, escape=True)] == [["img_path", "tags"], *NASTY]
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as stream:
        assert list(csv.reader(stream)) == [["img_path", "tags"], *NASTY]


def test_write_csv__exact_text(tmp_path):
    path = tmp_path / "out.csv"
    write_csv(path, ["img_path", "tags"], [["1.jpg", "天空,大海"], ["2.jpg", ""], ["3.jpg", 7]])
    assert path.read_bytes().decode() == 'img_path,tags\n1.jpg,"天空,大海"\n2.jpg,\n3.jpg,7\n'
    assert b"\xff" not in path.read_bytes()


def test_write_csv__odd_bytes_are_an_error_without_escape(tmp_path):
    path = tmp_path / "out.csv"
    write_csv(path, ["img_path"], [["\udcff.jpg"]])
    assert path.read_bytes() == b"img_path\n\xff.jpg\n"
    with pytest.raises(LabelError, match="is not UTF-8"):
        rows_of(path)
