"""read_labels on csv files with the tags in one cell, and against a tag list."""

import pytest

from tests.labels.readers.tables import as_dict, write
from toolkit.errors import LabelError, OptionError
from toolkit.labels.options import LabelOptions, ReadLabelsOptions
from toolkit.labels.read import read_label_file, read_labels
from toolkit.labels.table import LabelTable

E_ACUTE, E_COMBINED = "caf\u00e9", "cafe\u0301"


def test_csv__the_contest_form(labels):
    write(labels, 'img_path,tags\n1.jpg,"天空,大海"\n2.jpg,\n3.jpg,大海\n')
    table = read_labels(labels)
    assert isinstance(table, LabelTable)
    assert table.ids == ("1.jpg", "2.jpg", "3.jpg")
    assert table.space.tags == ("大海", "天空")
    assert table.Y.toarray().tolist() == [[True, True], [False, False], [True, False]]
    assert table.Y.dtype == bool
    assert table.source == labels
    assert table.root == labels.parent
    assert table.notes == (
        "3 images, 2 tags, 1.0 tags an image, 1 image without tags",
        "the columns are the tags in code-point order; a tag list (--tags) sets another",
    )


@pytest.mark.parametrize(
    "image", ["img_path", "image_path", "file_name", "filename", "image", "path", "name", "ID"]
)
@pytest.mark.parametrize("tags", ["tags", "tag", "label", " Labels "])
def test_csv__columns_by_alias(labels, image, tags):
    write(labels, f'row,{tags},{image}\n0,"b,a",1.jpg\n')
    assert as_dict(read_labels(labels)) == {"1.jpg": ["a", "b"]}


def test_csv__na_null_nan_and_numbers_are_tags(labels):
    write(labels, 'img_path,tags\n1.jpg,"N/A,null,nan,NaN,None,1,1.0,TRUE"\n2.jpg,N/A\n001,007\n')
    assert as_dict(read_labels(labels)) == {
        "1.jpg": ["1", "1.0", "N/A", "NaN", "None", "TRUE", "nan", "null"],
        "2.jpg": ["N/A"],
        "001": ["007"],
    }


@pytest.mark.parametrize(
    ("separator", "mark"),
    [
        (",", ","),
        ("|", "|"),
        (";", ";"),
        (" ", " "),
        ("space", " "),
        ("\t", "\t"),
        ("tab", "\t"),
        ("\\t", "\t"),
    ],
)
def test_csv__separators_strip_drop_empty_and_merge(labels, separator, mark):
    cell = mark.join(["b", "", " a ", "b", " "])
    write(labels, f'img_path,tags\n1.jpg,"{cell}"\n2.jpg,"{mark}"\n')
    assert as_dict(read_labels(labels, separator=separator)) == {"1.jpg": ["a", "b"], "2.jpg": []}


def test_csv__unknown_separator(labels):
    write(labels, "img_path,tags\n1.jpg,a\n")
    for text in ("x", "", "a,", ",,,,", "'"):
        with pytest.raises(
            OptionError, match=r"--separator got .*; allowed are , \| ; space tab newline, or up"
        ):
            read_labels(labels, separator=text)


def test_csv__any_mark_may_separate(labels):
    for separator, mark in ((":", ":"), (" & ", " & "), ("newline", "\n"), ("::", "::"), ("、", "、")):
        write(labels, f'img_path,tags\n1.jpg,"a b{mark}c"\n')
        assert as_dict(read_labels(labels, separator=separator)) == {"1.jpg": ["a b", "c"]}


def test_csv__likely_wrong_separator_is_noted(labels):
    write(labels, "img_path,tags\n1.jpg,a|b\n2.jpg,b|c\n3.jpg,d;e\n4.jpg,f\n")
    assert "2 rows without ',' in the tags but with '|'; is that the separator (--separator)?" in (
        read_labels(labels).notes
    )
    assert len(read_labels(labels, separator="|").notes) == 3
    write(labels, 'img_path,tags\n1.jpg,"a|b,c"\n')
    assert len(read_labels(labels).notes) == 2


def test_csv__tags_with_inner_blanks_and_full_width_commas_stay(labels):
    write(labels, 'img_path,tags\n1.jpg,"potted plant,\u3000红，蓝 "\n')
    assert as_dict(read_labels(labels)) == {"1.jpg": ["potted plant", "红，蓝"]}


def test_csv__names_are_kept_as_written(labels):
    names = ["a b.jpg", "逗,号.jpg", "表情😀.jpg", "100%20.jpg", " lead.jpg"]
    write(labels, "img_path,tags\n" + "".join(f'"{name}",x\n' for name in names))
    assert read_labels(labels).ids == tuple(names)


def test_csv__bom_and_crlf(labels):
    write(labels, 'img_path,tags\r\n1.jpg,"a,b"\r\n', "utf-8-sig")
    assert as_dict(read_labels(labels)) == {"1.jpg": ["a", "b"]}


def test_csv__gb18030(labels):
    write(labels, "img_path,tags\n一.jpg,天空\n", "gb18030")
    with pytest.raises(LabelError, match=r"labels\.csv .*looks like GB18030 .*--encoding gb18030"):
        read_labels(labels)
    assert as_dict(read_labels(labels, encoding="gb18030")) == {"一.jpg": ["天空"]}


def test_csv__gb18030_with_a_utf8_tag_list(labels, tmp_path):
    write(labels, "img_path,tags\n一.jpg,天空\n", "gb18030")
    tags = write(tmp_path / "tags.txt", "大海\n天空\n")
    assert read_labels(labels, tags=tags, encoding="gb18030").Y.toarray().tolist() == [[False, True]]


def test_csv__utf16(labels):
    write(labels, "img_path,tags\n1.jpg,a\n", "utf-16")
    with pytest.raises(LabelError, match=r"labels\.csv is UTF-16 .*--encoding utf-16$"):
        read_labels(labels)
    assert as_dict(read_labels(labels, encoding="utf-16")) == {"1.jpg": ["a"]}


def test_csv__utf16_asked_for_but_without_its_mark(labels):
    write(labels, "img_path,tags\n1.jpg,a\n")
    for form in ("auto", "csv"):
        with pytest.raises(LabelError, match=r"labels\.csv is not UTF-16 \(at line 1\)"):
            read_labels(labels, encoding="utf-16", format=form)


@pytest.mark.parametrize("form", ["auto", "csv"])
def test_csv__unknown_encoding(labels, form):
    write(labels, "img_path,tags\n1.jpg,a\n")
    with pytest.raises(OptionError, match="unknown encoding 'gb99'"):
        read_labels(labels, encoding="gb99", format=form)


def test_csv__duplicate_rows_with_the_same_tags_merge(labels):
    write(labels, 'img_path,tags\n1.jpg,"a,b"\n2.jpg,\n./1.jpg,"b,a,a"\n2.jpg,","\nx//1.jpg,a\nx/1.jpg,a\n')
    table = read_labels(labels)
    assert as_dict(table) == {"1.jpg": ["a", "b"], "2.jpg": [], "x/1.jpg": ["a"]}
    assert (
        table.notes[0] == "3 images, 2 tags, 1.0 tags an image, 1 image without tags, 3 duplicate rows merged"
    )


def test_csv__duplicate_rows_with_different_tags_name_both_physical_lines(labels):
    write(labels, 'img_path,tags\n"two\nlines.jpg","a\nb"\n1.jpg,a\n\n2.jpg,\n1.jpg,"a,b"\n')
    with pytest.raises(
        LabelError,
        match=r"labels\.csv: '1\.jpg' has different tags on line 5 and line 8; if .*--repeats union",
    ):
        read_labels(labels)


def test_csv__two_unicode_forms_of_a_tag_are_one_and_said_so(labels):
    write(labels, f"img_path,tags\n1.jpg,{E_COMBINED}\n2.jpg,{E_ACUTE}\n1.jpg,{E_ACUTE}\n3.jpg,Ａ\n4.jpg,A\n")
    table = read_labels(labels)
    assert as_dict(table) == {"1.jpg": [E_COMBINED], "2.jpg": [E_COMBINED], "3.jpg": ["Ａ"], "4.jpg": ["A"]}
    assert table.notes[-1] == "1 tag written in two Unicode forms, read as one (NFC)"


def test_csv__two_unicode_forms_of_a_file_name_are_two_files(labels):
    write(labels, f"img_path,tags\n{E_COMBINED}.jpg,a\n{E_ACUTE}.jpg,b\n")
    assert as_dict(read_labels(labels)) == {f"{E_COMBINED}.jpg": ["a"], f"{E_ACUTE}.jpg": ["b"]}


def test_csv__missing_columns_list_those_found_and_those_accepted(labels):
    write(labels, "picture,tags\n1.jpg,a\n")
    with pytest.raises(
        LabelError,
        match=r"no image column: columns found are 'picture', 'tags'; name it one of img_path, .*considered",
    ):
        read_labels(labels)
    with pytest.raises(
        LabelError, match="no image column: columns found are 'picture', 'tags'; name it one of"
    ):
        read_labels(labels, format="csv")
    write(labels, "img_path,split\n1.jpg,train\n")
    with pytest.raises(
        LabelError,
        match=r"considered: csv \(no tag column: columns found are 'img_path', 'split'; name it one of tags, "
        r".*\), onehot \(column 'split' holds 'train'\)$",
    ):
        read_labels(labels)
    with pytest.raises(
        LabelError, match="no tag column: columns found are 'img_path', 'split'; name it one of tags"
    ):
        read_labels(labels, format="csv")
    write(labels, "img_path,tags,Tags\n1.jpg,a,b\n")
    with pytest.raises(LabelError, match="has two columns 'tags'; rename one"):
        read_labels(labels)


def test_csv__rows_of_the_wrong_length(labels):
    write(labels, "img_path,tags\n1.jpg,a\n2.jpg,a,b,c,d\n")
    with pytest.raises(LabelError, match=r"line 3: row has 5 cells, header has 2: quote the tag list"):
        read_labels(labels)
    write(labels, "img_path,tags\n1.jpg\n")
    with pytest.raises(LabelError, match="line 2: row has 1 cell, header has 2"):
        read_labels(labels)


def test_csv__nothing_in_it(labels):
    write(labels, "img_path,tags\n")
    with pytest.raises(LabelError, match=r"labels\.csv holds no images; a label file needs at least one row"):
        read_labels(labels)
    write(labels, "")
    with pytest.raises(LabelError, match=r"labels\.csv is empty; its first line must name the columns"):
        read_labels(labels)
    write(labels, "img_path,tags\n1.jpg,\n")
    with pytest.raises(LabelError, match="holds no tags: no image has any"):
        read_labels(labels)
    write(labels, "img_path,tags\n1.jpg,a\n ,a\n")
    with pytest.raises(LabelError, match="line 3: the image name is empty"):
        read_labels(labels)
    with pytest.raises(LabelError, match=r"there is no label file .*none\.csv; check the path"):
        read_labels(labels.with_name("none.csv"))


def test_csv__blank_label_file_against_a_tag_list_is_legal(labels, tmp_path):
    write(labels, "img_path,tags\n1.jpg,\n")
    table = read_labels(labels, tags=write(tmp_path / "tags.txt", "a\nb\n"))
    assert table.Y.shape == (1, 2)
    assert table.Y.nnz == 0


def test_tags__set_the_order_and_unused_ones_are_counted(labels, tmp_path):
    write(labels, 'img_path,tags\n1.jpg,"a,b"\n')
    tags = write(tmp_path / "tags.txt", "c\nb\na\n", "utf-8-sig")
    table = read_labels(str(labels), tags=str(tags))
    assert table.space.tags == ("c", "b", "a")
    assert table.Y.toarray().tolist() == [[False, True, True]]
    assert table.notes == ("1 image, 3 tags, 2.0 tags an image", f"1 tag of {tags} without an image")


def test_options__passed_as_one_object(labels, tmp_path):
    write(labels, "img_path,tags\n1.jpg,a|z\n")
    options = ReadLabelsOptions(
        path="unused.csv",
        tags=write(tmp_path / "tags.txt", "b\na\n"),
        separator="|",
        ignore_unknown_tags=True,
    )
    assert read_label_file(labels, options).space.tags == ("b", "a")
    assert read_label_file(labels, LabelOptions(separator="|")).space.tags == ("a", "z")
    with pytest.raises(OptionError, match="unknown option 'tag'; the options of read_labels are path"):
        read_labels(labels, tag="tags.txt")


def test_tags__match_in_nfc_with_the_spelling_of_the_list(labels, tmp_path):
    write(labels, f"img_path,tags\n1.jpg,{E_ACUTE}\n")
    table = read_labels(labels, tags=write(tmp_path / "tags.txt", f"{E_COMBINED}\n"))
    assert as_dict(table) == {"1.jpg": [E_COMBINED]}


def test_tags__unknown_tag_names_tag_image_and_line(labels, tmp_path):
    tags = write(tmp_path / "tags.txt", "a\nb\n")
    write(labels, 'img_path,tags\n1.jpg,"a,b"\n2.jpg,"a,zebra,lion"\n3.jpg,"lion,owl"\n')
    with pytest.raises(
        LabelError,
        match=r"labels\.csv line 3: tag 'zebra' of image '2\.jpg' is not among the 2 tags of .*tags\.txt "
        r"\(and 2 more unknown tags\); .*--ignore-unknown-tags",
    ):
        read_labels(labels, tags=tags)
    write(labels, "img_path,tags\n1.jpg,a\n1.jpg,a\n2.jpg,zebra\n")
    with pytest.raises(LabelError, match=r"line 4: tag 'zebra' of image '2\.jpg' .*tags\.txt; correct"):
        read_labels(labels, tags=tags)


def test_tags__unknown_tags_ignored_on_request_and_counted(labels, tmp_path):
    tags = write(tmp_path / "tags.txt", "b\na\n")
    write(labels, 'img_path,tags\n1.jpg,"a,b"\n2.jpg,"a,zebra,lion"\n3.jpg,lion\n')
    table = read_labels(labels, tags=tags, ignore_unknown_tags=True)
    assert as_dict(table) == {"1.jpg": ["b", "a"], "2.jpg": ["a"], "3.jpg": []}
    assert table.notes == (
        "3 images, 2 tags, 1.0 tags an image, 1 image without tags",
        "2 unknown tags ignored, used 3 times",
    )


def test_tags__selected_tags_csv(labels, tmp_path):
    tags = write(tmp_path / "selected_tags.csv", "tag_id,name,category,count\n1,b,0,2\n2,a,0,1\n")
    write(labels, 'img_path,tags\n1.jpg,"a,b"\n')
    assert read_labels(labels, tags=tags).space.tags == ("b", "a")
