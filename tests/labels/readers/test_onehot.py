"""read_labels on one-hot csv files, the registry of readers, and detecting the format of a file."""

from pkgutil import resolve_name

import pytest

from tests.labels.readers.tables import as_dict, write
from toolkit.errors import LabelError, OptionError
from toolkit.labels.read import read_labels
from toolkit.labels.registry import READERS


def test_onehot__every_spelling_of_a_bit(labels):
    write(
        labels,
        "dog,img_path, 猫 ,owl\n0,1.jpg,1,0\n1.0,2.jpg,0.0,0\nTrue,3.jpg,false,0\n FALSE ,4.jpg,tRUE,0\n",
    )
    table = read_labels(labels)
    assert table.ids == ("1.jpg", "2.jpg", "3.jpg", "4.jpg")
    assert table.space.tags == ("dog", "owl", "猫")
    assert table.Y.toarray().astype(int).tolist() == [[0, 0, 1], [1, 0, 0], [1, 0, 0], [0, 0, 1]]
    assert table.notes[0] == "4 images, 3 tags, 1.0 tags an image"
    assert table.notes[1] == "1 tag without an image"


@pytest.mark.parametrize("cell", ["2", "0.5", "yes"])
def test_onehot__anything_else_names_the_cell(labels, cell):
    write(labels, f"img_path,cat,dog\n1.jpg,1,0\n2.jpg,0,{cell}\n")
    with pytest.raises(LabelError, match=rf"line 3, column 'dog': '{cell}' is neither 0 nor 1"):
        read_labels(labels)
    write(labels, f"img_path,cat,dog\n1.jpg,1,{cell}\n")
    with pytest.raises(
        LabelError, match=rf"considered: csv \(no tag .* onehot \(column 'dog' holds '{cell}'\)"
    ):
        read_labels(labels)
    with pytest.raises(LabelError, match=rf"line 2, column 'dog': '{cell}' is neither 0 nor 1"):
        read_labels(labels, format="onehot")


def test_onehot__columns_must_have_names_of_their_own(labels):
    write(labels, "img_path,cat,cat \n1.jpg,1,0\n")
    with pytest.raises(LabelError, match="has two columns 'cat'; rename one"):
        read_labels(labels)
    write(labels, ",img_path,cat\n0,1.jpg,0\n")
    assert as_dict(read_labels(labels)) == {"1.jpg": []}
    write(labels, "img_path,cat,\n1.jpg,0,1\n")
    with pytest.raises(LabelError, match="column 3 has no name; give it one, or name .*--tag-column"):
        read_labels(labels)
    write(labels, "img_path\n1.jpg\n")
    with pytest.raises(LabelError, match=r"onehot \(there is no other column\)"):
        read_labels(labels)
    with pytest.raises(LabelError, match="has no column besides 'img_path'"):
        read_labels(labels, format="onehot")
    write(labels, "cat,dog\n1,0\n")
    with pytest.raises(LabelError, match="no image column"):
        read_labels(labels, format="onehot")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("img_path,cat\n", "there are no rows"),
        ("img_path,cat\na\n", "the first row and the header differ in length"),
    ],
)
def test_onehot__auto_says_why_not(labels, text, reason):
    write(labels, text)
    with pytest.raises(LabelError, match=rf"onehot \({reason}\)"):
        read_labels(labels)


def test_onehot__a_tag_column_wins_over_bits(labels):
    write(labels, "img_path,cat,tags\n1.jpg,1,0\n")
    assert read_labels(labels).space.tags == ("0",)


def test_onehot__duplicates_and_tag_list(labels, tmp_path):
    write(labels, "img_path,a,b,c\n1.jpg,1,0,0\n1.jpg,1,0,0\n2.jpg,0,1,0\n")
    table = read_labels(labels, tags=write(tmp_path / "tags.txt", "b\na\n"))
    assert as_dict(table) == {"1.jpg": ["a"], "2.jpg": ["b"]}
    write(labels, "img_path,a,b\n1.jpg,1,0\n1.jpg,0,0\n")
    with pytest.raises(LabelError, match=r"'1\.jpg' has different tags on line 2 and line 3"):
        read_labels(labels)


def test_registry__every_reader_loads_and_unknown_names_are_refused(labels):
    assert list(READERS)[:7] == ["csv", "onehot", "npz", "sidecar", "folders", "coco", "voc"]
    assert all(callable(resolve_name(reader)) for reader in READERS.values())
    write(labels, "img_path,tags\n1.jpg,a\n")
    with pytest.raises(OptionError, match="--format got 'yoloo'; allowed are auto, csv, onehot, npz"):
        read_labels(labels, format="yoloo")


def test_registry__a_reader_is_one_function_and_one_line(tmp_path, monkeypatch):
    module = tmp_path / "my_reader.py"
    module.write_text(
        "from toolkit.labels.raw import RowCollector\n"
        "def read(path, options):\n"
        "    labels = RowCollector()\n"
        "    labels.add(path.name, ['x'], 1)\n"
        "    return labels.finish(path.parent)\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(READERS, "mine", "my_reader:read")
    assert as_dict(read_labels(write(tmp_path / "a.bin", ""), format="mine")) == {"a.bin": ["x"]}


def test_auto__unknown_suffix_names_the_formats_considered(tmp_path):
    with pytest.raises(
        LabelError,
        match=r"no label format has the suffix '\.xlsx'; considered: csv and onehot \(\.csv\), "
        r"npz \(\.npz\), coco, labelstudio, fiftyone and records \(\.json, \.jsonl\), cvat \(\.xml\), "
        r"parquet \(\.parquet\), and voc, labelme, yolo, sidecar and folders \(a folder\); name one with",
    ):
        read_labels(write(tmp_path / "labels.xlsx", "x"))


def test_auto__something_else_called_csv(tmp_path, monkeypatch):
    path = write(tmp_path / "labels.csv", "x" * 200_000)
    with pytest.raises(
        LabelError, match=r"no image column: columns found are 'x+'\.\.\. \(200,000 characters\)"
    ):
        read_labels(path)

    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("toolkit.files.csv.open_regular", refuse)
    with pytest.raises(LabelError, match=r"labels\.csv cannot be read \(Permission denied\)"):
        read_labels(path)


METADATA = (
    "Path,Sex,Age,Edema,No Finding,Devices\n"
    "a.jpg,Male,40,1.0,,0.0\nb.jpg,Female,41,,-1.0,1\nc.jpg,Male,42,-1,1,\n"
)


def test_onehot__a_tag_list_chooses_the_columns(labels, tmp_path):
    write(labels, "img_path,sex,cat,dog,age\n1.jpg,m,1,0,40\n2.jpg,f,1,1,41\n")
    with pytest.raises(LabelError, match=r"with --tag-column, or list .*--tags; .*column 'sex' holds 'm'"):
        read_labels(labels)
    table = read_labels(labels, tags=write(tmp_path / "tags.txt", "dog\ncat\nowl\n"))
    assert as_dict(table) == {"1.jpg": ["cat"], "2.jpg": ["dog", "cat"]}
    assert table.notes[-1] == f"2 columns left aside, not in {tmp_path / 'tags.txt'}: 'sex', 'age'"
    assert as_dict(read_labels(labels, tag_column=["dog", "cat"])) == {
        "1.jpg": ["cat"],
        "2.jpg": ["cat", "dog"],
    }
    assert as_dict(read_labels(labels, tag_column="dog", format="onehot")) == {"1.jpg": [], "2.jpg": ["dog"]}
    with pytest.raises(
        LabelError, match=r"no column is called as a tag of .*columns found are 'img_path', 'sex'"
    ):
        read_labels(labels, tags=write(tmp_path / "tags.txt", "owl\n"), format="onehot")
    folded = write(tmp_path / "tags.txt", "DOG\nCat\n")
    table = read_labels(labels, tags=folded, fold_tags=True)
    assert as_dict(table) == {"1.jpg": ["Cat"], "2.jpg": ["DOG", "Cat"]}


@pytest.mark.parametrize(
    ("blank", "uncertain", "a", "b", "c"),
    [
        ("absent", "absent", ["Edema"], ["Devices"], ["No Finding"]),
        ("absent", "present", ["Edema"], ["Devices", "No Finding"], ["Edema", "No Finding"]),
        ("present", "absent", ["Edema", "No Finding"], ["Devices", "Edema"], ["Devices", "No Finding"]),
    ],
)
def test_onehot__blank_and_uncertain_cells_as_asked(labels, tmp_path, blank, uncertain, a, b, c):
    write(labels, METADATA)
    tags = write(tmp_path / "tags.txt", "Devices\nEdema\nNo Finding\n")
    table = read_labels(labels, tags=tags, blank=blank, uncertain=uncertain)
    assert as_dict(table) == {"a.jpg": a, "b.jpg": b, "c.jpg": c}


def test_onehot__blank_and_uncertain_cells_are_refused_with_the_way_out(labels, tmp_path):
    write(labels, METADATA)
    tags = write(tmp_path / "tags.txt", "Devices\nEdema\nNo Finding\n")
    with pytest.raises(
        LabelError,
        match="line 2, column 'No Finding': '' is neither 0 nor 1 .* --blank absent or --blank present",
    ):
        read_labels(labels, tags=tags)
    with pytest.raises(
        LabelError, match="line 3, column 'No Finding': '-1.0' .* --uncertain absent or --uncertain"
    ):
        read_labels(labels, tags=tags, blank="absent")
    with pytest.raises(OptionError, match="--blank got 'unknown'; allowed are refuse, absent, present"):
        read_labels(labels, tags=tags, blank="unknown")
    write(labels, "img_path,cat,dog\n1.jpg,0,0.5\n")
    with pytest.raises(
        LabelError, match="'0.5' is neither .*if the column is no tag, name those that are with"
    ):
        read_labels(labels, format="onehot")


@pytest.mark.parametrize("cell", ["-1", "", "nan"])
def test_onehot__is_recognised_with_such_cells_in_the_first_row(labels, cell):
    write(labels, f"img_path,cat,dog\n1.jpg,1,{cell}\n")
    with pytest.raises(
        LabelError, match=rf"line 2, column 'dog': '{cell}' is neither 0 nor 1 .*such cells mean"
    ):
        read_labels(labels)
    assert as_dict(read_labels(labels, blank="absent", uncertain="absent")) == {"1.jpg": ["cat"]}


def test_onehot__the_index_of_pandas_is_no_tag(labels):
    write(labels, "Unnamed: 0,Unnamed: 0.1,filename,cat,dog\n0,0,a.jpg,1,1\n1,1,b.jpg,0,1\n2,2,c.jpg,0,0\n")
    table = read_labels(labels)
    assert as_dict(table) == {"a.jpg": ["cat", "dog"], "b.jpg": ["dog"], "c.jpg": []}
    assert table.notes[-1] == (
        "left aside: 'Unnamed: 0', 'Unnamed: 0.1', which is the index of a pandas table and no tag"
    )
