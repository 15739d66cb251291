"""read_labels on sidecar texts, class folders, COCO json and Pascal VOC xml."""

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.labels.readers.tables import as_dict
from toolkit.errors import LabelError, OptionError
from toolkit.images.manifest import read_manifest
from toolkit.labels.read import read_labels


def tree(root, files):
    """Write `files`, a dict of relative path to text or bytes, under `root`."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


def coco(images, annotations, categories):
    return json.dumps(
        {
            "info": {"year": 2017},
            "images": [{"id": key, "file_name": name, "width": 1} for key, name in images],
            "annotations": [{"id": 1, "image_id": image, "category_id": category, "bbox": [0, 0, 1, 1]}
                            for image, category in annotations],
            "categories": [{"id": key, "name": name, "supercategory": "x"} for key, name in categories],
        },
        ensure_ascii=False,
    )  # fmt: skip


def voc(filename, *names, extra=""):
    objects = "".join(
        f"<object><name>{name}</name><difficult>1</difficult><part><name>head</name></part></object>"
        for name in names
    )
    return f"<annotation><folder>f</folder><filename>{filename}</filename>{objects}{extra}</annotation>"


# sidecar texts


def test_sidecar__separated_one_a_line_or_both(tmp_path):
    tree(
        tmp_path,
        {
            "a.jpg": "",
            "a.txt": "1girl, solo , long hair,,solo",
            "sub/b.PNG": "",
            "sub/b.txt": "天空\r\n大海\r\n",
            "c.webp": "",
            "c.TXT": "\ufeffx, y\nz\n",
            "empty.jpg": "",
            "empty.txt": " \n",
            "unlabelled.jpg": "",
            "a.json": "{}",
            "readme.txt": "hello",
            ".hidden.jpg": "",
            ".hidden.txt": "h",
        },
    )
    table = read_labels(tmp_path)
    assert as_dict(table) == {
        "a.jpg": ["1girl", "long hair", "solo"],
        "c.webp": ["x", "y", "z"],
        "empty.jpg": [],
        "sub/b.PNG": ["大海", "天空"],
    }
    assert table.root == tmp_path
    assert table.notes == (
        "4 images, 8 tags, 2.0 tags an image, 1 image without tags",
        "the columns are the tags in code-point order; a tag list (--tags) sets another",
        "1 image without a .txt beside, left unlabelled",
        "1 .txt file without an image beside, ignored",
    )


def test_sidecar__separator_and_encoding(tmp_path):
    tree(tmp_path, {"a.jpg": "", "a.txt": "天空|大 海".encode("gb18030")})
    with pytest.raises(LabelError, match=r"a\.txt is not UTF-8 \(at line 1\); it looks like GB18030"):
        read_labels(tmp_path)
    assert as_dict(read_labels(tmp_path, encoding="gb18030", separator="|")) == {"a.jpg": ["大 海", "天空"]}
    tree(tmp_path, {"a.txt": "b a"})
    assert as_dict(read_labels(tmp_path, separator="space")) == {"a.jpg": ["a", "b"]}


def test_sidecar__another_separator_is_asked_about(tmp_path):
    pairs = ("sand sea", "sea ship", "ship sand", "sand sea ship")
    tree(tmp_path, {f"{number}.jpg": "" for number in range(12)})
    tree(tmp_path, {f"{number}.txt": pairs[number % 4] for number in range(12)})
    assert any("is that the separator (--separator)?" in note for note in read_labels(tmp_path).notes)
    assert read_labels(tmp_path, separator="space").space.tags == ("sand", "sea", "ship")


def test_sidecar__images_of_one_stem_share_a_text(tmp_path):
    tree(tmp_path, {"a.jpg": "", "a.png": "", "a.txt": "x", "a.b.jpg": "", "a.b.txt": "y", "no_suffix": "",
                    "no_suffix.txt": "z"})  # fmt: skip
    assert as_dict(read_labels(tmp_path)) == {
        "a.b.jpg": ["y"],
        "a.jpg": ["x"],
        "a.png": ["x"],
        "no_suffix": ["z"],
    }


def test_sidecar__unknown_tag_names_the_text(tmp_path):
    tree(tmp_path / "images", {"a.jpg": "", "a.txt": "x,zebra"})
    tree(tmp_path, {"tags.txt": "x\n"})
    with pytest.raises(
        LabelError, match=r"images file a\.txt: tag 'zebra' of image 'a\.jpg' is not among the 1 tag of"
    ):
        read_labels(tmp_path / "images", tags=tmp_path / "tags.txt")


def test_sidecar__a_text_without_end_and_a_name_that_is_none(tmp_path):
    tree(tmp_path, {"a\n\x1b[31m.jpg": "", "a\n\x1b[31m.txt": "x" * 2**20 + "y"})
    with pytest.raises(
        LabelError, match=r"it has 1,048,577 bytes, more than the 1,048,576 allowed"
    ) as caught:
        read_labels(tmp_path)
    assert str(caught.value).isprintable()
    tree(tmp_path, {"a\n\x1b[31m.txt": "\x1b[31m\n"})
    tree(tmp_path / "x", {"tags.txt": "x\n"})
    with pytest.raises(LabelError, match=r"tag '\\x1b\[31m' of image 'a\\n\\x1b\[31m\.jpg'") as caught:
        read_labels(tmp_path, tags=tmp_path / "x" / "tags.txt", format="sidecar")
    assert str(caught.value).isprintable()


@pytest.mark.skipif(sys.platform == "win32", reason="needs pipes in the file system")
@pytest.mark.parametrize(("format", "ending"), [("sidecar", "txt"), ("voc", "xml")])
def test_folders_of_texts__pipes_are_no_files(tmp_path, format, ending):
    tree(tmp_path, {"a.jpg": ""})
    os.mkfifo(tmp_path / f"a.{ending}")
    with pytest.raises(LabelError, match="has no"):
        read_labels(tmp_path, format=format)
    (tmp_path / f"a.{ending}").unlink()
    (tmp_path / f"a.{ending}").symlink_to("/dev/zero")
    with pytest.raises(LabelError, match="has no"):
        read_labels(tmp_path, format=format)


def test_sidecar__nothing_to_read(tmp_path):
    tree(tmp_path, {"a.jpg": "", "b.txt": "x"})
    with pytest.raises(LabelError, match=r"has no image with a \.txt of the same name beside it"):
        read_labels(tmp_path, format="sidecar")
    with pytest.raises(LabelError, match="is not a folder; the label format 'sidecar' reads one"):
        read_labels(tmp_path / "b.txt", format="sidecar")


# class folders


def test_folders__the_top_folder_is_the_tag(tmp_path):
    tree(tmp_path, {"猫/1.jpg": "", "dog /deep/2.jpg": "", "dog /3.JPG": "", ".cache/4.jpg": ""})
    tree(tmp_path, {"loose.jpg": "", "notes.txt": "x", "dog /readme.md": "", "__MACOSX/5.jpg": ""})
    table = read_labels(tmp_path)
    assert as_dict(table) == {"dog /3.JPG": ["dog"], "dog /deep/2.jpg": ["dog"], "猫/1.jpg": ["猫"]}
    assert table.notes[-1] == "1 image in no folder, left unlabelled"


@pytest.mark.parametrize("nested", [False, True])
def test_folders__split_folders_are_the_split(tmp_path, nested):
    """The folders of ultralytics and Keras, whose second part is ``validation``."""
    deep = "x/" if nested else ""
    for part in ("train", "Validation", "test"):
        tree(tmp_path, {f"{part}/{tag}/{deep}1.jpg": "" for tag in ("cat", "dog ")})
    tree(tmp_path, {"test/loose.jpg": "", "classes.txt": "cat"})
    table = read_labels(tmp_path)
    assert table.space.tags == ("cat", "dog")
    assert as_dict(table)[f"Validation/dog /{deep}1.jpg"] == ["dog"]
    assert dict(zip(table.ids, table.parts, strict=True)) == {
        f"{part}/{tag}/{deep}1.jpg": named
        for part, named in (("train", "train"), ("Validation", "val"), ("test", "test"))
        for tag in ("cat", "dog ")
    }
    assert table.notes[-2:] == (
        "the folders 'Validation', 'test', 'train' are the split; the tags are the folders below them",
        "1 image in no class folder, left unlabelled",
    )


def test_folders__split_folders_without_classes_are_no_tags(tmp_path):
    tree(tmp_path, {"train/1.jpg": "", "val/2.jpg": "", "test/3.jpg": ""})
    for format in ("auto", "folders"):
        with pytest.raises(
            LabelError, match="'test', 'train', 'val' are parts of a split, not tags, and have no"
        ):
            read_labels(tmp_path, format=format)
    tree(tmp_path / "yolo", {"train/images/1.jpg": "", "val/images/2.jpg": ""})
    with pytest.raises(
        LabelError, match="the only class would be the folder 'images', which holds pictures of"
    ):
        read_labels(tmp_path / "yolo")


def test_folders__a_class_called_as_a_part_is_asked_about(tmp_path):
    tree(tmp_path, {"train/1.jpg": "", "cat/2.jpg": "", "bus/3.jpg": ""})
    table = read_labels(tmp_path)
    assert table.space.tags == ("bus", "cat", "train")
    assert table.parts == ()
    assert table.notes[-1].startswith("'train' among the tags; if it is a part of a split")


def test_folders__nothing_to_read(tmp_path):
    tree(tmp_path, {"loose.jpg": "", "only/readme.txt": ""})
    with pytest.raises(LabelError, match="has no images in folders"):
        read_labels(tmp_path, format="folders")


def test_folders__pass_over_what_a_manifest_does(tmp_path):
    names = ["1.jpg", "2.MP4", "3.wav", "4.csv", "thumbs.db", "5.mov", "no ending"]
    tree(tmp_path, {f"dog/{name}": "" for name in names})
    ids = [entry.id for entry in read_manifest(tmp_path).entries]
    assert ids == ["dog/1.jpg", "dog/no ending"]
    assert list(as_dict(read_labels(tmp_path, format="folders"))) == ids


def test_folders__a_loop_of_links_is_survived(tmp_path):
    tree(tmp_path / "data", {"a/1.jpg": "", "b/2.jpg": ""})
    tree(tmp_path / "elsewhere", {"3.jpg": ""})
    (tmp_path / "data" / "a" / "loop").symlink_to(tmp_path / "data", target_is_directory=True)
    (tmp_path / "data" / "linked").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (tmp_path / "data" / "b" / "broken.jpg").symlink_to(tmp_path / "gone.jpg")
    assert as_dict(read_labels(tmp_path / "data")) == {
        "a/1.jpg": ["a"],
        "b/2.jpg": ["b"],
        "linked/3.jpg": ["linked"],
    }


def test_folders__a_linked_folder_counts_once_under_its_real_name(tmp_path):
    tree(tmp_path, {"cat/1.jpg": "", "dog/2.jpg": ""})
    (tmp_path / "alias").symlink_to("cat")
    assert as_dict(read_labels(tmp_path)) == {"cat/1.jpg": ["cat"], "dog/2.jpg": ["dog"]}
    assert [entry.id for entry in read_manifest(tmp_path).entries] == ["cat/1.jpg", "dog/2.jpg"]


def test_folders__one_that_cannot_be_listed(tmp_path, monkeypatch):
    tree(tmp_path, {"a/1.jpg": "", "b/2.jpg": ""})
    real = os.scandir

    def refuse(folder):
        if Path(folder).name == "b":
            raise PermissionError(13, "Permission denied")
        return real(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(LabelError, match=r"b cannot be listed \(Permission denied\)"):
        read_labels(tmp_path)


# COCO


def test_coco__categories_of_each_image(tmp_path):
    path = tmp_path / "instances.json"
    text = coco(
        [(7, "b.jpg"), (3, "sub/a.jpg"), (5, "none.jpg")],
        [(7, 1), (7, 1), (3, 2), (7, 2)],
        [(1, "potted plant"), (2, "猫"), (9, "unused")],
    )
    path.write_text(text, encoding="utf-8-sig")
    table = read_labels(path)
    assert as_dict(table) == {"b.jpg": ["potted plant", "猫"], "sub/a.jpg": ["猫"], "none.jpg": []}
    assert table.space.tags == ("potted plant", "unused", "猫")
    assert table.root == tmp_path
    assert table.notes[:2] == (
        "3 images, 3 tags, 1.0 tags an image, 1 image without tags",
        "1 tag without an image",
    )


def test_coco__string_ids_and_odd_tags(tmp_path):
    path = tmp_path / "i.json"
    path.write_text(coco([("x1", "a.jpg")], [("x1", "c1")], [("c1", " a,b ")]), encoding="utf-8")
    assert as_dict(read_labels(path)) == {"a.jpg": ["a,b"]}


def test_coco__categories_of_one_name_are_one_tag(tmp_path):
    path = tmp_path / "i.json"
    path.write_text(coco([(1, "a.jpg")], [(1, 1), (1, 2)], [(1, "cat"), (2, "cat")]), encoding="utf-8")
    assert as_dict(read_labels(path)) == {"a.jpg": ["cat"]}


@pytest.mark.parametrize(
    ("images", "annotations", "categories", "message"),
    [
        ([(1, "a.jpg")], [(2, 1), (1, 8)], [(1, "c")],
         r"no annotation is of an image and a category that are listed \(the first is of image 2 and"),
        ([(1, "")], [], [(1, "c")], "image 1 has neither file_name nor coco_url; add its file_name"),
        ([(1, "a.jpg"), (1, "b.jpg")], [], [(1, "c")], "two images have the id 1; ids must differ"),
        ([(1, "a.jpg")], [], [(1, "c"), (1, "d")], "two categories have the id 1; ids must differ"),
        ([(1, "a.jpg")], [], [(1, " ")], "category 1 has a blank name"),
        ([], [], [(1, "c")], "holds no images"),
        ([(1, "a.jpg"), (2, "a.jpg")], [(1, 1)], [(1, "c")],
         "'a.jpg' has different tags on image entry 1 and image entry 2"),
    ],
)  # fmt: skip
def test_coco__contradictions(tmp_path, images, annotations, categories, message):
    path = tmp_path / "i.json"
    path.write_text(coco(images, annotations, categories), encoding="utf-8")
    with pytest.raises(LabelError, match=message):
        read_labels(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not readable json: Input data was truncated; json that is read: COCO, LVIS, Label Studio"),
        ("", "json: Input data was truncated"),
        ("[]", "json of another kind: it has no fields; read are COCO, LVIS"),
        ("[[]]", "json of another kind: it has no fields"),
        ("{}", "json of another kind: it has no fields"),
        ("5", "json: Expected `object | array`, got `int`"),
        ('{"images": [], "annotations": []}', "json: Object missing required field `categories`"),
        (
            '{"images": [{"id": 1}], "annotations": [], "categories": []}',
            "image 1 has neither file_name nor coco_url",
        ),
        (
            '{"images": [{"id": true, "file_name": "a.jpg"}], "annotations": [], "categories": []}',
            r"json: Expected `int \| float \| str`, got `bool` - at `\$\.images\[0\]\.id`",
        ),
        ('{"info": NaN, "images": []}', r"json: JSON is malformed: invalid character \(byte 9\)"),
        ('{"info": "\\ud800", "images": []}', r"json: JSON is malformed: unexpected end of hex escape"),
        ('{"info": ' + "[" * 1_000_000, "json: it is nested too deeply"),
        ('{"info": ' + '{"a":' * 1_000_000, "json: it is nested too deeply"),
        ("[" * 1_000_000, "json: it is nested too deeply"),
        (
            '{"images": [{"id": ' + "9" * 5_000 + ', "file_name": "a"}]}',
            r"json: .* - at `\$\.images\[0\]\.id`",
        ),
    ],
    ids=lambda each: each[:30],
)
def test_coco__another_json(tmp_path, text, message):
    path = tmp_path / "i.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(LabelError, match=message) as caught:
        read_labels(path)
    assert "\n" not in str(caught.value)


def test_coco__equal_numbers_are_one_id_and_of_equal_keys_the_last_counts(tmp_path):
    path = tmp_path / "i.json"
    big = 10**30
    text = coco(
        [(1, "a.jpg"), (big, "b.jpg"), ("1", "c.jpg")], [(1.0, 2), (big, 3), ("1", 3)], [(2, "x"), (3, "y")]
    )
    path.write_text(text.replace('"info"', '"images": [], "info"'), encoding="utf-8")
    assert as_dict(read_labels(path)) == {"a.jpg": ["x"], "b.jpg": ["y"], "c.jpg": ["y"]}


def test_coco__names_of_any_length_and_kind_make_one_short_line(tmp_path):
    path = tmp_path / "i.json"
    path.write_text(coco([("a\nb\u202e" * 10**5, "a.jpg")] * 2, [], [(1, "x")]), encoding="utf-8")
    with pytest.raises(
        LabelError, match=r"two images have the id 'a\\nb\\u202e.*'\.\.\. \(400,000 characters\);"
    ) as caught:
        read_labels(path)
    assert str(caught.value).removeprefix(str(path)).isprintable()


def test_coco__a_file_without_end_is_refused(tmp_path):
    path = tmp_path / "i.json"
    with path.open("wb") as file:
        file.truncate(3 << 30)
    with pytest.raises(LabelError, match=r"it has 3,221,225,472 bytes, more than the 2,147,483,648 allowed"):
        read_labels(path)


def test_coco__gb18030(tmp_path):
    path = tmp_path / "i.json"
    path.write_bytes(coco([(1, "a.jpg")], [(1, 1)], [(1, "天空")]).encode("gb18030"))
    with pytest.raises(LabelError, match="looks like GB18030"):
        read_labels(path)
    assert as_dict(read_labels(path, encoding="gb18030")) == {"a.jpg": ["天空"]}


# Pascal VOC


def test_voc__objects_of_each_file(tmp_path):
    tree(
        tmp_path,
        {
            "1.xml": voc("1.jpg", "dog", "person", "dog"),
            "2.xml": voc("2.jpg"),
            "sub/3.xml": '<?xml version="1.0" encoding="utf-8"?>\n' + voc("三.jpg", " 猫 "),
            "1.jpg": "",
        },
    )
    table = read_labels(tmp_path)
    assert as_dict(table) == {"1.jpg": ["dog", "person"], "2.jpg": [], "sub/三.jpg": ["猫"]}
    assert table.root == tmp_path


@pytest.mark.parametrize("declared", ["", '<?xml version="1.0" encoding="gb2312"?>'])
def test_voc__gb18030(tmp_path, declared):
    tree(tmp_path, {"1.xml": (declared + voc("1.jpg", "猫和狗")).encode("gb18030")})
    with pytest.raises(LabelError, match=r"1\.xml is not UTF-8 .*--encoding gb18030"):
        read_labels(tmp_path)
    assert as_dict(read_labels(tmp_path, encoding="gb18030")) == {"1.jpg": ["猫和狗"]}


def test_voc__declared_encodings_are_obeyed(tmp_path):
    tree(
        tmp_path,
        {
            "1.xml": b'<?xml version="1.0" encoding="iso-8859-1"?>' + voc("1.jpg", "café").encode("latin-1"),
            "2.xml": ('<?xml version="1.0" encoding="utf-16"?>' + voc("2.jpg", "猫")).encode("utf-16"),
        },
    )
    assert as_dict(read_labels(tmp_path)) == {"1.jpg": ["café"], "2.jpg": ["猫"]}


BOMB = '<!DOCTYPE a [<!ENTITY x "ha"><!ENTITY y "&x;&x;">]>' + voc("1.jpg", "&y;")
OUTSIDE = '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/hostname">]>' + voc("1.jpg", "&x;")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (voc("1.jpg", "dog")[:-3], r"1\.xml is not readable xml \(unclosed token"),
        ("", r"1\.xml is not readable xml \(no element found"),
        (BOMB, r"1\.xml is not readable xml \(EntitiesForbidden"),
        (OUTSIDE, r"1\.xml is not readable xml \(EntitiesForbidden"),
        (
            "<!DOCTYPE a [<!ENTITY " + "x" * 9999 + " 'y'>]><a/>",
            r"not readable xml \(EntitiesForbidden\(.{182}\.\.\.\);",
        ),
        ("<a>" * 200_000, r"1\.xml is not readable xml \(no element found"),
        (
            "<a>" * 3_000_000,
            r"1\.xml cannot be read \(it has 9,000,000 bytes, more than the 8,388,608 allowed",
        ),
        ('<?xml version="1.0" encoding="x"?><a/>', r"1\.xml is not readable xml \(unknown encoding: x"),
        ('<?xml version="1.0" encoding="zip"?><a/>', r"1\.xml is not readable xml \('zip' is not a text enc"),
        ('<a xmlns="\\x&#10;&#27;"/>', r"its root is '{\\\\x\\n.*', not|is not readable xml"),
        ("<html/>", r"1\.xml is not a Pascal VOC annotation: its root is 'html', not 'annotation'"),
        (voc("1.jpg", ""), r"1\.xml: an <object> has no <name>; fill it in"),
    ],
)
def test_voc__bad_files(tmp_path, text, message):
    tree(tmp_path, {"1.xml": text})
    with pytest.raises(LabelError, match=message) as caught:
        read_labels(tmp_path)
    assert "\n" not in str(caught.value)


def test_voc__the_image_that_exists_is_taken(tmp_path):
    """Images and xml renamed together: ``<filename>`` has the old names; another has none, or no ending."""
    tree(
        tmp_path,
        {
            "a_1.jpg": "",
            "a_1.xml": voc("a-1.jpg", "dog"),
            "b.JPG": "",
            "b.xml": voc("", "cat"),
            "c.jpg": "",
            "c.xml": voc("c", "bus"),
            "d.jpg": "",
            "sub/x.xml": voc("d.jpg", "car"),
        },
    )
    table = read_labels(tmp_path)
    assert as_dict(table) == {"a_1.jpg": ["dog"], "b.JPG": ["cat"], "c": ["bus"], "sub/d.jpg": ["car"]}
    assert table.notes[-1] == "2 .xml files matched by the file's name: no image has the name written in it"


@pytest.mark.parametrize("images", ["beside", "JPEGImages", "elsewhere"])
def test_voc__two_images_of_the_set_are_an_error_and_an_option(tmp_path, images):
    """Renumbered images: each ``<filename>`` names the next one."""
    for number in range(3):
        tree(tmp_path, {f"Annotations/{number}.xml": voc(f"{(number + 1) % 3}.jpg", f"tag{number}")})
        if images != "elsewhere":
            tree(tmp_path, {f"{'Annotations' if images == 'beside' else images}/{number}.jpg": ""})
    with pytest.raises(
        LabelError,
        match=r"3 \.xml files name two images of the set: 'Annotations/0\.xml' says '1\.jpg'; --xml-image",
    ):
        read_labels(tmp_path)
    for choice, shift in (("file", 0), ("filename", 1)):
        table = read_labels(tmp_path, xml_image=choice)
        found = {Path(image).stem: tags for image, tags in as_dict(table).items()}
        assert found == {str((number + shift) % 3): [f"tag{number}"] for number in range(3)}
        assert f"(--xml-image {choice})" in table.notes[-1]


@pytest.mark.parametrize("option", [{"xml_image": "file"}, {"tag_column": "x"}])
def test_folders__options_of_other_formats_are_refused(tmp_path, option):
    tree(tmp_path, {"a/1.jpg": "", "b/2.jpg": ""})
    with pytest.raises(OptionError, match=r"is read as folders; leave it out"):
        read_labels(tmp_path, **option)


def test_voc__two_files_of_one_image(tmp_path):
    tree(tmp_path, {"x/1.xml": voc("1.jpg", "dog"), "x/2.xml": voc("../x/1.jpg", "cat")})
    with pytest.raises(LabelError, match=r"'x/1\.jpg' has different tags on file x/1\.xml and file x/2\.xml"):
        read_labels(tmp_path, xml_image="filename")
    with pytest.raises(LabelError, match=r"has no \.xml files; the label format 'voc' needs one an image"):
        read_labels(tree(tmp_path / "empty", {"a.jpg": ""}), format="voc")


# which format a folder has


def test_auto__folder_that_is_none(tmp_path):
    tree(tmp_path, {"a.jpg": "", "only/b.jpg": ""})
    with pytest.raises(
        LabelError,
        match=r"fits no label format; considered: voc \(no \.xml files\), labelme \(no \.json of its kind\), "
        r"yolo and sidecar \(no \.txt beside an image\), folders \(images in 1 folder, at least 2 needed\)$",
    ):
        read_labels(tmp_path)


def test_auto__folder_that_is_two(tmp_path):
    tree(tmp_path, {"a.jpg": "", "a.txt": "x", "a.xml": voc("a.jpg", "dog")})
    with pytest.raises(LabelError, match="could be voc or sidecar; name one with --format"):
        read_labels(tmp_path)
    assert as_dict(read_labels(tmp_path, format="sidecar")) == {"a.jpg": ["x"]}
    assert as_dict(read_labels(tmp_path, format="voc")) == {"a.jpg": ["dog"]}


def test_auto__sidecars_in_class_folders_go_before_the_folders(tmp_path):
    tree(tmp_path, {"a/1.jpg": "", "a/1.txt": "x", "b/2.jpg": ""})
    assert as_dict(read_labels(tmp_path)) == {"a/1.jpg": ["x"]}
    assert as_dict(read_labels(tmp_path, format="folders")) == {"a/1.jpg": ["a"], "b/2.jpg": ["b"]}


def test_formats__agree_on_one_label_set(tmp_path):
    """The same random labels as csv, one-hot csv, sidecars, COCO and VOC read to the same matrix."""
    rng = np.random.default_rng(3)
    tags = [f"t{i}" for i in range(6)]
    truth = rng.random((20, 6)) < 0.4
    names = [f"{i:02d}.jpg" for i in range(20)]
    held = {name: [tags[j] for j in np.flatnonzero(row)] for name, row in zip(names, truth, strict=True)}
    csv_text = "img_path,tags\n" + "".join(f'{name},"{",".join(found)}"\n' for name, found in held.items())
    onehot = f"file,{','.join(tags)}\n" + "".join(
        f"{name},{','.join(map(str, row.astype(int)))}\n" for name, row in zip(names, truth, strict=True)
    )
    tree(tmp_path, {"a.csv": csv_text, "b.csv": onehot})
    tree(tmp_path / "side", {name: "" for name in names})
    tree(tmp_path / "side", {f"{name[:-4]}.txt": "\n".join(found) for name, found in held.items()})
    tree(tmp_path / "voc", {f"{name[:-4]}.xml": voc(name, *found) for name, found in held.items()})
    pairs = [(i, j) for i, row in enumerate(truth) for j in np.flatnonzero(row).tolist()]
    tree(tmp_path, {"c.json": coco(list(enumerate(names)), pairs, list(enumerate(tags)))})
    for source in ("a.csv", "b.csv", "side", "voc", "c.json"):
        table = read_labels(tmp_path / source)
        assert table.ids == tuple(names), source
        assert table.space.tags == tuple(tags), source
        np.testing.assert_array_equal(table.Y.toarray(), truth, err_msg=source)
