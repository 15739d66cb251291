"""read_labels on csv files as programs write them: separators, quotes, lists, columns, several lines."""

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.labels.readers.tables import as_dict, write
from toolkit.errors import LabelError, OptionError
from toolkit.files.csv import COLUMN_MARKS
from toolkit.labels.lists import is_list
from toolkit.labels.read import read_labels
from toolkit.labels.space import nfc

# ---------------------------------------------------------------------- separators of columns


@pytest.mark.parametrize("mark", COLUMN_MARKS)
@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".txt"])
def test_marks__any_between_columns_and_commas_between_tags(tmp_path, mark, suffix):
    rows = [("img_path", "split", "tags"), ("1.jpg", "train", '"sea,sand"'), ("2.jpg", "train", "sea")]
    path = write(tmp_path / f"labels{suffix}", "\n".join(mark.join(row) for row in rows), "utf-8-sig")
    assert as_dict(read_labels(path)) == {"1.jpg": ["sand", "sea"], "2.jpg": ["sea"]}


def test_marks__unquoted_commas_within_semicolon_columns(labels):
    write(labels, "Bild;img_path;Tags\n1;a.jpg;sea,sand\n2;b.jpg;sea\n")
    assert as_dict(read_labels(labels)) == {"a.jpg": ["sand", "sea"], "b.jpg": ["sea"]}
    write(labels, "img_path,tags\na.jpg,sea;sand\nb.jpg,sea\n")
    assert as_dict(read_labels(labels, separator=";")) == {"a.jpg": ["sand", "sea"], "b.jpg": ["sea"]}
    write(labels, "img_path;sea;sand\na.jpg;1;0\nb.jpg;1;1\n")
    assert as_dict(read_labels(labels)) == {"a.jpg": ["sea"], "b.jpg": ["sand", "sea"]}


def test_marks__a_quote_that_closes_early_in_other_marks(labels):
    write(labels, 'img_path;tags\na.jpg;"x" y\n')
    with pytest.raises(LabelError, match="line 2: a quote closes before its cell ends"):
        read_labels(labels)
    write(labels, "img_path;tags\na.jpg;x;y\n")
    with pytest.raises(LabelError, match=r'row has 3 cells, header has 2: .*holds semicolons\), as in "a;b"'):
        read_labels(labels)


def test_blank_before_a_quote__anywhere_in_the_file(labels):
    plain = "".join(f"{number}.jpg,sea\n" for number in range(3000))
    write(
        labels, f'img_path, tags\n{plain}a.jpg, "sea,sand"\nb.jpg,  "two\nlines, ""x"""\nc.jpg,"a, ""b"""\n'
    )
    table = as_dict(read_labels(labels))
    assert len(table) == 3003
    assert table["a.jpg"] == ["sand", "sea"]
    assert table["b.jpg"] == ['"x"', "two\nlines"]
    assert table["c.jpg"] == ['"b"', "a"]


def test_blank_before_a_quote__the_line_numbers_stay(labels):
    write(labels, 'img_path, tags\na.jpg, "two\nlines"\nb.jpg\n')
    with pytest.raises(LabelError, match="line 4: row has 1 cell, header has 2"):
        read_labels(labels)


def test_long_cell__in_another_column_or_of_tags(labels):
    mask, tags = "3 1 " * 40_000, ",".join(f"tag {number}" for number in range(30_000))
    write(labels, f'img_path,tags,mask\n1.jpg,"{tags}",{mask}\n2.jpg,sea,\n')
    table = read_labels(labels)
    assert table.Y.sum(axis=1).tolist() == [30_000, 1]


TAG = st.text(st.characters(blacklist_categories=["Cs", "Cc"]), min_size=1, max_size=8)


@settings(deadline=None, max_examples=80)
@given(
    rows=st.lists(st.lists(TAG, max_size=4), min_size=1, max_size=5),
    mark=st.sampled_from(COLUMN_MARKS),
    separator=st.sampled_from([",", ";", "|", " ", ":"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_any_dialect_and_any_tags__read_back(tmp_path_factory, rows, mark, separator, quoting, end):
    wanted = []
    for tags in rows:
        pieces = [piece.strip() for piece in separator.join(tags).split(separator)]
        wanted.append(sorted({piece for piece in pieces if piece}))
    cells = [separator.join(tags) for tags in rows]
    numbers = {tag for tags in wanted for tag in tags} <= {"0", "1"}
    if numbers or any(is_list(cell.strip()) for cell in cells):
        return
    text = io.StringIO()
    writer = csv.writer(text, delimiter=mark, quoting=quoting, lineterminator=end)
    writer.writerow(["img_path", "tags"])
    writer.writerows([f"{row} {mark}.jpg", cell] for row, cell in enumerate(cells))
    path = write(tmp_path_factory.getbasetemp() / "any.csv", text.getvalue())
    if not any(wanted):
        with pytest.raises(LabelError, match="holds no tags"):
            read_labels(path, separator=separator)
        return
    table = as_dict(read_labels(path, separator=separator))
    assert [sorted(map(nfc, tags)) for tags in table.values()] == [
        sorted(set(map(nfc, each))) for each in wanted
    ]
    assert list(table) == [f"{row} {mark}.jpg" for row in range(len(rows))]


# ---------------------------------------------------------------------- lists in cells


@pytest.mark.parametrize(
    ("one", "two", "notation"),
    [
        ("['sand', 'sea']", "['sea']", "Python"),
        ('["sand", "sea"]', '["sea"]', "JSON"),
        ("{sand,sea}", "{sea}", "Postgres"),
        ('{"choices": ["sand", "sea"]}', '{"choices": ["sea"]}', "JSON"),
    ],
)
def test_lists__read_as_their_items_and_said_so(labels, one, two, notation):
    with labels.open("w", newline="") as file:
        csv.writer(file).writerows([("img_path", "tags"), ("1.jpg", one), ("2.jpg", two), ("3.jpg", "")])
    table = read_labels(labels)
    assert as_dict(table) == {"1.jpg": ["sand", "sea"], "2.jpg": ["sea"], "3.jpg": []}
    assert table.notes[2].startswith(f"2 cells hold a list as {notation} writes it, such as ")


def test_lists__one_that_cannot_be_read_names_line_and_notation(labels):
    write(labels, "img_path,tags\n1.jpg,sea\n2.jpg,\"['sand', 'se\"\n")
    with pytest.raises(
        LabelError,
        match=r"labels\.csv line 3: the cell .* looks like a list of Python, JSON or numpy: a quote in it",
    ):
        read_labels(labels)


def test_vectors__need_a_tag_list_of_their_length(labels, tmp_path):
    write(labels, "img_path\ttags\n1.jpg\t1,0,1\n2.jpg\t[0 1 0]\n3.jpg\t0,0,0\n")
    with pytest.raises(
        LabelError, match="the cells hold 3 numbers 0 and 1, .* list of 3 tags, one a line, with"
    ):
        read_labels(labels)
    tags = write(tmp_path / "tags.txt", "sea\nsand\nship\n")
    table = read_labels(labels, tags=tags)
    assert as_dict(table) == {"1.jpg": ["sea", "ship"], "2.jpg": ["sand"], "3.jpg": []}
    assert any("read in the order of" in note for note in table.notes)
    write(labels, 'img_path,tags\n1.jpg,"1,1"\n2.jpg,"0,1"\n')
    with pytest.raises(LabelError, match="the cells hold 2 numbers 0 and 1"):
        read_labels(labels)
    write(labels, "img_path,tags\n1.jpg,0\n2.jpg,1\n")
    assert read_labels(labels).space.tags == ("0", "1")


# ---------------------------------------------------------------------- columns


@pytest.mark.parametrize(
    ("header", "separator"),
    [
        ("Image Index,Finding Labels", "|"),  # NIH ChestX-ray
        ("image_name,tags", " "),  # Planet
        ("image,labels", " "),  # Plant Pathology
        ("fname,labels", " "),  # VOC of fast.ai
        ("Id,Target", " "),  # Human Protein Atlas
        ("patch_id,labels", ","),  # BigEarthNet
        ("ImageID,LabelName", ","),  # Open Images
    ],
)
def test_columns__of_published_sets(labels, header, separator):
    write(labels, f'{header}\n1.jpg,"sea{separator}sand"\n2.jpg,sea\n')
    assert as_dict(read_labels(labels, separator=separator)) == {"1.jpg": ["sand", "sea"], "2.jpg": ["sea"]}


def test_columns__aid_is_one_hot(labels):
    write(labels, "IMAGE\\LABEL,airplane,bare-soil\nbridge_1,0,1\nbridge_2,1,1\n")
    assert as_dict(read_labels(labels)) == {"bridge_1": ["bare-soil"], "bridge_2": ["airplane", "bare-soil"]}


def test_columns__chosen(labels):
    write(labels, "photo,img_path,first,second,tags\na.jpg,b.jpg,sea,sand,x\nc.jpg,d.jpg,,sea,y\n")
    assert as_dict(read_labels(labels, image_column="photo")) == {"a.jpg": ["x"], "c.jpg": ["y"]}
    table = read_labels(labels, image_column="Photo", tag_column=["first", "second"])
    assert as_dict(table) == {"a.jpg": ["sand", "sea"], "c.jpg": ["sea"]}
    assert "tags from 2 columns: 'first', 'second'" in table.notes
    assert as_dict(read_labels(labels, tag_column="second")) == {"b.jpg": ["sand"], "d.jpg": ["sea"]}
    for options, message in (
        ({"image_column": "bild"}, r"'bild'.*--image-column"),
        ({"tag_column": "third"}, r"no column 'third' \(--tag-column\): columns found are 'photo'"),
    ):
        with pytest.raises(LabelError, match=message):
            read_labels(labels, format="csv", **options)


def test_columns__numbered_ones_are_joined(labels):
    write(labels, "image,label1,label2,label3\n1.jpg,sea,sand,\n2.jpg,sea,,\n3.jpg,,,\n")
    table = read_labels(labels)
    assert as_dict(table) == {"1.jpg": ["sand", "sea"], "2.jpg": ["sea"], "3.jpg": []}
    assert "tags from 3 columns: 'label1', 'label2', 'label3'" in table.notes


# ---------------------------------------------------------------------- several lines for one image


def test_lines__one_an_object_are_joined(labels):
    write(
        labels, "filename,width,class,xmin\na.jpg,9,dog,1\na.jpg,9,person,2\na.jpg,9,dog,7\nb.jpg,9,cow,3\n"
    )
    table = read_labels(labels)
    assert as_dict(table) == {"a.jpg": ["dog", "person"], "b.jpg": ["cow"]}
    assert table.notes[2] == "4 lines for 2 images, one tag a line: an image has the tags of all its lines"
    assert "merged" not in table.notes[0]


def test_lines__confidence_0_is_no_tag(labels):
    write(
        labels,
        "ImageID,Source,LabelName,Confidence\na,v,dog,1\na,v,cat,0\nb,m,cow,0.7\nb,m,dog,1\nc,v,cow,0\nc,v,cat,0\n",
    )
    table = read_labels(labels)
    assert as_dict(table) == {"a": ["dog"], "b": ["cow", "dog"], "c": []}
    assert "3 lines with 'Confidence' 0 give no tag; all others do, whatever it is" in table.notes


def test_lines__a_contradiction_of_joined_tags_is_an_error_with_a_way_out(labels):
    write(labels, 'img_path,tags\na.jpg,"sea,sand"\na.jpg,sea\nb.jpg,sea\nb.jpg,sand\n')
    with pytest.raises(
        LabelError, match=r"'a\.jpg' has different tags on line 2 and line 3; if .*--repeats union"
    ):
        read_labels(labels)
    table = read_labels(labels, repeats="union")
    assert as_dict(table) == {"a.jpg": ["sand", "sea"], "b.jpg": ["sand", "sea"]}
    assert "4 rows for 2 images: their tags are joined" in table.notes


def test_lines__refused_on_request(labels):
    write(labels, "img_path,tags\na.jpg,sea\na.jpg,sand\nb.jpg,sea\nb.jpg,sand\n")
    assert as_dict(read_labels(labels)) == {"a.jpg": ["sand", "sea"], "b.jpg": ["sand", "sea"]}
    with pytest.raises(LabelError, match="has different tags on line 2 and line 3"):
        read_labels(labels, repeats="refuse")


# ---------------------------------------------------------------------- spellings

MANY = (
    "img_path,tags\n1.jpg,Sea\n2.jpg,sea\n3.jpg,sea\n4.jpg,ＳＥＡ\n5.jpg,potted plant\n6.jpg,Potted  plant\n"
)


def test_spellings__are_noted_and_joined_on_request(labels):
    write(labels, MANY)
    table = read_labels(labels)
    assert len(table.space) == 5
    assert table.notes[-1].startswith(
        "3 tags differ from others in capitals, width or blanks alone, such as "
    )
    assert table.notes[-1].endswith("--fold-tags joins them")
    table = read_labels(labels, fold_tags=True)
    assert table.space.tags == ("potted plant", "sea")
    assert table.Y.toarray().astype(int).tolist() == [[0, 1]] * 4 + [[1, 0]] * 2


def test_spellings__follow_a_tag_list(labels, tmp_path):
    write(labels, MANY)
    tags = write(tmp_path / "tags.txt", "SEA\nPotted plant\n")
    with pytest.raises(LabelError, match="tag 'Sea' .*; read it as 'SEA' with --fold-tags, correct it"):
        read_labels(labels, tags=tags)
    table = read_labels(labels, tags=tags, fold_tags=True)
    assert table.space.tags == ("SEA", "Potted plant")
    assert table.Y.toarray().astype(int).tolist() == [[1, 0]] * 4 + [[0, 1]] * 2
    both = write(tmp_path / "both.txt", "Sea\nsea\nＳＥＡ\nPotted plant\n")
    table = read_labels(labels, tags=both, fold_tags=True)
    assert table.Y.sum(axis=0).tolist() == [1, 2, 1, 2]


def test_windows_1252__is_proposed_and_read(labels):
    write(labels, "img_path;tags\na.jpg;Bäume,Straße\nb.jpg;Bäume\n", "cp1252")
    with pytest.raises(LabelError, match="looks like Windows-1252: .*--encoding cp1252"):
        read_labels(labels)
    assert as_dict(read_labels(labels, encoding="cp1252")) == {
        "a.jpg": ["Bäume", "Straße"],
        "b.jpg": ["Bäume"],
    }


def test_header__missing(labels):
    write(labels, "a.jpg,sea\nb.jpg,sand\n")
    with pytest.raises(
        LabelError, match=r"no image column: .*first line seems to be about an image: put a line"
    ):
        read_labels(labels)
    write(labels, "bild,sea\nb.jpg,sand\n")
    with pytest.raises(LabelError, match=r"no image column: .*\(considered: csv, onehot\)$"):
        read_labels(labels)


def test_lines__of_via(labels):
    with labels.open("w", newline="") as file:
        csv.writer(file).writerows(
            [
                ("filename", "region_count", "region_id", "region_attributes"),
                ("a.jpg", 2, 0, '{"name":"dog"}'),
                ("a.jpg", 2, 1, '{"name":"cat"}'),
                ("b.jpg", 0, 0, "{}"),
            ]
        )
    assert as_dict(read_labels(labels)) == {"a.jpg": ["cat", "dog"], "b.jpg": []}


def test_options__of_a_csv_are_refused_elsewhere(labels, tmp_path):
    folder = tmp_path / "sidecars"
    write(folder / "a.jpg", "")
    write(folder / "a.txt", "sea")
    for options in ({"image_column": "x"}, {"tag_column": "x"}):
        with pytest.raises(
            OptionError, match="-column is about the columns of a csv, and .* is read as sidecar"
        ):
            read_labels(folder, **options)
    write(labels, "img_path,tags\n1.jpg,sea\n")
    with pytest.raises(OptionError, match="--blank is about 0/1 columns .* is read as csv; leave it out"):
        read_labels(labels, blank="absent")


@pytest.mark.parametrize("line", ["sep=;\n", '"sep=;"\r\n', "SEP=;\r\n"])
def test_marks__the_line_for_excel_is_passed_over(labels, line):
    write(labels, f"{line}img_path;tags\na.jpg;sea,sand\nb.jpg\n", "utf-8-sig")
    with pytest.raises(LabelError, match="line 4: row has 1 cell"):
        read_labels(labels)
    write(labels, f"{line}img_path;tags\na.jpg;sea,sand\n", "utf-8-sig")
    assert as_dict(read_labels(labels)) == {"a.jpg": ["sand", "sea"]}
