"""Sets in the form their authors or tools publish them: a miniature of each, embedded and read as it is."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
from PIL import Image

from toolkit.experiment.dataset import load_dataset
from toolkit.experiment.options import DataOptions
from toolkit.files.csv import write_csv
from toolkit.verbs.embed import embed
from toolkit.verbs.fit import fit

NETWORK = {"backbone": "shufflenet_v2_x0_5", "weights": "random:0", "input_size": 32, "engine": "torch"}
TAGS = ("sea", "sand", "ship")
N = 24
RIGHT = {
    f"pic_{number}": [tag for place, tag in enumerate(TAGS) if (number % 7 + 1) >> place & 1]
    for number in range(N)
}


@dataclass
class Layout:
    """What is embedded, the options that the published form needs, and where the images are."""

    source: str
    options: dict[str, Any] = field(default_factory=dict)
    parts: bool = False  # the labels say the split


def draw(path: Path, name: str) -> None:
    """Draw a band of its own colour for each tag."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((24, 24, 3), 40 + int(name.rpartition("_")[2]), np.uint8)
    for place, tag in enumerate(TAGS):
        if tag in RIGHT[name]:
            pixels[8 * place : 8 * place + 8, :, place] = 250
    Image.fromarray(pixels).save(path, quality=95)


def draw_all(folder: Path, names=RIGHT, ending=".jpg") -> None:
    for name in names:
        draw(folder / f"{name}{ending}", name)


def write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")


def onehot(name: str) -> list[int]:
    return [int(tag in RIGHT[name]) for tag in TAGS]


def coco(**fields: Callable[[str], str]) -> dict[str, Any]:
    images = [
        {"id": 100 + row, **{key: of(name) for key, of in fields.items()}} for row, name in enumerate(RIGHT)
    ]
    pairs = [(100 + row, TAGS.index(tag) + 1) for row, name in enumerate(RIGHT) for tag in RIGHT[name]]
    annotations = [
        {"id": number, "image_id": image, "category_id": category, "bbox": [1, 2, 3, 4], "iscrowd": 0}
        for number, (image, category) in enumerate(pairs)
    ]
    categories = [
        {"id": number, "name": tag, "supercategory": "x"} for number, tag in enumerate(TAGS, start=1)
    ]
    return {"info": {}, "images": images, "annotations": annotations, "categories": categories}


def voc(name: str) -> str:
    objects = "".join(f"<object><name>{tag}</name><bndbox/></object>" for tag in RIGHT[name])
    return f"<annotation><folder>VOC2007</folder><filename>{name}.jpg</filename>{objects}</annotation>"


def yolo(name: str) -> str:
    return "".join(f"{TAGS.index(tag)} 0.5 0.5 0.25 0.125\n" for tag in RIGHT[name])


# ---------------------------------------------------------------------- csv


def planet(home: Path) -> Layout:
    draw_all(home / "train-jpg")
    rows = [(name, " ".join(tags)) for name, tags in RIGHT.items()]
    write_csv(home / "train_v2.csv", ("image_name", "tags"), rows)
    return Layout("train-jpg", {"labels": "train_v2.csv", "separator": "space"})


def plant_pathology(home: Path) -> Layout:
    draw_all(home / "train_images")
    rows = [(f"{name}.jpg", " ".join(tags)) for name, tags in RIGHT.items()]
    write_csv(home / "train.csv", ("image", "labels"), rows)
    return Layout("train_images", {"separator": "space"})


def aid(home: Path) -> Layout:
    for number, name in enumerate(RIGHT):
        draw(home / "Images" / ("beach", "port")[number % 2] / f"{name}.jpg", name)
    rows = [(name, *onehot(name)) for name in RIGHT]
    write_csv(home / "multilabel.csv", ("IMAGE\\LABEL", *TAGS), rows)
    return Layout("Images", {"labels": "multilabel.csv"})


def chexpert(home: Path) -> Layout:
    rows = []
    for number, name in enumerate(RIGHT):
        path = f"train/patient{number:05d}/study1/{name}.jpg"
        draw(home / "CheXpert-v1.0-small" / path, name)
        cells = ["1.0" if bit else ("", "0.0")[number % 2] for bit in onehot(name)]
        rows.append((f"CheXpert-v1.0-small/{path}", "Female", 60 + number, "Frontal", *cells))
    write_csv(
        home / "CheXpert-v1.0-small" / "train.csv", ("Path", "Sex", "Age", "Frontal/Lateral", *TAGS), rows
    )
    write(home / "findings.txt", "\n".join(TAGS))
    options = {"labels": "CheXpert-v1.0-small/train.csv", "tags": "findings.txt", "blank": "absent"}
    return Layout("CheXpert-v1.0-small/train", options)


def open_images(home: Path) -> Layout:
    draw_all(home / "validation")
    rows = [(name, "verification", tag, int(tag in tags)) for name, tags in RIGHT.items() for tag in TAGS]
    write_csv(home / "labels.csv", ("ImageID", "Source", "LabelName", "Confidence"), rows)
    return Layout("validation")


def roboflow(home: Path) -> Layout:
    names = {name: f"{name}_jpg.rf.{'0' * 31}{number % 10}.jpg" for number, name in enumerate(RIGHT)}
    for name, file in names.items():
        draw(home / "train" / file, name)
    lines = [", ".join(["filename", *TAGS])]
    lines += [", ".join([file, *map(str, onehot(name))]) for name, file in names.items()]
    write(home / "train" / "_classes.csv", "\n".join(lines))
    return Layout("train")


# ---------------------------------------------------------------------- json and xml


def coco_instances(home: Path) -> Layout:
    draw_all(home / "val2017")
    write(home / "annotations" / "instances_val2017.json", coco(file_name=lambda name: f"{name}.jpg"))
    return Layout("val2017", {"labels": "annotations/instances_val2017.json"})


def lvis(home: Path) -> Layout:
    draw_all(home / "val2017")
    write(home / "lvis_v1_val.json", coco(coco_url=lambda name: f"http://images.org/val2017/{name}.jpg"))
    return Layout("val2017", {"labels": "lvis_v1_val.json"})


def label_studio(home: Path) -> Layout:
    draw_all(home / "photos")
    tasks = [
        {
            "id": number,
            "data": {"image": f"/data/upload/1/{number:08x}-{name}.jpg"},
            "annotations": [{"result": [{"type": "choices", "value": {"choices": tags}}]}],
        }
        for number, (name, tags) in enumerate(RIGHT.items())
    ]
    write(home / "project-1.json", tasks)
    return Layout("photos", {"labels": "project-1.json"})


def cvat(home: Path) -> Layout:
    draw_all(home / "images")
    images = "".join(
        f'<image id="{number}" name="{name}.jpg">{"".join(f"<tag label={tag!r}/>" for tag in tags)}</image>'
        for number, (name, tags) in enumerate(RIGHT.items())
    )
    write(home / "annotations.xml", f"<annotations><version>1.1</version>{images}</annotations>")
    return Layout("images")


def pascal_voc(home: Path) -> Layout:
    draw_all(home / "VOC2007" / "JPEGImages")
    for name in RIGHT:
        write(home / "VOC2007" / "Annotations" / f"{name}.xml", voc(name))
    return Layout("VOC2007/JPEGImages", {"labels": "VOC2007/Annotations"})


def label_me(home: Path) -> Layout:
    draw_all(home / "set")
    for name, tags in RIGHT.items():
        shapes = [{"label": tag, "points": [[0, 1], [2, 3]]} for tag in tags]
        write(home / "set" / f"{name}.json", {"shapes": shapes, "imagePath": f"{name}.jpg", "flags": {}})
    return Layout("set", {"labels": "set"})


def hugging_face(home: Path) -> Layout:
    draw_all(home / "train")
    entries = [json.dumps({"file_name": f"{name}.jpg", "tags": tags}) for name, tags in RIGHT.items()]
    write(home / "train" / "metadata.jsonl", "\n".join(entries))
    return Layout("train")


def fifty_one(home: Path) -> Layout:
    draw_all(home / "data")
    numbers = {name: [TAGS.index(tag) for tag in tags] for name, tags in RIGHT.items()}
    write(home / "labels.json", {"classes": TAGS, "labels": numbers})
    return Layout("data")


def create_ml(home: Path) -> Layout:
    draw_all(home / "train")
    entries = [
        {"image": f"{name}.jpg", "annotations": [{"label": tag, "coordinates": {"x": 1}} for tag in tags]}
        for name, tags in RIGHT.items()
    ]
    write(home / "train" / "_annotations.createml.json", entries)
    return Layout("train")


# ---------------------------------------------------------------------- folders and texts


def ultralytics(home: Path) -> Layout:
    for number, name in enumerate(RIGHT):
        part = ("train", "train", "valid", "test")[number % 4]
        draw(home / "set" / part / "images" / f"{name}.jpg", name)
        write(home / "set" / part / "labels" / f"{name}.txt", yolo(name))
    write(home / "set" / "data.yaml", "train: ../train/images\nnc: 3\nnames: ['sea', 'sand', 'ship']\n")
    return Layout("set", {"labels": "set"}, parts=True)


def hydrus(home: Path) -> Layout:
    draw_all(home / "dl")
    for name, tags in RIGHT.items():
        write(home / "dl" / f"{name}.jpg.txt", "\n".join(tags))
    return Layout("dl", {"labels": "dl"})


LAYOUTS = {
    each.__name__: each
    for each in (
        *(planet, plant_pathology, aid, chexpert, open_images, roboflow, coco_instances, lvis, label_studio),
        *(cvat, pascal_voc, label_me, hugging_face, fifty_one, create_ml, ultralytics, hydrus),
    )
}
FITTED = (
    "roboflow",
    "cvat",
    "ultralytics",
)  # a fit takes seconds; what differs between layouts is the reading


@pytest.mark.parametrize("name", LAYOUTS)
def test_layout__is_read_as_it_is_published(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    layout = LAYOUTS[name](tmp_path)
    embed(layout.source, artifacts="artifacts", **NETWORK)
    data = load_dataset(DataOptions(artifacts="artifacts", **layout.options))
    found = {
        PurePosixPath(image).name.partition(".")[0].removesuffix("_jpg"): set(tags)
        for image, tags in zip(data.ids, data.space.decode(data.Y), strict=True)
    }
    assert found == {image: set(tags) for image, tags in RIGHT.items()}
    assert f"{N} of {N} images matched" in " ".join(data.notes), data.notes
    assert ("split: the folders of the labels" in data.notes) == layout.parts
    if name in FITTED:
        report = fit("knn", artifacts="artifacts", **layout.options)
        assert 0.5 < report.metrics.micro_f1 <= 1


def test_layout__class_folders_below_a_split(tmp_path, monkeypatch):
    """As ultralytics' classification sets and Keras tutorials have them: train, validation, test."""
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(RIGHT):
        part = ("train", "validation", "train", "test")[number // 2 % 4]
        draw(tmp_path / "gym" / part / TAGS[number % 2] / f"{name}.jpg", name)
    embed("gym", artifacts="artifacts", **NETWORK)
    data = load_dataset(DataOptions(artifacts="artifacts", labels="gym"))
    assert data.space.tags == ("sand", "sea")
    assert [len(rows) for rows in (data.split.train, data.split.val, data.split.test)] == [12, 6, 6]
    assert "split: the folders of the labels" in data.notes
    assert {data.ids[row].partition("/")[0] for row in data.split.val} == {"validation"}
