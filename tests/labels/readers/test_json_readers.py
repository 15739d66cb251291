"""read_labels on json of other tools, and on parquet."""

import json

import pytest

from tests.labels.readers.tables import as_dict, write
from toolkit.errors import LabelError, OptionError
from toolkit.labels.read import read_labels

RIGHT = {"a.jpg": ["sand", "sea"], "b.jpg": [], "c.jpg": ["sea"]}


def put(tmp_path, document, name="labels.json"):
    return write(tmp_path / name, json.dumps(document, ensure_ascii=False))


def box(name):
    return {"label": name, "coordinates": {"x": 1, "y": 2, "width": 3, "height": 4}}


@pytest.mark.parametrize(
    "document",
    [
        [{"image": image, "annotations": [box(tag) for tag in tags]} for image, tags in RIGHT.items()],
        [{"image": image, "annotations": tags} for image, tags in RIGHT.items()],
        [{"imagefilename": image, "annotation": [box(tag) for tag in tags]} for image, tags in RIGHT.items()],
        [{"file_name": image, "tags": ",".join(tags)} for image, tags in RIGHT.items()],
        [{"name": image, "labels": [{"category": tag} for tag in tags]} for image, tags in RIGHT.items()],
        [{"id": 7, "path": image, "labels": tags or None} for image, tags in RIGHT.items()],
        [{"image": {"path": image}, "objects": {"bbox": [[1]] * len(tags), "category": tags}}
         for image, tags in RIGHT.items()],
        [{"image": image, "tags": {tag: tag in tags for tag in ("sand", "sea")}}
         for image, tags in RIGHT.items()],
        [{"image": image, "sand": int("sand" in tags), "sea": "sea" in tags}
         for image, tags in RIGHT.items()],
        RIGHT,
        {image: [box(tag) for tag in tags] for image, tags in RIGHT.items()},
    ],
    ids=["createml", "createml-tags", "turi", "text", "bdd", "null", "hugging-face", "flags", "onehot",
         "mapping", "mapping-boxes"],
)  # fmt: skip
def test_records__images_with_their_tags(tmp_path, document):
    path = put(tmp_path, document)
    table = read_labels(path, format="records")
    assert as_dict(table) == RIGHT
    assert table.root == tmp_path
    if "mapping-boxes" not in str(tmp_path) and document is not RIGHT and isinstance(document, list):
        assert as_dict(read_labels(path)) == RIGHT
    lines = document if isinstance(document, list) else []
    if lines:
        path = write(tmp_path / "metadata.jsonl", "\ufeff" + "\n\n".join(map(json.dumps, lines)))
        assert as_dict(read_labels(path)) == RIGHT


def test_records__a_mapping_is_found_by_itself(tmp_path):
    assert as_dict(read_labels(put(tmp_path, RIGHT))) == RIGHT


def test_records__texts_of_a_list_are_not_split(tmp_path):
    document = [{"image": "a.jpg", "tags": ["a,b", " c "]}, {"image": "b.jpg", "tags": "x|y"}]
    path = put(tmp_path, document)
    assert as_dict(read_labels(path, separator="|")) == {"a.jpg": ["a,b", "c"], "b.jpg": ["x", "y"]}


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([{"image": "a.jpg", "tags": [3, 4]}], "entry 1: a tag is '3'; numbers of classes need their names"),
        ([{"image": "a.jpg", "label": True}], "entry 1: a tag is 'True'"),
        ([{"image": 3, "tags": []}], "entry 1: the image is '3'; a path is needed"),
        ([{"image": "a.jpg", "x": 0.5}],
         r"has no field of tags, and 'x' is '0\.5', neither 0 nor 1; name the field of the tags one of"),
        ([{"image": "a.jpg", "tags": [{"x": 1, "y": 2}]}], "tags are an object with 'x', 'y'; one of label"),
        ([{"tags": ["a"]}], "json of another kind: its first fields are 'tags'; read are COCO"),
        ([{"image_id": 1, "category_id": 2, "score": 0.5}], "COCO annotations or results without their"),
        ({"shapes": [], "imagePath": "a.jpg"}, "LabelMe's, of one image; give the folder"),
        ({"_via_img_metadata": {}}, "VGG Image Annotator's; export COCO from it"),
        ({"a.jpg1": {"filename": "a.jpg", "regions": []}}, "VGG Image Annotator's"),
        ({"type": "FeatureCollection", "features": []}, "GeoJSON"),
        ([{"data_row": {"id": 1}}], "Labelbox's"),
        ({"x": 1}, "json of another kind: its first fields are 'x'"),
    ],
)  # fmt: skip
def test_json__what_is_not_read_is_called_by_name(tmp_path, document, message):
    with pytest.raises(LabelError, match=message) as caught:
        read_labels(put(tmp_path, document))
    assert "\n" not in str(caught.value)


def test_jsonl__a_bad_line_is_named(tmp_path):
    path = write(tmp_path / "metadata.jsonl", '{"file_name": "a.jpg", "tags": []}\n[1]\n')
    with pytest.raises(LabelError, match=r"metadata\.jsonl line 2 is no json object \(Expected `object`"):
        read_labels(path)


def task(image, *results, **fields):
    annotation = {"result": [{"type": kind, "value": {kind: names}} for kind, names in results]}
    return {"id": 1, "data": {"image": image}, "annotations": [annotation | fields]}


def test_labelstudio__choices_and_shapes_of_every_annotation(tmp_path):
    several = task("/data/upload/1/0123abcd-d.jpg", ("choices", ["sea"]))
    several["annotations"] += task("", ("rectanglelabels", ["ship"]), ("taxonomy", [["water", "lake"]]))[
        "annotations"
    ]
    document = [
        task("/data/local-files/?d=set/a%20b.jpg", ("choices", ["sand", "sea"])),
        task("s3://bucket/b.jpg"),
        several,
        task("c.jpg", ("choices", ["wrong"]), was_cancelled=True),
        {"id": 5, "data": {"image": "e.jpg"}, "annotations": [], "predictions": [{"result": []}]},
        {"id": 6, "data": {"picture": "http://host/f.png", "text": "x"},
         "annotations": [{"result": [{"value": {"text": ["hello"]}}]}]},
    ]  # fmt: skip
    table = read_labels(put(tmp_path, document))
    assert as_dict(table) == {
        "set/a b.jpg": ["sand", "sea"],
        "s3:/bucket/b.jpg": [],
        "/data/upload/1/0123abcd-d.jpg": ["lake", "sea", "ship"],
        "http:/host/f.png": [],
    }
    assert table.notes[-2:] == (
        "2 tasks without an annotation, left unlabelled",
        "1 task with several annotations, joined",
    )


def test_labelstudio__short_form(tmp_path):
    about = {
        "id": 1,
        "annotator": 1,
        "annotation_id": 2,
        "created_at": "x",
        "updated_at": "x",
        "lead_time": 1.5,
    }
    document = [
        {"image": "a.jpg", "choice": {"choices": ["sand", "sea"]}, **about},
        {"image": "b.jpg", "choice": "sea", **about},
        {
            "image": "c.jpg",
            "label": [{"x": 1, "rectanglelabels": ["ship"]}, {"polygonlabels": ["sea"]}],
            **about,
        },
    ]
    path = put(tmp_path, document)
    assert as_dict(read_labels(path)) == {
        "a.jpg": ["sand", "sea"],
        "b.jpg": ["sea"],
        "c.jpg": ["sea", "ship"],
    }
    path = put(tmp_path, [{"image": "a.jpg", "text": "hello", **about}])
    with pytest.raises(LabelError, match="task 1 has no choices or labels: fields found are 'image', 'text'"):
        read_labels(path)
    path = put(tmp_path, [{"data": {"x": "1", "y": "2"}, "annotations": [{"result": []}]}])
    with pytest.raises(LabelError, match="task 1: which field is the image. fields found are 'x', 'y'"):
        read_labels(path)


@pytest.mark.parametrize(
    ("classes", "labels"),
    [
        (["sand", "sea"], {"a": [0, 1], "b": None, "c": 1}),
        (None, {"a": ["sand", "sea"], "b": [], "c": "sea"}),
        (["sand", "sea"], {"a": [{"label": 0, "bounding_box": [0, 0, 1, 1]}, {"label": 1}], "b": [],
                           "c": [{"label": 1}, {"label": 1}]}),
        (["sand", "sea"], {"a": {"labels": [0, 1]}, "b": [], "c": {"label": 1, "confidence": 0.5}}),
    ],
    ids=["numbers", "names", "boxes", "objects"],
)  # fmt: skip
def test_fiftyone__labels_json(tmp_path, classes, labels):
    table = read_labels(put(tmp_path, {"classes": classes, "labels": labels}))
    assert as_dict(table) == {image[0]: tags for image, tags in RIGHT.items()}


def test_fiftyone__samples_json(tmp_path):
    samples = [
        {"filepath": "data/a.jpg", "ground_truth": {"_cls": "Classifications", "classifications":
         [{"label": "sea"}, {"label": "sand"}]}, "predictions": {"detections": [{"label": "wrong"}]}},
        {"filepath": "data/b.jpg", "ground_truth": None, "tags": ["validation"]},
    ]  # fmt: skip
    assert as_dict(read_labels(put(tmp_path, {"samples": samples}))) == {
        "data/a.jpg": ["sand", "sea"],
        "data/b.jpg": [],
    }
    samples[0]["other"] = samples[0].pop("ground_truth")
    with pytest.raises(
        LabelError, match="which field holds the labels. those with labels are 'predictions', 'other'"
    ):
        read_labels(put(tmp_path, {"samples": samples}))


def test_fiftyone__a_number_without_a_class(tmp_path):
    with pytest.raises(LabelError, match="image 1, 'a': a tag is '2'; numbers of classes need their names"):
        read_labels(put(tmp_path, {"classes": ["sand", "sea"], "labels": {"a": [2]}}))


def shapes(image, *names, flags=None):
    document = {"version": "5", "imagePath": image, "imageData": "x", "flags": flags or {}}
    return json.dumps(document | {"shapes": [{"label": name, "points": [[1, 2]]} for name in names]})


def test_labelme__shapes_and_flags(tmp_path):
    write(tmp_path / "a.json", shapes("a.jpg", "sea", "sand", "sea"))
    write(tmp_path / "b.json", shapes("..\\old\\renamed.jpg", flags={"indoor": True, "blurred": False}))
    for image in ("a.jpg", "b.jpg"):
        write(tmp_path / image, "")
    table = read_labels(tmp_path)
    assert as_dict(table) == {"a.jpg": ["sand", "sea"], "b.jpg": ["indoor"]}
    assert table.notes[-1] == "1 .json file matched by the file's name: no image has the name written in it"
    write(tmp_path / "c.json", '{"x": 1}')
    with pytest.raises(
        LabelError, match=r"c\.json is not LabelMe json: Object missing required field `shapes`"
    ):
        read_labels(tmp_path)


def coco(images, annotations, names=("cat", "dog")):
    categories = [{"id": number, "name": name} for number, name in enumerate(names, start=1)]
    pairs = [{"id": 1, "image_id": image, "category_id": category} for image, category in annotations]
    return {"images": images, "annotations": pairs, "categories": categories}


def test_lvis__images_are_named_by_their_address(tmp_path):
    images = [{"id": 1, "coco_url": "http://images.cocodataset.org/val2017/0001.jpg", "not_exhaustive": []},
              {"id": 2, "file_name": "own.jpg", "coco_url": "http://x/other.jpg"}]  # fmt: skip
    assert as_dict(read_labels(put(tmp_path, coco(images, [(1, 2), (2, 1)])))) == {
        "0001.jpg": ["dog"],
        "own.jpg": ["cat"],
    }


def test_coco__stray_annotations_are_counted(tmp_path):
    images = [{"id": 1, "file_name": "a.jpg"}]
    table = read_labels(put(tmp_path, coco(images, [(1, 1), (7, 1), (8, 2), (1, 9)])))
    assert as_dict(table) == {"a.jpg": ["cat"]}
    assert "2 annotations of images that are not listed, left out" in table.notes
    assert "1 annotation of categories that are not listed, left out" in table.notes


# parquet


@pytest.fixture
def pyarrow():
    return pytest.importorskip("pyarrow", reason="the extra parquet is not installed")


def test_parquet__paths_and_tags_in_every_form(tmp_path, pyarrow):
    from pyarrow import parquet

    images, tags = list(RIGHT), list(RIGHT.values())
    path = tmp_path / "labels.parquet"
    forms = (
        {"image": images, "tags": tags},
        {"file_name": images, "labels": [",".join(each) for each in tags], "x": [b"", b"", b""]},
        {"image": [{"bytes": b"x" * 9, "path": image} for image in images], "labels": tags},
        {"path": images, "sand": [1, 0, 0], "sea": [True, False, True]},
    )
    for columns in forms:
        parquet.write_table(pyarrow.table(columns), path)
        table = read_labels(path)
        assert as_dict(table) == RIGHT
    table = pyarrow.table({"image": images, "label": [[0, 1], [], [1]]})
    feature = {"feature": {"names": ["sand", "sea"], "_type": "ClassLabel"}, "_type": "Sequence"}
    info = {"info": {"features": {"label": feature}}}
    parquet.write_table(table.replace_schema_metadata({"huggingface": json.dumps(info)}), path)
    assert as_dict(read_labels(path)) == RIGHT
    parquet.write_table(table, path)
    with pytest.raises(LabelError, match="row 1: a tag is '0'; numbers of classes need their names"):
        read_labels(path)
    parquet.write_table(pyarrow.table({"x": [1]}), path)
    with pytest.raises(LabelError, match="has no image field: fields found are 'x'; name it one of img_path"):
        read_labels(path)


def test_parquet__damaged_or_without_the_library(tmp_path, pyarrow, monkeypatch):
    path = write(tmp_path / "labels.parquet", "PAR1")
    with pytest.raises(
        LabelError, match=r"labels\.parquet is not a readable parquet file \(.*\); write it again"
    ):
        read_labels(path)
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(OptionError, match=r"needs pyarrow: pip install 'toolkit\[parquet\]'"):
        read_labels(path)
