"""The readers that are fuzzed: for each, valid files, and which of them an input takes the place of."""

import csv
import io
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from tests.made_up import TAGS, made_up, names, write_labels, write_store

TABLE = 'img_path,tags\n1.jpg,"sky,sea"\nsub/2.jpg,\n"3,4.jpg",天空\n'
OBJECTS = (
    "filename\txmin\tlabel\tconfidence\n1.jpg\t4\tSky\t0\n1.jpg\t5\tsky\t0.5\n"
    "2.jpg\t6\t天空\t1\n2.jpg\t6\tsea\t1\n"
)


@dataclass(frozen=True)
class Target:
    """One reader.

    `build` writes valid files into a folder; an input replaces one of `files` (patterns), by `place`, and
    `read` reads them.
    """

    name: str
    build: Callable[[Path], object]
    files: tuple[str, ...]
    read: Callable[[Path], object]
    place: Callable[[Path, str, bytes], object] = field(
        default=lambda folder, file, data: (folder / file).write_bytes(data)
    )


def _texts(**files: str) -> Callable[[Path], None]:
    def build(folder: Path) -> None:
        for name, text in files.items():
            (folder / name.replace("__", ".")).write_text(text, encoding="utf-8")

    return build


def _labels(file: str, **options: str) -> Callable[[Path], None]:
    def read(folder: Path) -> None:
        from toolkit.labels.read import read_labels

        table = read_labels(folder / file, **options)
        assert table.Y.shape == (len(table.ids), len(table.space))
        table.Y.check_format(full_check=True)
        assert len(set(table.ids)) == len(table.ids)
        assert sum(map(len, table.space.decode(table.Y))) == table.Y.nnz

    return read


def _contest(folder: Path, *, sparse: bool = False) -> None:
    Y = np.array([[1, 1, 0], [0, 0, 0], [0, 0, 1]])
    (folder / "train.csv").write_text(TABLE, encoding="utf-8")
    (folder / "tags.txt").write_text("sky\nsea\n天空\n", encoding="utf-8")
    if sparse:
        sp.save_npz(folder / "tag_train.npz", sp.csr_array(Y))
    else:
        np.savez_compressed(folder / "tag_train.npz", tag_train=Y.astype(np.uint8))


def _coco(folder: Path) -> None:
    document = {
        "info": {"year": 2017, "notes": [None, True, 1.5]},
        "images": [{"id": 7, "file_name": "a.jpg", "width": 1}, {"id": "x", "file_name": "b/二.jpg"}],
        "annotations": [{"id": 1, "image_id": 7, "category_id": 1, "bbox": [0, 0.5, 1, 1]},
                        {"id": 2, "image_id": "x", "category_id": 2.0, "segmentation": [[1, 2, 3]]}],
        "categories": [{"id": 1, "name": "dog"}, {"id": 2, "name": "天空"}],
    }  # fmt: skip
    (folder / "instances.json").write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")


def _voc(folder: Path) -> None:
    (folder / "1.xml").write_text(
        '<?xml version="1.0" encoding="utf-8"?><annotation><folder>f</folder><filename>1.jpg</filename>'
        "<object><name>dog</name><difficult>1</difficult></object><object><name>天空</name></object>"
        "</annotation>",
        encoding="utf-8",
    )


def _place_names(folder: Path, _: str, data: bytes) -> None:
    """Make the files whose names `data` has, separated by NUL, as far as the file system takes them."""
    shutil.rmtree(folder / "tree", ignore_errors=True)
    (folder / "tree").mkdir()
    for name in data.split(b"\0")[:20]:
        parts = [part for part in name.split(b"/") if part not in (b"", b".", b"..")]
        if not parts or any(len(part) > 200 for part in parts) or len(name) > 600:
            continue
        path = folder / "tree" / b"/".join(parts).decode("utf-8", "surrogateescape")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("x, y\n", encoding="utf-8")
        except (OSError, ValueError):  # no name here, or a file is where a folder is needed
            continue


def _tags(folder: Path) -> None:
    from toolkit.labels.space import LabelSpace

    for file in ("tags.txt", "tags.csv"):
        space = LabelSpace.read(folder / file)
        assert space.columns(space.tags).tolist() == list(range(len(space)))


def _split(folder: Path) -> None:
    from toolkit.evaluation.splits import read_split

    ids, parts = read_split(folder / "split.csv")
    assert len(ids) == len(parts)


def _manifest(folder: Path) -> None:
    from toolkit.images.manifest import read_manifest

    read_manifest(folder / "images.csv")


def _evaluate(folder: Path) -> None:
    from toolkit.verbs.evaluate import evaluate

    evaluate(folder / "predictions.csv", labels=folder / "labels.csv")


def _json(folder: Path) -> None:
    from toolkit.errors import StoreError
    from toolkit.files.json import read_json

    try:
        read_json(folder / "document.json", dict[str, object])
    except ValueError as error:  # as all its callers do
        raise StoreError(str(error)) from error


def _arrays(folder: Path) -> None:
    from toolkit.errors import StoreError
    from toolkit.files.npy import read_array
    from toolkit.files.npz import open_npz

    try:
        read_array(folder / "X.npy")
        with open_npz(folder / "arrays.npz") as archive:
            for name in archive.names:
                archive.read(name, most=2**26, expected=_anything())
    except ValueError as error:  # as all their callers do
        raise StoreError(str(error)) from error


def _anything() -> object:
    from toolkit.files.npy import ANYTHING

    return ANYTHING


def _build_arrays(folder: Path) -> None:
    np.save(folder / "X.npy", np.arange(12, dtype=np.float32).reshape(3, 4))
    np.savez_compressed(folder / "arrays.npz", a=np.arange(6), b=np.array(["x", "天"]), c=np.array(True))


def _build_import(folder: Path) -> None:
    np.save(folder / "X.npy", np.arange(12, dtype=np.float32).reshape(3, 4))
    (folder / "names.txt").write_text("a.jpg\nb/二.jpg\nc.jpg\n", encoding="utf-8")


def _import(folder: Path) -> None:
    from toolkit.verbs.import_features import import_features

    shutil.rmtree(folder / "out", ignore_errors=True)
    import_features(folder / "X.npy", folder / "names.txt", folder / "out" / "store")


def _build_import_npz(folder: Path) -> None:
    X = np.arange(12, dtype=np.float64).reshape(3, 4, 1)
    np.savez(folder / "X.npz", features=X, other=np.zeros((3, 2)), names=np.array(["a.jpg", "b/二.jpg", "c"]))


def _import_of(file: str) -> Callable[[Path], None]:
    def read(folder: Path) -> None:
        from toolkit.verbs.import_features import import_features

        shutil.rmtree(folder / "out", ignore_errors=True)
        store = import_features(folder / file, target=folder / "out" / "store")
        assert np.isfinite(store.embeddings()).all()

    return read


def _build_store(folder: Path) -> None:
    X, _ = made_up(n=12)
    write_store(folder, "train", X, names(12))


def _store(folder: Path) -> None:
    from toolkit.store.reading import EmbeddingStore

    store = EmbeddingStore(folder / "artifacts" / "embeddings" / "train")
    assert store.embeddings().shape == (len(store.ids), store.meta.spec.dim)


def _build_head(name: str, **options: object) -> Callable[[Path], None]:
    def build(folder: Path) -> None:
        from toolkit.heads.registry import get_head

        X, Y = made_up(n=60)
        head = get_head(name)(**options)
        head.fit(X, sp.csr_array(Y), val=(X[:20], sp.csr_array(Y[:20])))
        (folder / "head").mkdir()
        head.save(folder / "head")

    return build


def _head(folder: Path) -> None:
    from toolkit.heads.registry import load_head

    X, _ = made_up(n=8)
    scores = load_head(folder / "head").scores(X)
    assert scores.shape[0] == 8
    assert np.isfinite(scores).all()


def _build_saved(folder: Path) -> None:
    from toolkit.verbs.fit import fit

    X, Y = made_up()
    write_store(folder, "train", X, names())
    write_labels(folder / "labels.csv", names(), Y)
    fit("logreg", artifacts=folder / "artifacts", labels=folder / "labels.csv")


def _saved(folder: Path) -> None:
    from toolkit.experiment.saved import SavedHead
    from toolkit.experiment.saved_scores import SavedScores

    saved = SavedHead.open(folder / "artifacts", "best")
    saved.rule().apply(np.full((2, len(TAGS)), 0.5, np.float32))
    assert isinstance(saved.history, list)
    SavedScores.read(saved.folder, "test")


def _build_scores(folder: Path) -> None:
    from toolkit.evaluation.scorestore import TopScores

    scores = np.random.default_rng(0).random((3, len(TAGS)), np.float32)
    TopScores.of(scores, np.arange(3), ["a.jpg", "b.jpg", "二.jpg"], TAGS).write(folder / "p.scores.npz")


def _scores(folder: Path) -> None:
    from toolkit.evaluation.decisions.registry import parse_rule
    from toolkit.evaluation.scorestore import TopScores, redecide

    redecide(parse_rule("fixed:0.5"), TopScores.read(folder / "p.scores.npz"))


def _onehot() -> str:
    text = io.StringIO()
    csv.writer(text).writerows(
        [["img_path", "sky", "天空"], ["1.jpg", 0, "1.0"], ["2.jpg", "true", " False "]]
    )
    return text.getvalue()


def _lists() -> str:
    cells = [
        "['sky', 'sea']",
        '["sky", "\\u5929"]',
        "['a' 'b']",
        '{sky,"a b"}',
        '[{"choices": ["sky"]}]',
        "set()",
    ]
    text = io.StringIO()
    csv.writer(text).writerows(
        [["img_path", "tags"], *([f"{row}.jpg", cell] for row, cell in enumerate(cells))]
    )
    return text.getvalue()


_STORE = "artifacts/embeddings/train"
_HEAD = "artifacts/heads/logreg"
TARGETS = {
    target.name: target
    for target in (
        Target("csv", _texts(labels__csv=TABLE), ("labels.csv",), _labels("labels.csv")),
        Target(
            "onehot", _texts(labels__csv=_onehot()), ("labels.csv",), _labels("labels.csv", format="onehot")
        ),
        Target("lists", _texts(labels__csv=_lists()), ("labels.csv",), _labels("labels.csv")),
        Target(
            "objects", _texts(labels__tsv=OBJECTS), ("labels.tsv",), _labels("labels.tsv", fold_tags=True)
        ),
        Target("npz", _contest, ("tag_train.npz", "train.csv", "tags.txt"), _labels("tag_train.npz")),
        Target(
            "npz-sparse",
            lambda folder: _contest(folder, sparse=True),
            ("tag_train.npz",),
            _labels("tag_train.npz"),
        ),
        Target("coco", _coco, ("instances.json",), _labels("instances.json")),
        Target("voc", _voc, ("1.xml",), _labels("", format="voc")),
        Target(
            "sidecar", _texts(a__jpg="", a__txt="sky, sea\n天空\n"), ("a.txt",), _labels("", format="sidecar")
        ),
        Target(
            "yolo",
            _texts(
                a__jpg="",
                a__txt="0 0.5 0.5 0.1 0.2\n1 .1 .1 .2 .2 .3 .3\n",
                data__yaml="nc: 2\nnames: [sky, 天空]\n",
            ),
            ("a.txt", "data.yaml"),
            _labels("", format="yolo"),
        ),
        Target(
            "records",
            _texts(labels__json='[{"image": "a.jpg", "annotations": ["sky", {"label": "天空"}]}]'),
            ("labels.json",),
            _labels("labels.json"),
        ),
        Target(
            "jsonl",
            _texts(
                metadata__jsonl='{"file_name": "a.jpg", "tags": ["sky"]}\n'
                '{"file_name": "二.jpg", "tags": []}\n'
            ),
            ("metadata.jsonl",),
            _labels("metadata.jsonl"),
        ),
        Target(
            "labelstudio",
            _texts(
                labels__json='[{"id": 1, "data": {"image": "/data/upload/1/a.jpg"}, '
                '"annotations": [{"result": '
                '[{"value": {"choices": ["sky", "天空"]}}, {"value": {"rectanglelabels": ["sea"]}}]}]}]'
            ),
            ("labels.json",),
            _labels("labels.json"),
        ),
        Target(
            "fiftyone",
            _texts(
                labels__json='{"classes": ["sky", "天空"], '
                '"labels": {"a": [0, 1], "b": null, "c": [{"label": 1}]}}'
            ),
            ("labels.json",),
            _labels("labels.json"),
        ),
        Target(
            "cvat",
            _texts(
                annotations__xml="<annotations><meta><labels><label><name>sky</name></label></labels></meta>"
                '<image name="a.jpg"><tag label="sky"/><box label="天空" xtl="1"/></image></annotations>'
            ),
            ("annotations.xml",),
            _labels("annotations.xml"),
        ),
        Target(
            "labelme",
            _texts(
                a__json='{"shapes": [{"label": "sky", "points": [[1, 2]]}], "imagePath": "a.jpg", '
                '"flags": {"天空": true}}'
            ),
            ("a.json",),
            _labels("", format="labelme"),
        ),
        Target(
            "folders",
            lambda folder: (folder / "names").write_bytes("cat/1.jpg\0天空/2.jpg\0c/3.jpg\0c/3.txt".encode()),
            ("names",),
            _labels("tree"),
            _place_names,
        ),
        Target(
            "tags",
            _texts(tags__txt="sky\nsea\n天空\n", tags__csv="tag_id,name,category\n1,sky,0\n2,天空,4\n"),
            ("tags.txt", "tags.csv"),
            _tags,
        ),
        Target(
            "split",
            _texts(split__csv="img_path,split\na.jpg,train\nb.jpg,val\n二.jpg,test\n"),
            ("split.csv",),
            _split,
        ),
        Target(
            "manifest",
            _texts(images__csv="img_path,x\na.jpg,1\nb/二.jpg,2\n/c.jpg,3\n", a__jpg=""),
            ("images.csv",),
            _manifest,
        ),
        Target(
            "predictions", _texts(predictions__csv=TABLE, labels__csv=TABLE), ("predictions.csv",), _evaluate
        ),
        Target(
            "json",
            _texts(document__json='{"a": [1, 2.5, null, true], "天": {"b": "x"}}'),
            ("document.json",),
            _json,
        ),
        Target("arrays", _build_arrays, ("X.npy", "arrays.npz"), _arrays),
        Target("import", _build_import, ("X.npy", "names.txt"), _import),
        Target("import-npz", _build_import_npz, ("X.npz",), _import_of("X.npz")),
        Target(
            "import-csv",
            _texts(X__csv="img_path,a,b\n1.jpg,0.5,-1\n二.jpg,1e3,2\n"),
            ("X.csv",),
            _import_of("X.csv"),
        ),
        Target(
            "store",
            _build_store,
            tuple(f"{_STORE}/{file}" for file in ("index.csv", "meta.json", "embeddings.npy")),
            _store,
        ),
        Target("head-logreg", _build_head("logreg"), ("head/*",), _head),
        Target("head-knn", _build_head("knn"), ("head/*",), _head),
        Target("head-mlp", _build_head("mlp", epochs=2, hidden=(4,)), ("head/*",), _head),
        Target("head-ensemble", _build_head("ensemble", members=("logreg", "knn")), ("head/**/*",), _head),
        Target(
            "saved-head",
            _build_saved,
            (
                "artifacts/heads/best.json",
                *(
                    f"{_HEAD}/{file}"
                    for file in (
                        "decision.json",
                        "metrics.json",
                        "spec.json",
                        "tags.txt",
                        "history.csv",
                        "scores/test.npz",
                        "scores/test-tags.npz",
                        "scores/test-groups.npy",
                    )
                ),
            ),
            _saved,
        ),
        Target("scores", _build_scores, ("p.scores.npz",), _scores),
    )
}
LABEL_READERS = (
    *("csv", "onehot", "npz", "npz-sparse", "coco", "voc", "sidecar", "folders", "tags"),
    *("yolo", "records", "jsonl", "labelstudio", "fiftyone", "cvat", "labelme"),
)
