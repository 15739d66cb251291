"""The store: reading returns what was written, nothing half-written is seen, nothing finished is lost."""

import csv
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from toolkit.errors import SpecMismatchError, StoreError
from toolkit.store.reading import EmbeddingStore
from toolkit.store.records import Failure, Row, StoreMeta
from toolkit.store.spec import EmbeddingSpec
from toolkit.store.writing import StoreWriter

DIM = 5
OPENED = []


def kill():
    """Leave all writers as the end of their process would: files closed without a flush, no lock held."""
    while OPENED:
        writer = OPENED.pop()
        writer._drop()
        writer.lock.release()


@pytest.fixture(autouse=True)
def close_writers():
    """A test that stands for a killed process leaves its writer open."""
    yield
    kill()


def spec(**changes):
    fields = {
        "backbone": "fake",
        "weights": "w",
        "weights_sha256": "00",
        "preprocessing": "none",
        "pooling": "avg",
        "dim": DIM,
        "precision": "fp32",
    }
    return EmbeddingSpec(**(fields | changes))


def values(name, view=0):
    seed = sum(name.encode("utf-8", "surrogateescape")) + 1000 * view
    return np.random.default_rng(seed).normal(size=DIM).astype(np.float32)


def row(name):
    return Row(name, bytes=len(name), mtime_ns=7, digest="d" + name, width=3, height=4, mode="CMYK")


def fill(writer, slots=None):
    for slot in writer.todo() if slots is None else slots:
        name = writer.ids[slot]
        writer.write(slot, row(name), [values(name, view) for view in range(writer.meta.views + 1)])


def as_they_were(image, rows):
    return (image, rows[image]) if image in rows else None


def begin(target, ids, *, keep=as_they_were, force=False, **meta):
    """Begin a pass in a new process, rows copied; the one before is killed."""
    writer = plan(target, ids, keep=keep, force=force, **meta)
    writer.begin()
    return writer


def plan(target, ids, *, keep=as_they_were, force=False, **meta):
    """As `begin`, before any row is copied."""
    kill()
    meta = StoreMeta(spec=meta.pop("spec", spec()), **{"dtype": "float32"} | meta)
    writer = StoreWriter(target, meta, ids, keep=keep, force=force)
    OPENED.append(writer)
    return writer


def visible(folder):
    """Names of files in a folder, but for locks."""
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def build(target, ids, **meta):
    writer = begin(target, ids, **meta)
    fill(writer)
    return writer.finish()


ODD_NAMES = ["line\u2028break", "next\x85line", "form\x0cfeed", "a\rb", "\x1c", 'q"\r,']
NAMES = ["a.jpg", "b, c.jpg", "图 😀.jpg", 'q"uote.png', "line\nbreak.jpg", "bytes\udcff.jpg"]


def test_store__rows_and_files_are_as_documented(tmp_path):
    store = build(tmp_path / "s", NAMES)
    assert store.ids == tuple(NAMES)
    np.testing.assert_array_equal(store.embeddings(), [values(name) for name in NAMES])
    assert store.rows[1] == row("b, c.jpg")
    raw = np.load(tmp_path / "s" / "embeddings.npy", mmap_mode="r")
    assert raw.dtype == np.float32 and raw.flags.c_contiguous
    with (tmp_path / "s" / "index.csv").open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        table = list(csv.reader(file))
    assert table[0] == ["row", "img_path", "bytes", "mtime_ns", "digest", "width", "height", "mode"]
    assert table[3] == ["2", "图 😀.jpg", str(len("图 😀.jpg")), "7", "d图 😀.jpg", "3", "4", "CMYK"]
    assert sorted(path.name for path in (tmp_path / "s").iterdir()) == [
        "embeddings.npy",
        "failed.csv",
        "index.csv",
        "meta.json",
    ]
    assert visible(tmp_path) == ["s"]


def test_store__float16_and_views(tmp_path):
    store = build(tmp_path / "s", NAMES[:3], dtype="float16", views=2)
    assert store.embeddings().dtype == np.float16
    np.testing.assert_array_equal(store.views()[1], np.float16([values(name, 2) for name in NAMES[:3]]))
    assert (tmp_path / "s" / "views" / "01.npy").is_file()


@pytest.mark.parametrize("views", [0, 1])
def test_store__failed_rows_are_closed_up(tmp_path, views):
    writer = begin(tmp_path / "s", NAMES, views=views)
    fill(writer, [0, 2, 5])
    for slot in (1, 3, 4):
        writer.fail(slot, f"bad {slot}")
    store = writer.finish()
    kept = [NAMES[0], NAMES[2], NAMES[5]]
    assert store.ids == tuple(kept)
    np.testing.assert_array_equal(store.embeddings(), [values(name) for name in kept])
    if views:
        np.testing.assert_array_equal(store.views()[0], [values(name, 1) for name in kept])
    assert store.failures == (
        Failure(NAMES[1], "bad 1"),
        Failure(NAMES[3], "bad 3"),
        Failure(NAMES[4], "bad 4"),
    )
    assert visible(tmp_path) == ["s"]


def test_store__all_failed_is_an_empty_store(tmp_path):
    writer = begin(tmp_path / "s", ["x"])
    writer.fail(0, "bad")
    store = writer.finish()
    assert store.embeddings().shape == (0, DIM)


def test_finish__refuses_a_lost_row(tmp_path):
    writer = begin(tmp_path / "s", NAMES)
    fill(writer, [0, 1])
    with pytest.raises(StoreError, match="4 images are neither embedded nor failed, first 图 😀.jpg"):
        writer.finish()
    assert not (tmp_path / "s").exists()


def test_begin__resumes_what_the_journal_holds(tmp_path):
    writer = begin(tmp_path / "s", NAMES)
    fill(writer, [3, 0])
    writer.flush()
    fill(writer, [1])  # written but not in the journal: a kill here loses it
    assert not (tmp_path / "s").exists()
    again = begin(tmp_path / "s", NAMES)
    assert again.todo() == [1, 2, 4, 5]
    fill(again)
    np.testing.assert_array_equal(again.finish().embeddings(), [values(name) for name in NAMES])


def test_begin__resumes_names_with_every_kind_of_line_break(tmp_path):
    writer = begin(tmp_path / "s", ODD_NAMES)
    fill(writer)
    writer.flush()
    again = begin(tmp_path / "s", ODD_NAMES)
    assert again.todo() == [] and [again.rows[slot] for slot in range(6)] == [row(name) for name in ODD_NAMES]
    again.fail(0, "bad")
    assert again.finish().ids == tuple(ODD_NAMES)


def test_begin__a_cut_off_journal_line_is_not_counted(tmp_path):
    writer = begin(tmp_path / "s", NAMES[:3])
    fill(writer)
    writer.flush()
    journal = tmp_path / ".s.partial" / "journal.csv"
    journal.write_text(journal.read_text(encoding="utf-8")[:-5], encoding="utf-8")
    assert begin(tmp_path / "s", NAMES[:3]).todo() == [2]


def test_begin__journal_lines_that_cannot_be_are_not_counted(tmp_path):
    writer = begin(tmp_path / "s", NAMES[:3])
    fill(writer, [1])
    writer.flush()
    with (tmp_path / ".s.partial" / "journal.csv").open("a", encoding="utf-8") as journal:
        journal.write("x,a.jpg,1,1,d,1,1,RGB\n3,a.jpg,1,1,d,1,1,RGB\n-1,a.jpg,1,1,d,1,1,RGB\n0,a.jpg\n")
    assert begin(tmp_path / "s", NAMES[:3]).todo() == [0, 2]


def test_begin__other_images_move_to_their_new_slots(tmp_path):
    build(tmp_path / "s", ["b", "d"])
    writer = begin(tmp_path / "s", ["a", "b", "c", "d"])
    assert writer.todo() == [0, 2]
    assert EmbeddingStore(tmp_path / "s").ids == ("b", "d")  # the old store stands until the new one is done
    fill(writer)
    np.testing.assert_array_equal(writer.finish().embeddings(), [values(name) for name in "abcd"])


def test_begin__keep_decides_and_may_update_the_row(tmp_path):
    build(tmp_path / "s", ["a", "b"])
    fresh = Row("a", bytes=99)
    writer = begin(tmp_path / "s", ["a", "b"], keep=lambda image, _: ("a", fresh) if image == "a" else None)
    assert writer.todo() == [1] and writer.rows[0] == fresh


def test_begin__keep_may_take_the_row_of_another_name(tmp_path):
    build(tmp_path / "s", ["a", "b", "c"])
    renamed = {"y": "c", "z": "a"}
    writer = begin(
        tmp_path / "s", ["b", "y", "z"], keep=lambda image, _: (renamed.get(image, image), row(image))
    )
    assert not writer.todo()
    store = writer.finish()
    assert store.ids == ("b", "y", "z")
    np.testing.assert_array_equal(store.embeddings(), [values(name) for name in "bca"])


def test_begin__takes_over_rows_in_blocks_of_any_order(tmp_path, monkeypatch):
    monkeypatch.setattr("toolkit.files.npy.COPY_ROWS", 3)
    names = [f"{number:02d}" for number in range(20)]
    build(tmp_path / "s", names)
    order = [*names[5:14], *names[:2], "new", *names[19:13:-1]]
    writer = begin(tmp_path / "s", order)
    assert writer.todo() == [order.index("new")]
    fill(writer)
    np.testing.assert_array_equal(writer.finish().embeddings(), [values(name) for name in order])


def test_store__a_folder_of_any_name(tmp_path):
    root = "/images/\udcff"
    assert build(tmp_path / "s", ["a"], root=root).meta.root == root


def test_finish__where_rows_keep_their_places_only_tables_are_written(tmp_path):
    store = build(tmp_path / "s", ["a", "b"])
    before = (tmp_path / "s" / "embeddings.npy").stat()
    renamed = {"a2": "a", "b": "b"}  # a name may change, its row does not
    writer = plan(
        tmp_path / "s",
        ["a2", "b", "c"],
        keep=lambda image, rows: (renamed[image], replace(row(image), mtime_ns=99)) if image != "c" else None,
        files={"labels": "l.csv"},
    )
    writer.fail(2, "bad")
    again = writer.finish()
    assert again.rows == (replace(row("a2"), mtime_ns=99), replace(row("b"), mtime_ns=99))
    assert again.meta == replace(store.meta, files={"labels": "l.csv"})
    assert again.failures == (Failure("c", "bad"),)
    after = (tmp_path / "s" / "embeddings.npy").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    assert visible(tmp_path) == ["s"]


def test_finish__rows_in_another_order_are_copied(tmp_path):
    build(tmp_path / "s", ["a", "b", "c"])
    for order in (["b", "a", "c"], ["a", "b"], ["b"]):
        store = plan(tmp_path / "s", order).finish()
        assert store.ids == tuple(order) and visible(tmp_path) == ["s"]
        np.testing.assert_array_equal(store.embeddings(), [values(name) for name in order])


def test_plan__nothing_is_copied_before_the_first_row(tmp_path):
    build(tmp_path / "s", ["a"])
    writer = plan(tmp_path / "s", ["a", "b"])
    assert writer.todo() == [1] and writer.rows == {0: row("a")} and visible(tmp_path) == ["s"]
    fill(writer)
    assert visible(tmp_path) == [".s.partial", "s"]
    np.testing.assert_array_equal(writer.finish().embeddings(), [values(name) for name in "ab"])


def test_begin__force_forgets_store_and_pass(tmp_path):
    build(tmp_path / "s", ["a"])
    fill(begin(tmp_path / "s", ["a", "b"]))
    assert begin(tmp_path / "s", ["a", "b"], force=True, spec=spec(pooling="max")).todo() == [0, 1]


@pytest.mark.parametrize(
    ("field", "value"), [("weights_sha256", "11"), ("preprocessing", "squash"), ("pooling", "x")]
)
def test_begin__another_spec_is_an_error_naming_the_field(tmp_path, field, value):
    build(tmp_path / "s", ["a"])
    with pytest.raises(
        SpecMismatchError, match=f"differ in {field}: .* against {value}; give the old options, another"
    ):
        begin(tmp_path / "s", ["a"], spec=spec(**{field: value}))
    assert EmbeddingStore(tmp_path / "s").ids == ("a",)


def test_begin__the_name_of_the_weights_alone_does_not_matter(tmp_path):
    build(tmp_path / "s", ["a"])
    assert begin(tmp_path / "s", ["a"], spec=spec(weights="elsewhere.pth")).todo() == []


@pytest.mark.parametrize(
    ("changes", "text"),
    [({"dtype": "float16"}, "dtype float32, this pass float16"), ({"views": 1}, "views 0, this pass 1")],
)
def test_begin__another_layout_is_an_error(tmp_path, changes, text):
    build(tmp_path / "s", ["a"])
    with pytest.raises(StoreError, match=text):
        begin(tmp_path / "s", ["a"], **changes)


def test_begin__a_kill_between_the_two_renames_loses_nothing(tmp_path):
    build(tmp_path / "s", ["a", "b"])
    (tmp_path / "s").rename(tmp_path / ".s.previous")
    assert begin(tmp_path / "s", ["a", "b"]).todo() == []


def test_begin__a_kill_while_the_pass_folder_is_swapped_loses_nothing(tmp_path):
    writer = begin(tmp_path / "s", ["a", "b"])
    fill(writer, [1])
    writer.flush()
    (tmp_path / ".s.partial").rename(tmp_path / ".s.next")
    assert begin(tmp_path / "s", ["a", "b"]).todo() == [0]


@pytest.mark.parametrize("lost", ["embeddings.npy", "journal.csv", "meta.json", "views/00.npy"])
def test_begin__a_kill_while_the_old_pass_folder_is_deleted_loses_nothing(tmp_path, lost):
    writer = begin(tmp_path / "s", ["a", "b", "c"], views=1)
    fill(writer, [0, 1])
    writer.flush()
    shutil.copytree(tmp_path / ".s.partial", tmp_path / ".s.next")
    (tmp_path / ".s.partial" / lost).unlink()
    again = begin(tmp_path / "s", ["a", "b", "c"], views=1)
    assert again.todo() == [2]
    fill(again)
    np.testing.assert_array_equal(again.finish().embeddings(), [values(name) for name in "abc"])
    assert visible(tmp_path) == ["s"]


@pytest.mark.parametrize("step", range(1, 9))
def test_begin__a_kill_at_any_deletion_or_rename_loses_nothing(tmp_path, monkeypatch, step):
    writer = begin(tmp_path / "s", ["a", "b", "c"])
    fill(writer, [0, 1])
    writer.flush()
    calls = 0

    def dying(function):
        def call(*arguments, **options):
            nonlocal calls
            calls += 1
            if calls == step:
                if function is shutil.rmtree and arguments[0].exists():
                    min(path for path in arguments[0].rglob("*") if path.is_file()).unlink()
                raise KeyboardInterrupt
            return function(*arguments, **options)

        return call

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", dying(shutil.rmtree))
        patch.setattr(type(tmp_path), "rename", dying(type(tmp_path).rename))
        with pytest.raises(KeyboardInterrupt):
            for _ in range(9):
                begin(tmp_path / "s", ["a", "b", "c"])
    again = begin(tmp_path / "s", ["a", "b", "c"])
    assert again.todo() == [2]
    fill(again)
    np.testing.assert_array_equal(again.finish().embeddings(), [values(name) for name in "abc"])
    assert visible(tmp_path) == ["s"]


@pytest.mark.parametrize("lost", ["embeddings.npy", "meta.json"])
def test_begin__a_damaged_pass_is_begun_anew(tmp_path, caplog, lost):
    fill(writer := begin(tmp_path / "s", ["a", "b"]), [0])
    writer.flush()
    (tmp_path / ".s.partial" / lost).write_bytes(b"")
    again = begin(tmp_path / "s", ["a", "b"])
    assert again.todo() == [0, 1] and "is damaged: starting it again" in caplog.text


def test_begin__a_kill_before_the_rename_of_a_closed_up_store_loses_nothing(tmp_path):
    writer = begin(tmp_path / "s", ["a", "b", "c"])
    fill(writer, [0, 2])
    writer.fail(1, "bad")
    writer.flush()
    before = tmp_path / "copy"
    shutil.copytree(tmp_path / ".s.partial", before)
    writer.finish()
    shutil.rmtree(tmp_path / "s")
    before.rename(tmp_path / ".s.partial")
    again = begin(tmp_path / "s", ["a", "b", "c"])
    again.fail(1, "bad")
    np.testing.assert_array_equal(again.finish().embeddings(), [values("a"), values("c")])


def test_open__missing_store(tmp_path):
    with pytest.raises(StoreError, match="no embedding store at .*; make one with: toolkit embed FOLDER"):
        EmbeddingStore(tmp_path / "none")


def test_open__index_and_array_disagree(tmp_path):
    build(tmp_path / "s", ["a", "b"])
    np.save(tmp_path / "s" / "embeddings.npy", np.zeros((3, DIM), np.float32))
    with pytest.raises(StoreError, match="holds 3 x 5 numbers but index.csv lists 2 rows"):
        EmbeddingStore(tmp_path / "s")


def test_open__damaged_description(tmp_path):
    build(tmp_path / "s", ["a"])
    document = json.loads((tmp_path / "s" / "meta.json").read_text(encoding="utf-8"))
    document["spec"]["dim"] = "many"
    (tmp_path / "s" / "meta.json").write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(StoreError, match="expected int, got str at spec.dim"):
        EmbeddingStore(tmp_path / "s")


def test_open__a_pickled_array_is_refused(tmp_path):
    build(tmp_path / "s", ["a"])
    np.save(tmp_path / "s" / "embeddings.npy", np.array([[{}]], dtype=object), allow_pickle=True)
    with pytest.raises(StoreError, match="cannot be read"):
        EmbeddingStore(tmp_path / "s")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"views": 2_000_000_000}, "expected int <= 1000 at views"),
        ({"views": -1}, "expected int >= 0 at views"),
        ({"dtype": "float64"}, "invalid enum value 'float64' at dtype"),
        ({"dtype": "O"}, "invalid enum value 'O' at dtype"),
        ({"files": ["a"]}, "expected object, got array at files"),
        ({"root": None}, "expected str, got null at root"),
        ({"spec": None}, "expected object, got null at spec"),
    ],
)
def test_open__a_description_out_of_bounds(change, text, tmp_path):
    build(tmp_path / "s", ["a"])
    path = tmp_path / "s" / "meta.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | change), encoding="utf-8")
    with pytest.raises(StoreError, match=rf"meta.json is not a readable store description \({text}\); embed"):
        EmbeddingStore(tmp_path / "s")


@pytest.mark.parametrize("document", ["[]", "5", "{", "[" * 10**6, '{"spec": ' * 10**6, "NaN", ""])
def test_open__a_description_that_is_none(document, tmp_path):
    build(tmp_path / "s", ["a"])
    (tmp_path / "s" / "meta.json").write_text(document)
    with pytest.raises(
        StoreError, match=r"meta.json is not a readable store description \(.*\); embed again"
    ):
        EmbeddingStore(tmp_path / "s")


def test_open__absurd_sizes_are_refused_by_the_header(tmp_path):
    build(tmp_path / "s", ["a"])
    with (tmp_path / "s" / "embeddings.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "<f4", "fortran_order": False, "shape": (10**12, DIM)}
        )
    with pytest.raises(StoreError, match="announces float32 of shape 1000000000000 x 5, .* but it has 0"):
        EmbeddingStore(tmp_path / "s")


def test_open__rows_in_another_order_or_twice(tmp_path):
    build(tmp_path / "s", ["a", "b", "c"])
    path = tmp_path / "s" / "index.csv"
    header, *lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([header, *lines[::-1]]) + "\n", encoding="utf-8")
    with pytest.raises(StoreError, match="index.csv lists row '2' of 'c' where row 0 belongs; the store is"):
        EmbeddingStore(tmp_path / "s")
    lines[2] = lines[2].replace("c", "a", 1)
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    with pytest.raises(StoreError, match=r"index.csv lists 'a' twice; the store is damaged"):
        EmbeddingStore(tmp_path / "s")
