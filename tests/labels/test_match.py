"""find_label_file and match_labels."""

import logging
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from toolkit.errors import LabelError
from toolkit.labels.find import find_label_file
from toolkit.labels.match import match_labels
from toolkit.labels.read import read_labels
from toolkit.labels.space import LabelSpace
from toolkit.labels.table import LabelTable

LABELS = "img_path,tags\n1.jpg,a\n"


def put(path, text=LABELS, encoding="utf-8"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return path


# find_label_file


@pytest.fixture
def train(tmp_path):
    (tmp_path / "train").mkdir()
    return tmp_path / "train"


@pytest.mark.parametrize("file", ["labels.csv", "train.csv", "photos.csv", "visual_china_train.csv"])
def test_find__in_the_folder_then_beside_it(train, file):
    assert find_label_file(train, name="photos") is None
    beside = put(train.parent / file)
    assert find_label_file(train, name="photos") == beside
    inside = put(train / file)
    assert find_label_file(train, name="photos") == inside


def test_find__the_folder_goes_before_the_name(train):
    put(train.parent / "labels.csv")
    inside = put(train / "visual_china_train.csv")
    assert find_label_file(train, name="train") == inside


def test_find__precedence_in_one_place_is_told(train, caplog):
    put(train / "visual_china_train.csv")
    with caplog.at_level(logging.WARNING):
        for file in ("train.csv", "photos.csv", "labels.csv"):
            put(train / file)
            assert find_label_file(train, name="photos") == train / file
    assert caplog.messages[-1] == (
        f"labels from {train / 'labels.csv'}; photos.csv, train.csv, visual_china_train.csv "
        "beside it not read (--labels chooses)"
    )


def test_find__a_name_that_is_a_default_name_counts_once(train, caplog):
    put(train / "train.csv")
    assert find_label_file(train, name="train") == train / "train.csv"
    assert not caplog.messages


@pytest.mark.parametrize(
    "text",
    ["", "img_path,split\n1.jpg,train\n", "a,b\n1,2\n", "img_path\n1.jpg\n", '"', "img_path,cat\n1.jpg,-1\n"],
)
def test_find__files_without_labels_are_passed_over(train, text):
    put(train / "labels.csv", text)
    put(train / "train.csv", text)
    (train.parent / "labels.csv").mkdir()
    assert find_label_file(train, name="x") is None
    beside = put(train.parent / "train.csv")
    assert find_label_file(train, name="x") == beside


@pytest.mark.parametrize("text", ["img_path,cat,dog\n1.jpg,1,0\n", "file_name,labels\n"])
def test_find__any_kind_of_label_csv(train, text):
    path = put(train / "labels.csv", text)
    assert find_label_file(train, name="x") == path


@pytest.mark.parametrize("encoding", ["gb18030", "utf-16", "utf-8-sig"])
def test_find__other_encodings_are_found_so_that_reading_can_explain(train, encoding):
    path = put(train / "labels.csv", "img_path,tags\n一.jpg,天空\n", encoding)
    assert find_label_file(train, name="x") == path


@pytest.mark.parametrize("folder", ["valid", "Test", "validation", "val"])
def test_find__train_labels_are_not_for_the_other_parts(tmp_path, folder):
    (tmp_path / folder).mkdir()
    put(tmp_path / "train.csv")
    put(tmp_path / "visual_china_train.csv")
    assert find_label_file(tmp_path / folder, name=folder) is None
    own = put(tmp_path / f"{folder}.csv")
    assert find_label_file(tmp_path / folder, name=folder) == own


CLASSES = "filename, cat, dog\n1.jpg, 1, 0\n"
RECORDS = '[{"image": "1.jpg", "annotations": ["cat"]}]'
COCO = '{"images": [{"id": 1, "file_name": "1.jpg"}], "annotations": [], "categories": []}'


@pytest.mark.parametrize(
    ("file", "text", "beside"),
    [
        ("_classes.csv", CLASSES, False),
        ("_annotations.coco.json", COCO, False),
        ("_annotations.createml.json", RECORDS, False),
        ("metadata.jsonl", '{"file_name": "1.jpg", "tags": ["cat"]}', False),
        ("metadata.csv", "file_name,label\n1.jpg,cat\n", False),
        ("labels.json", '{"classes": ["cat"], "labels": {"1": 0}}', True),
        ("annotations.xml", '<annotations><image name="1.jpg"/></annotations>', True),
    ],
)
def test_find__what_tools_export_under_names_of_their_own(train, file, text, beside):
    put(train.parent / file, text)
    assert find_label_file(train, name="x") == (train.parent / file if beside else None)
    inside = put(train / file, text)
    assert find_label_file(train, name="x") == inside


@pytest.mark.parametrize(
    ("file", "text"), [("labels.json", '{"a": 1}'), ("labels.json", "{"), ("annotations.xml", "<html/>")]
)
def test_find__other_json_and_xml_are_passed_over(train, file, text):
    put(train / file, text)
    assert find_label_file(train, name="x") is None


def test_find__csv_source(tmp_path):
    source = put(tmp_path / "images.csv", "img_path\n1.jpg\n")
    assert find_label_file(source, name="images") is None
    beside = put(tmp_path / "labels.csv")
    assert find_label_file(source, name="images") == beside
    put(source)
    assert find_label_file(source, name="images") == source


def test_find__relative_and_vanished_sources(train, monkeypatch):
    beside = put(train.parent / "labels.csv")
    monkeypatch.chdir(train)
    assert find_label_file(Path(), name="x") == beside
    monkeypatch.chdir(train.parent)
    assert find_label_file(Path("train"), name="x") == beside
    assert find_label_file(Path("gone"), name="x") == beside


def test_find__beside_a_link_not_beside_its_target(tmp_path):
    (tmp_path / "disk" / "images").mkdir(parents=True)
    put(tmp_path / "disk" / "labels.csv")
    beside = put(tmp_path / "work" / "labels.csv")
    (tmp_path / "work" / "train").symlink_to(tmp_path / "disk" / "images", target_is_directory=True)
    assert find_label_file(tmp_path / "work" / "train", name="train") == beside


# match_labels


def table_of(ids, root="/data"):
    Y = sp.csr_array(np.ones((len(ids), 1), dtype=bool))
    return LabelTable(tuple(ids), LabelSpace(("a",)), Y, Path(root) / "labels.csv", Path(root))


def matched(match, ids, table):
    assert match.store_rows.dtype == match.table_rows.dtype == np.intp
    assert match.store_rows.tolist() == sorted(match.store_rows.tolist())
    assert sum(match.how.values()) == len(match.store_rows) == len(match.table_rows)
    return {
        ids[i]: table.ids[j]
        for i, j in zip(match.store_rows.tolist(), match.table_rows.tolist(), strict=True)
    }


def ways(match):
    return {way: number for way, number in match.how.items() if number}


def test_match__path_relative_to_the_images():
    ids, table = ["a/1.jpg", "b/1.jpg", "c/1.jpg"], table_of(["b/1.jpg", "x/9.jpg", "a/1.jpg"], "/elsewhere")
    match = match_labels(ids, table, source_root=Path("/data"))
    assert matched(match, ids, table) == {"a/1.jpg": "a/1.jpg", "b/1.jpg": "b/1.jpg"}
    assert match.store_rows.tolist() == [0, 1]
    assert match.table_rows.tolist() == [2, 0]
    assert match.unlabelled_images == ("c/1.jpg",)
    assert match.missing_images == ("x/9.jpg",)
    assert match.how == {
        "path relative to the images": 2,
        "path relative to the label file": 0,
        "path in another spelling": 0,
        "end of the path": 0,
        "base name": 0,
        "name in other capitals": 0,
        "stem": 0,
        "name without Label Studio's prefix": 0,
    }
    assert match.summary() == (
        "2 of 3 images matched (2 by path relative to the images); 1 image without labels; "
        "1 label row without an image"
    )


@pytest.mark.parametrize(
    ("source", "root", "label"),
    [
        ("/data/images", "/data", "images/a/1.jpg"),
        ("/data", "/data/images", "a/1.jpg"),
        ("/data/images", "/data/annotations", "../images/a/1.jpg"),
        ("/data/images", "/x", "/data/images/a/1.jpg"),
        ("/data/images", "/data", "./images/a//1.jpg"),
    ],
)
def test_match__path_relative_to_the_label_file(source, root, label):
    # a second image of that base name keeps the base name from helping
    ids = ["images/a/1.jpg" if source == "/data" else "a/1.jpg", "b/1.jpg"]
    table = table_of([label], root)
    match = match_labels(ids, table, source_root=Path(source))
    assert matched(match, ids, table) == {ids[0]: label}
    assert ways(match) == {"path relative to the label file": 1}


def test_match__relative_roots_and_links(tmp_path, monkeypatch):
    (tmp_path / "real" / "images").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real", target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    ids, table = ["a/1.jpg", "b/1.jpg"], table_of(["images/a/1.jpg"], tmp_path / "link")
    assert ways(match_labels(ids, table, source_root=Path("real/images"))) == {
        "path relative to the label file": 1
    }


def test_match__first_reading_goes_first_unless_the_second_fits_more():
    ids, table = ["a.jpg", "sub/a.jpg"], table_of(["a.jpg"], "/data/sub")
    assert matched(match_labels(ids, table, source_root=Path("/data")), ids, table) == {"a.jpg": "a.jpg"}
    ids = ["a.jpg", "sub/a.jpg", "sub/b.jpg", "sub/c.jpg"]
    table = table_of(["a.jpg", "b.jpg", "c.jpg"], "/data/sub")
    match = match_labels(ids, table, source_root=Path("/data"))
    assert matched(match, ids, table) == {"sub/a.jpg": "a.jpg", "sub/b.jpg": "b.jpg", "sub/c.jpg": "c.jpg"}
    assert match.unlabelled_images == ("a.jpg",)


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_match__unicode_forms(form):
    other = {"NFC": "NFD", "NFD": "NFC"}[form]
    spell = unicodedata.normalize
    ids = [spell(form, "été/é.jpg"), spell(form, "b/é.jpg"), "c/é.jpg"]
    table = table_of([spell(other, "été/é.jpg"), spell(other, "../pics/b/é.jpg")], "/data/csv")
    match = match_labels(ids, table, source_root=Path("/data/pics"))
    assert matched(match, ids, table) == {ids[0]: table.ids[0], ids[1]: table.ids[1]}
    assert ways(match) == {"path in another spelling": 2}


def test_match__exact_spelling_goes_before_the_other_one():
    composed, combined = "\u00e9.jpg", "e\u0301.jpg"
    ids, table = [combined, composed], table_of([composed, combined])
    assert matched(match_labels(ids, table, source_root=None), ids, table) == {
        composed: composed,
        combined: combined,
    }


def test_match__backslashes_of_a_windows_csv():
    ids, table = ["a/1.jpg", "b/1.jpg"], table_of(["b\\1.jpg", "a\\1.jpg"])
    match = match_labels(ids, table, source_root=Path("/data"))
    assert matched(match, ids, table) == {"a/1.jpg": "a\\1.jpg", "b/1.jpg": "b\\1.jpg"}


def test_match__bare_names_of_a_contest():
    ids = ["x/1.jpg", "x/2.jpg", "y/3.jpg"]
    table = table_of(["3.jpg", "1.jpg", "4.jpg"])
    match = match_labels(ids, table, source_root=Path("/elsewhere"))
    assert matched(match, ids, table) == {"x/1.jpg": "1.jpg", "y/3.jpg": "3.jpg"}
    assert ways(match) == {"base name": 2}
    assert match.unlabelled_images == ("x/2.jpg",)
    assert match.missing_images == ("4.jpg",)


def test_match__ambiguous_base_names_stay_unmatched_and_are_reported():
    ids = ["x/1.jpg", "y/1.jpg", "x/2.jpg", "x/3.jpg", "x/5.jpg", "x/6.jpg"]
    table = table_of(["p/1.jpg", "p/2.jpg", "q/2.jpg", "p/3.jpg", "x/5.jpg", "z/5.jpg"])
    match = match_labels(ids, table, source_root=None)
    assert matched(match, ids, table) == {"x/3.jpg": "p/3.jpg", "x/5.jpg": "x/5.jpg"}
    assert match.unlabelled_images == ("x/1.jpg", "y/1.jpg", "x/2.jpg", "x/6.jpg")
    assert match.missing_images == ("p/1.jpg", "p/2.jpg", "q/2.jpg", "z/5.jpg")
    assert match.ambiguous_names == ("1.jpg", "2.jpg")
    assert match.summary().endswith(
        "4 images without labels; 4 label rows without an image; 2 base names ambiguous ('1.jpg', '2.jpg')"
    )


def test_match__a_name_matched_by_path_elsewhere_is_not_given_to_another_image():
    ids, table = ["a/1.jpg", "b/1.jpg"], table_of(["a/1.jpg", "c/1.jpg"])
    match = match_labels(ids, table, source_root=None)
    assert matched(match, ids, table) == {"a/1.jpg": "a/1.jpg"}
    assert match.unlabelled_images == ("b/1.jpg",)
    assert match.missing_images == ("c/1.jpg",)


def test_match__rows_of_one_image_listed_twice_both_get_its_labels():
    ids, table = ["1.jpg", "2.jpg", "1.jpg"], table_of(["1.jpg"])
    match = match_labels(ids, table, source_root=None)
    assert match.store_rows.tolist() == [0, 2]
    assert match.table_rows.tolist() == [0, 0]


def test_match__nothing_in_common_shows_both_sides():
    with pytest.raises(
        LabelError,
        match=r"no image matches a label of /data/labels\.csv: an image is 'a/1\.jpg', "
        r"a label row is for '2\.png'; give the label file of these images, or write its paths relative to",
    ):
        match_labels(["a/1.jpg"], table_of(["2.png"]), source_root=Path("/data"))
    with pytest.raises(
        LabelError, match=r"there are no images to match with the labels of /data/labels\.csv"
    ):
        match_labels([], table_of(["2.png"]), source_root=None)


# ends of paths, capitals, stems


def test_match__folders_of_another_computer():
    ids = [f"{mood}/{number}.jpg" for mood in ("happy", "sad") for number in range(3)]
    windows = [
        f"C:\\Users\\me\\set\\train\\{mood}\\{number}.jpg" for mood in ("sad", "happy") for number in range(3)
    ]
    for labels in (windows, [label.replace("\\", "/") for label in windows], [f"x/{image}" for image in ids]):
        table = table_of(labels)
        match = match_labels(ids, table, source_root=Path("/data/train"))
        found = matched(match, ids, table)
        assert len(found) == 6
        assert all(label.replace("\\", "/").endswith(f"/{image}") for image, label in found.items())
        assert ways(match) == {"end of the path": 6}


def test_match__folders_overlap_in_part():
    ids = ["part1/set/a/1.jpg", "part1/set/b/1.jpg", "part2/set/a/1.jpg"]
    table = table_of(["/old/disk/set/b/1.jpg", "/old/part2/set/a/1.jpg", "/old/part1/set/a/1.jpg"])
    match = match_labels(ids, table, source_root=Path("/new"))
    assert matched(match, ids, table) == dict(
        zip(ids, [table.ids[2], table.ids[0], table.ids[1]], strict=True)
    )


def test_match__the_images_own_folder_tells_parts_apart():
    table = table_of(["/k/train/1.jpg", "/k/valid/1.jpg"], "/elsewhere")
    for folder, label in (("train", "/k/train/1.jpg"), ("val", None), ("valid", "/k/valid/1.jpg")):
        if label is None:
            with pytest.raises(
                LabelError, match=r"'1\.jpg' could be several of these images or label rows; write more"
            ):
                match_labels(["1.jpg"], table, source_root=Path("/data", folder))
            continue
        match = match_labels(["1.jpg"], table, source_root=Path("/data", folder))
        assert matched(match, ["1.jpg"], table) == {"1.jpg": label}


def test_match__never_one_part_of_a_split_with_another():
    table = table_of(["/visual_china/train/1.jpg"], "/elsewhere")
    with pytest.raises(
        LabelError, match="their folders are two parts of a split: give the label file of these"
    ):
        match_labels(["1.jpg"], table, source_root=Path("/data/valid"))
    assert ways(match_labels(["1.jpg"], table, source_root=Path("/data/pictures"))) == {"base name": 1}


@pytest.mark.parametrize(
    ("ids", "labels", "pairs", "how"),
    [
        (["train_0.jpg", "train_1.jpg"], ["train_1", "train_0"], {0: 1, 1: 0}, {"stem": 2}),
        (["a.jpg", "b.jpeg"], ["a.png", "b.tif"], {0: 0, 1: 1}, {"stem": 2}),
        (["A.JPG", "b.jpg"], ["a.jpg", "B.jpg"], {0: 0, 1: 1}, {"name in other capitals": 2}),
        (["x/a.jpg", "y/a.jpg"], ["y/a.png", "x/a"], {0: 1, 1: 0}, {"stem": 2}),
        (["a.jpg", "a.png", "b.jpg"], ["a.JPG", "b"], {0: 0, 2: 1}, {"name in other capitals": 1, "stem": 1}),
        (["a.jpg", "b.png"], ["a.jpg", "b.jpg"], {0: 0, 1: 1}, {"path relative to the images": 1, "stem": 1}),
        (["scan.2019.jpg", "scan.2020.jpg"], ["scan.2020", "scan.2019"], {0: 1, 1: 0}, {"stem": 2}),
        (["a b.jpg"], ["http://host/up/a%20b.jpg?x=/1.jpg#y"], {0: 0}, {"base name": 1}),
        (["cat.jpg", "d.jpg"], ["/data/upload/1/0123abcd-cat.jpg", "89abcdef-d.png"], {0: 0, 1: 1},
         {"name without Label Studio's prefix": 2}),
        (["0123abcd-cat.jpg", "cat.jpg"], ["/data/upload/1/0123abcd-cat.jpg"], {0: 0}, {"base name": 1}),
        # what could be two images is none
        (["a.jpg", "a.png", "c.jpg"], ["a", "c"], {2: 1}, {"stem": 1}),
        (["a.webp", "c.jpg"], ["a.jpg", "a.png", "c.jpg"], {1: 2}, {"path relative to the images": 1}),
        (["a.jpg", "a.png"], ["a.jpg", "a.tif"], {0: 0}, {"path relative to the images": 1}),
        (["A.jpg", "a.JPG", "c.jpg"], ["a.jpg", "c.jpg"], {2: 1}, {"path relative to the images": 1}),
    ],
)  # fmt: skip
def test_match__endings_and_capitals(ids, labels, pairs, how):
    table = table_of(labels)
    match = match_labels(ids, table, source_root=Path("/elsewhere"))
    assert dict(zip(match.store_rows.tolist(), match.table_rows.tolist(), strict=True)) == pairs
    assert ways(match) == how
    assert set(match.missing_images) == {
        label for row, label in enumerate(labels) if row not in pairs.values()
    }


def test_match__stems_are_counted_in_the_summary():
    table = table_of(["a.jpg", "b.png", "c"])
    summary = match_labels(["a.jpg", "b.jpg", "c.jpg"], table, source_root=None).summary()
    assert summary.startswith("3 of 3 images matched (1 by path relative to the images, 2 by stem); 0 images")


def test_match__ambiguous_names_are_an_error_if_nothing_else_matches():
    with pytest.raises(
        LabelError, match=r"'1\.jpg' could be several of these images or label rows; write more of"
    ):
        match_labels(["a/1.jpg", "b/1.jpg"], table_of(["1"]), source_root=None)


def test_match__equals_brute_force_on_random_trees():
    rng = np.random.default_rng(0)
    for _ in range(30):
        pool = [f"{d}/{n}.jpg" for d in "abc" for n in range(5)]
        ids = sorted(rng.choice(pool, 8, replace=False).tolist())
        labels = rng.choice([*pool, "0.jpg", "1.jpg", "2.jpg"], 9, replace=False).tolist()
        table = table_of(labels)
        expected = {image: image for image in ids if image in labels}
        for image in ids:
            name = image[2:]
            alike = [label for label in labels if label.rpartition("/")[2] == name]
            if image not in expected and len(alike) == 1 and sum(other[2:] == name for other in ids) == 1:
                expected[image] = alike[0]
        match = match_labels(ids, table, source_root=Path("/data"))
        assert matched(match, ids, table) == expected
        assert match.unlabelled_images == tuple(image for image in ids if image not in expected)
        assert match.missing_images == tuple(label for label in labels if label not in expected.values())


def test_match__a_hundred_thousand_by_each_way():
    N = 100_000
    ids = [f"images/d{i % 100}/{i}.jpg" for i in range(N)]
    order = np.random.default_rng(0).permutation(N)
    table = table_of([ids[i] for i in order])
    inverse = np.argsort(order)
    for prefix, root in (("", "/data"), ("images/", "/data/images"), ("images/", "/elsewhere")):
        match = match_labels([image[len(prefix) :] for image in ids], table, source_root=Path(root))
        np.testing.assert_array_equal(match.store_rows, np.arange(N))
        np.testing.assert_array_equal(match.table_rows, inverse)


# real files


@pytest.mark.parametrize(
    ("name", "images", "tags", "without"),
    [("ucmerced", 2100, 17, 0), ("coco_small", 412, 80, 2)],
)
def test_shared__real_label_files(shared_data, name, images, tags, without):
    folder = shared_data / name
    found = find_label_file(folder / "images", name="images")
    assert found == folder / "labels.csv"
    table = read_labels(found)
    assert table.Y.shape == (images, tags)
    assert int((np.diff(table.Y.indptr) == 0).sum()) == without
    ids = sorted(path.name for path in (folder / "images").iterdir())
    match = match_labels(ids, table, source_root=folder / "images")
    assert ways(match) == {"path relative to the label file": images}
    assert match.unlabelled_images == match.missing_images == ()
    assert [f"images/{image}" for image in ids] == [table.ids[row] for row in match.table_rows]


def test_shared__odd_images_have_no_labels(shared_data):
    assert find_label_file(shared_data / "odd_images" / "files", name="files") is None
