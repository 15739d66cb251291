"""read_labels on YOLO's texts, and texts of numbers that are no tags."""

import pytest

from tests.labels.readers.tables import as_dict, write
from toolkit.errors import LabelError
from toolkit.labels.read import read_labels
from toolkit.labels.readers._texts import kind_of_line

BOXES = {
    "a": "0 0.5 0.5 0.2 0.2\n2 .1 .1 1e-1 0.05\n0 0.3 0.3 0.1 0.1\n",
    "b": "1 0.1 0.1 0.2 0.1 0.2 0.3\r\n",  # an outline
    "c": "",
}
TAGS = {"a": ["cat", "no"], "b": ["天空"], "c": []}
YAML = "train: ../train/images\nnc: 3\nnames:\n"


def put(folder, files):
    for name, text in files.items():
        write(folder / name, text)
    return folder


def beside(folder, ending="jpg"):
    put(folder, {f"{name}.{ending}": "" for name in BOXES})
    return put(folder, {f"{name}.txt": text for name, text in BOXES.items()})


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("classes.txt", "cat\n天空\nno\n\n"),
        ("obj.names", "cat\n天空\nno"),
        ("_darknet.labels", "cat\r\n天空\r\nno\r\n"),
        ("data.yaml", f"{YAML}- cat\n- 天空\n- no\n"),
        ("data.yaml", f"{YAML}  0: cat\n  2: no\n  1: 天空\n"),
        ("dataset.yml", "names: ['cat', '天空', \"no\"]"),
    ],
)
def test_yolo__class_numbers_are_named_wherever_tools_put_the_names(tmp_path, file, text):
    for number, place in enumerate(("set", "", "..")):
        top = tmp_path / str(number)
        folder = beside(top / "above" / "set")
        source = write((folder.parent / place if place != "set" else folder) / file, text)
        table = read_labels(folder)
        assert as_dict(table) == {f"{name}.jpg": tags for name, tags in TAGS.items()}
        assert table.space.tags == ("cat", "no", "天空")
        assert any("class numbers of boxes named by" in note and source.name in note for note in table.notes)


def test_yolo__labels_beside_images_folders_and_the_split_of_the_folders(tmp_path):
    write(tmp_path / "data.yaml", f"{YAML}- cat\n- 天空\n- no\n")
    for part, name in (("train", "a"), ("valid", "b"), ("test", "c")):
        put(tmp_path / part, {f"images/{name}.jpg": "", f"labels/{name}.txt": BOXES[name]})
    write(tmp_path / "train/images/none.jpg", "")
    write(tmp_path / "README.roboflow.txt", "This dataset has 3 images.")
    table = read_labels(tmp_path)
    assert as_dict(table) == {
        "test/images/c.jpg": [],
        "train/images/a.jpg": ["cat", "no"],
        "valid/images/b.jpg": ["天空"],
    }
    assert table.parts == ("test", "train", "val")
    assert "1 image without a .txt, left unlabelled" in table.notes
    alone = read_labels(tmp_path / "train" / "labels")
    assert as_dict(alone) == {"a": ["cat", "no"]}
    assert alone.parts == ()


def test_yolo__parts_below_images_and_labels(tmp_path):
    write(tmp_path / "data.yaml", "names: [cat, dog]")
    for part in ("train", "val"):
        put(tmp_path, {f"images/{part}/1.jpg": "", f"labels/{part}/1.txt": "1 0.5 0.5 0.2 0.2"})
    table = read_labels(tmp_path)
    assert as_dict(table) == {"images/train/1.jpg": ["dog"], "images/val/1.jpg": ["dog"]}
    assert table.parts == ("train", "val")
    assert read_labels(tmp_path / "labels").parts == ("train", "val")


def test_yolo__numbers_of_classes_alone(tmp_path):
    put(tmp_path, {"a.jpg": "", "a.txt": "1\n0\n", "b.jpg": "", "b.txt": "1", "classes.txt": "cat\ndog"})
    assert as_dict(read_labels(tmp_path)) == {"a.jpg": ["cat", "dog"], "b.jpg": ["dog"]}
    with pytest.raises(
        LabelError, match="every line of every .txt is one number.*--format yolo names them by"
    ):
        read_labels(tmp_path, format="sidecar")


def test_yolo__the_tag_list_names_classes_where_nothing_else_does(tmp_path):
    folder = beside(tmp_path / "x" / "y" / "set")
    with pytest.raises(
        LabelError,
        match=r"set holds YOLO boxes, whose class numbers need names; looked for classes\.txt, .* "
        r"in .*set, .*y and .*x; put one there, or give the names in their order by --tags",
    ):
        read_labels(folder)
    tags = write(tmp_path / "list.txt", "cat\n天空\nno\n")
    assert as_dict(read_labels(folder, tags=tags)) == {f"{name}.jpg": tags for name, tags in TAGS.items()}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"classes.txt": "cat\n"}, r"a\.txt line 2: class 2 has no name in .*classes\.txt, which has 1 name"),
        ({"classes.txt": "cat\n\ndog\n"}, r"classes\.txt: class 1 has no name; write one"),
        ({"classes.txt": "cat", "obj.names": "dog"}, "name the classes differently; keep the right one"),
        ({"data.yaml": "names: {cat: 0}"}, "names must be a list, or a mapping from class numbers to names"),
        ({"data.yaml": "names: [[cat]]"}, r"data\.yaml: class 0 has no name"),
        ({"data.yaml": "names: [a"}, r"data\.yaml is not readable yaml \(.*\); write it again"),
        ({"data.yaml": "[" * 3000}, r"data\.yaml is not readable yaml"),
        ({"data.yaml": "!!python/object/apply:os.system [ls]"}, "class numbers need names"),
        ({"classes.txt": "cat\ndog\nx", "b.txt": "1 0.1 0.1 0.2 0.1\nsea"},
         r"b\.txt line 2, 'sea', is no YOLO box, which is a class number and four or more numbers"),
    ],
)  # fmt: skip
def test_yolo__what_is_wrong_is_named(tmp_path, files, message):
    folder = put(beside(tmp_path / "x" / "y" / "set"), files)
    with pytest.raises(LabelError, match=message) as caught:
        read_labels(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "line",
    [
        "Car 0.00 0 -1.57 614.24 181.78 727.31 284.77 1.57 1.73 4.15 1.00 1.75 13.22 1.62",  # KITTI
        "2753 2408 2861 2385 2888 2468 2805 2502 plane 0",  # DOTA
        "0,0.5,0.5,0.1,0.1",
        "0.5 0.5 0.1",
        "12;34",
    ],
)
def test_sidecar__other_rows_of_numbers_are_refused(tmp_path, line):
    put(tmp_path, {"a.jpg": "", "a.txt": f"{line}\n"})
    with pytest.raises(
        LabelError, match=r"a\.txt line 1, '.*, is a row of numbers, not tags; of boxes YOLO's are"
    ):
        read_labels(tmp_path)


def test_sidecar__boxes_are_refused_by_name(tmp_path):
    put(tmp_path, {"a.jpg": "", "a.txt": "0 0.5 0.5 0.2 0.2\n"})
    with pytest.raises(
        LabelError, match=r"a\.txt line 1, '0 0.5 .*', is a YOLO box, not tags; --format yolo"
    ):
        read_labels(tmp_path, format="sidecar")


@pytest.mark.parametrize(
    "line", ["1girl, solo", "route 66", "2019", "4 wheels, 2 doors, 5 seats", "f/2.8", "a 1 2 b c", "三 1 2"]
)
def test_kind_of_line__tags_with_numbers_are_words(line):
    assert kind_of_line(line) == ("number" if line == "2019" else "words")


def test_sidecar__a_year_among_words_is_a_tag(tmp_path):
    put(tmp_path, {"a.jpg": "", "a.txt": "2019\nsea\n", "b.jpg": "", "b.txt": "2020\n"})
    assert as_dict(read_labels(tmp_path)) == {"a.jpg": ["2019", "sea"], "b.jpg": ["2020"]}


def test_sidecar__named_after_the_whole_name_of_the_picture(tmp_path):
    put(tmp_path, {"a.jpg": "", "a.jpg.txt": "sand\nsea\n", "a.png": "", "a.png.txt": "ship", "b.jpg": "",
                   "b.txt": "sea"})  # fmt: skip
    assert as_dict(read_labels(tmp_path)) == {"a.jpg": ["sand", "sea"], "a.png": ["ship"], "b.jpg": ["sea"]}
