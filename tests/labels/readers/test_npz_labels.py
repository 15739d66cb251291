"""read_labels on the contest's three files: matrix, csv for the rows, tag list for the columns."""

import csv
import os
import pickle
import sys
import zipfile

import numpy as np
import pytest
import scipy.sparse as sp

from toolkit.errors import LabelError
from toolkit.labels.read import read_labels

TAGS = ["天空", "大海", "沙滩"]
MATRIX = np.array([[1, 1, 0], [0, 0, 0], [0, 1, 1], [1, 0, 0]], dtype=np.uint8)
ROWS = 'img_path,tags\n1.jpg,"天空,大海"\n2.jpg,\n3.jpg,"沙滩,大海"\n4.jpg,天空\n'


def save(folder, matrix=MATRIX, name="tag_train.npz", **arrays):
    path = folder / name
    np.savez(path, **(arrays or {"tag_train": matrix}))
    return path


def put(path, text, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return path


@pytest.fixture
def contest(tmp_path):
    """The csv and the tag list; each test saves its own matrix."""
    put(tmp_path / "visual_china_train.csv", ROWS)
    put(tmp_path / "valid_tags.txt", "\n".join(TAGS) + "\n")
    return tmp_path


@pytest.mark.parametrize("dtype", [np.uint8, bool, np.int64, np.float32, np.float64, np.float16])
@pytest.mark.parametrize("order", ["C", "F"])
def test_dense__columns_are_the_lines_of_the_tag_list(contest, dtype, order):
    table = read_labels(save(contest, np.asarray(MATRIX, dtype=dtype, order=order)))
    assert table.ids == ("1.jpg", "2.jpg", "3.jpg", "4.jpg")
    assert table.space.tags == tuple(TAGS)
    assert table.Y.dtype == bool
    np.testing.assert_array_equal(table.Y.toarray(), MATRIX)
    assert table.root == contest
    assert table.notes == (
        "4 images, 3 tags, 1.2 tags an image, 1 image without tags",
        f"rows as in {contest / 'visual_china_train.csv'}, columns as in {contest / 'valid_tags.txt'}",
    )


@pytest.mark.parametrize("form", ["csr", "csc", "coo", "bsr", "dia"])
@pytest.mark.parametrize("container", ["array", "matrix"])
@pytest.mark.parametrize("dtype", [bool, np.int8, np.float64])
def test_sparse__any_scipy_form(contest, form, container, dtype):
    path = contest / "tag_train.npz"
    sp.save_npz(path, getattr(sp, f"{form}_{container}")(MATRIX.astype(dtype)))
    np.testing.assert_array_equal(read_labels(path).Y.toarray(), MATRIX)


def test_sparse__stored_zeros_are_zeros(contest):
    path = contest / "tag_train.npz"
    matrix = sp.csr_array(MATRIX)
    matrix.data[0] = 0
    sp.save_npz(path, matrix)
    put(contest / "visual_china_train.csv", ROWS.replace("天空,大海", "大海"))
    table = read_labels(path)
    assert table.Y.nnz == MATRIX.sum() - 1
    assert table.space.decode(table.Y)[0] == ["大海"]


def test_sparse__damaged_indices_are_an_error(contest):
    matrix = sp.csr_array(MATRIX)
    path = save(contest, format=b"csr", shape=MATRIX.shape, data=matrix.data, indptr=matrix.indptr,
                indices=matrix.indices + 1000)  # fmt: skip
    with pytest.raises(LabelError, match=r"is not a readable \.npz"):
        read_labels(path)
    path = save(contest, format=b"csr", shape=MATRIX.shape, data=matrix.data)
    with pytest.raises(LabelError, match=r"is not a readable \.npz"):
        read_labels(path)
    path = save(contest, format=b"xyz", shape=MATRIX.shape, data=matrix.data)
    with pytest.raises(LabelError, match=r"is not a readable \.npz"):
        read_labels(path)


def test_key__tag_train_or_the_only_one(contest):
    np.testing.assert_array_equal(read_labels(save(contest, Y=MATRIX)).Y.toarray(), MATRIX)
    path = save(contest, other=np.zeros(3), tag_train=MATRIX)
    np.testing.assert_array_equal(read_labels(path).Y.toarray(), MATRIX)
    path = save(contest, X_train=MATRIX, Y_train=MATRIX)
    with pytest.raises(
        LabelError,
        match="holds the arrays 'X_train', 'Y_train'; name the matrix 'tag_train' or keep it alone",
    ):
        read_labels(path)


def test_large__blocks_join_in_order(contest, monkeypatch):
    monkeypatch.setattr("toolkit.labels.readers.npz._BLOCK_BYTES", 7)
    np.testing.assert_array_equal(read_labels(save(contest)).Y.toarray(), MATRIX)


@pytest.mark.parametrize(("value", "shown"), [(2, "2"), (-1, "-1")])
def test_values__other_than_0_and_1(contest, value, shown):
    matrix = MATRIX.astype(np.int16)
    matrix[2, 2] = value
    with pytest.raises(LabelError, match=f"holds the value {shown}; a multi-hot matrix has 0 and 1 only"):
        read_labels(save(contest, matrix))
    sp.save_npz(contest / "tag_train.npz", sp.csr_array(matrix))
    with pytest.raises(LabelError, match=f"holds the value {shown}; a multi-hot"):
        read_labels(contest / "tag_train.npz")


@pytest.mark.parametrize(("value", "shown"), [(np.nan, "nan"), (0.5, r"0\.5")])
def test_values__nan_and_fractions(contest, value, shown):
    matrix = MATRIX.astype(np.float64)
    matrix[0, 0] = value
    with pytest.raises(LabelError, match=f"holds the value {shown}; a multi-hot"):
        read_labels(save(contest, matrix))


@pytest.mark.parametrize("array", [np.zeros(4), np.zeros((4, 3, 1)), np.full((4, 3), "1"), np.array(1.0)])
def test_values__not_a_matrix_of_numbers(contest, array):
    with pytest.raises(
        LabelError, match=r"holds an array of shape .* a multi-hot matrix is numeric and has two"
    ):
        read_labels(save(contest, array))


def test_pickle__is_refused(contest, tmp_path):
    path = save(contest, np.array([["x", {"a": 1}]], dtype=object))
    with pytest.raises(
        LabelError, match="holds pickled Python objects, which could run code and are never loaded"
    ):
        read_labels(path)
    path.write_bytes(pickle.dumps(MATRIX))
    with pytest.raises(LabelError, match=r"it is not an \.npz archive \(File is not a zip file\)"):
        read_labels(path)


@pytest.mark.parametrize("kept", [0, 10, 200])
def test_damage__truncated_file(contest, kept):
    path = save(contest)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(LabelError, match=r"is not an \.npz archive"):
        read_labels(path)


def test_damage__flipped_byte(contest):
    path = contest / "tag_train.npz"
    np.savez_compressed(path, tag_train=np.eye(300))
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(LabelError, match=r"is not a readable \.npz"):
        read_labels(path)


def test_sizes__both_numbers_are_said(contest):
    with pytest.raises(LabelError, match=r"has 2 columns but .*valid_tags\.txt 3 tags; .*--tags"):
        read_labels(save(contest, MATRIX[:, :2]))
    with pytest.raises(LabelError, match=r"has 3 rows but .*visual_china_train\.csv 4 rows; they must list"):
        read_labels(save(contest, MATRIX[:3]))
    with pytest.raises(LabelError, match=r"has 0 rows but .*visual_china_train\.csv 4 rows"):
        read_labels(save(contest, MATRIX[:0]))


def test_tag_list__given_or_beside(contest):
    path = save(contest)
    (contest / "valid_tags.txt").rename(contest / "names.txt")
    with pytest.raises(
        LabelError, match=r"no valid_tags\.txt or tags\.txt beside .*; give the list by --tags"
    ):
        read_labels(path)
    assert read_labels(path, tags=contest / "names.txt").space.tags == tuple(TAGS)
    (contest / "names.txt").rename(contest / "tags.txt")
    assert read_labels(path).space.tags == tuple(TAGS)
    put(contest / "valid_tags.txt", "x\ny\nz\n")
    with pytest.raises(LabelError, match=r"valid_tags\.txt and .*tags\.txt could both name the columns"):
        read_labels(path)
    assert read_labels(path, tags=contest / "tags.txt").space.tags == tuple(TAGS)


def test_row_order__no_csv(contest):
    (contest / "visual_china_train.csv").unlink()
    put(contest / "sizes.csv", "width,height\n1,2\n")
    with pytest.raises(LabelError, match=r"no csv with an image column lies beside .* img_path"):
        read_labels(save(contest))


def test_row_order__a_csv_with_tags_goes_before_a_split_file(contest):
    put(contest / "split.csv", "img_path,split\n4.jpg,val\n3.jpg,val\n2.jpg,val\n1.jpg,val\n")
    assert read_labels(save(contest)).ids == ("1.jpg", "2.jpg", "3.jpg", "4.jpg")


def test_row_order__ambiguous_names_the_candidates(contest):
    put(contest / "submit.csv", ROWS)
    with pytest.raises(
        LabelError,
        match=r"more than one csv .*: 'submit\.csv', 'visual_china_train\.csv'; leave only the right one",
    ):
        read_labels(save(contest))


def test_row_order__a_csv_without_tags_will_do(contest):
    put(contest / "visual_china_train.csv", "img_path,width\n4.jpg,1\n3.jpg,1\n2.jpg,1\n1.jpg,1\n")
    table = read_labels(save(contest))
    assert table.ids == ("4.jpg", "3.jpg", "2.jpg", "1.jpg")
    np.testing.assert_array_equal(table.Y.toarray(), MATRIX)


def test_row_order__the_tag_list_csv_is_no_candidate(contest):
    (contest / "valid_tags.txt").unlink()
    tags = put(
        contest / "selected_tags.csv", "tag_id,name,category\n" + "".join(f"1,{tag},0\n" for tag in TAGS)
    )
    assert read_labels(save(contest), tags=tags).space.tags == tuple(TAGS)


def test_row_order__gb18030_csv(contest):
    put(contest / "visual_china_train.csv", ROWS, "gb18030")
    with pytest.raises(LabelError, match=r"visual_china_train\.csv is not UTF-8 .* looks like GB18030"):
        read_labels(save(contest))
    assert len(read_labels(save(contest), encoding="gb18030").ids) == 4


def test_duplicates__merge_or_contradict_by_line_of_the_csv(contest):
    put(contest / "visual_china_train.csv", ROWS + '1.jpg,"大海,天空"\n')
    table = read_labels(save(contest, MATRIX[[0, 1, 2, 3, 0]]))
    assert table.notes[0].endswith("1 duplicate row merged")
    np.testing.assert_array_equal(table.Y.toarray(), MATRIX)
    put(contest / "visual_china_train.csv", ROWS + "1.jpg,天空\n")
    with pytest.raises(
        LabelError,
        match=r"'1\.jpg' has different tags on visual_china_train\.csv line 2 and .*train\.csv line 6;",
    ):
        read_labels(save(contest, MATRIX[[0, 1, 2, 3, 3]]))


def test_compare__a_few_differing_rows_are_noted(contest):
    put(contest / "visual_china_train.csv", ROWS.replace("4.jpg,天空", "4.jpg,null"))
    assert read_labels(save(contest)).notes[-1] == (
        f"{contest / 'tag_train.npz'} and {contest / 'visual_china_train.csv'} disagree about the tags of "
        "1 of 4 images (first '4.jpg', line 5); the matrix counts"
    )


def test_compare__a_tag_list_in_another_order_is_an_error(contest):
    put(contest / "valid_tags.txt", "\n".join(TAGS[::-1]) + "\n")
    with pytest.raises(
        LabelError,
        match=r"disagree about the tags of 3 of 4 images \(first '1\.jpg', line 2\); give the tag list",
    ):
        read_labels(save(contest))


def test_compare__rows_in_another_order_are_an_error(contest):
    with pytest.raises(LabelError, match=r"disagree about the tags of 4 of 4 images"):
        read_labels(save(contest, MATRIX[[3, 2, 1, 0]]))


def miniature(folder, seed=7, images=200, tags=300):
    """Write one label set as the contest's csv and npz and as a one-hot csv; return (ids, tags, Y)."""
    rng = np.random.default_rng(seed)
    names = list(dict.fromkeys("".join(map(chr, rng.integers(0x4E00, 0x9FA5, 2))) for _ in range(2 * tags)))[
        :tags
    ]
    popularity = 1 / np.arange(1, tags + 1)
    Y = rng.random((images, tags)) < np.minimum(1, 4 * popularity)
    Y[[5, 9]] = False
    ids = [f"{number:05d}.jpg" for number in rng.permutation(images)]
    (folder / "onehot").mkdir()
    put(folder / "valid_tags.txt", "".join(f"{name}\n" for name in names), "utf-8-sig")
    np.savez_compressed(folder / "tag_train.npz", tag_train=Y.astype(np.float64))
    with (folder / "visual_china_train.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["img_path", "tags"])
        writer.writerows(
            [image, ",".join(rng.permutation([names[j] for j in np.flatnonzero(row)]))]
            for image, row in zip(ids, Y, strict=True)
        )
    with (folder / "onehot" / "labels.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["img_path", *names])
        writer.writerows([image, *row.astype(int)] for image, row in zip(ids, Y, strict=True))
    return ids, names, Y


def test_miniature__three_formats_read_to_identical_tables(tmp_path):
    ids, names, Y = miniature(tmp_path)
    tags = tmp_path / "valid_tags.txt"
    tables = [
        read_labels(tmp_path / "visual_china_train.csv", tags=tags),
        read_labels(tmp_path / "tag_train.npz"),
        read_labels(tmp_path / "onehot" / "labels.csv", tags=tags),
    ]
    for table in tables:
        assert table.ids == tuple(ids)
        assert table.space.tags == tuple(names)
        assert isinstance(table.Y, sp.csr_array)
        np.testing.assert_array_equal(table.Y.toarray(), Y)
        np.testing.assert_array_equal(table.Y.indices, tables[0].Y.indices)
        np.testing.assert_array_equal(table.Y.indptr, tables[0].Y.indptr)
    without = int((~Y.any(axis=1)).sum())
    assert without > 1
    summary = f"200 images, 300 tags, {Y.sum() / 200:.1f} tags an image, {without} images without tags"
    assert [table.notes[0] for table in tables] == [summary] * 3


def test_miniature__without_a_list_csv_and_onehot_agree_on_the_tags_in_use(tmp_path):
    _, names, Y = miniature(tmp_path)
    from_csv = read_labels(tmp_path / "visual_china_train.csv")
    from_onehot = read_labels(tmp_path / "onehot" / "labels.csv")
    used = [name for name, column in zip(names, Y.T, strict=True) if column.any()]
    assert from_csv.space.tags == tuple(sorted(used))
    assert from_onehot.space.tags == tuple(sorted(names))
    assert from_csv.space.decode(from_csv.Y) == from_onehot.space.decode(from_onehot.Y)


def test_row_order__a_csv_of_another_length_is_not_it(contest):
    put(contest / "submit.csv", "img_path,tags\n9.jpg,天空\n")
    assert read_labels(save(contest)).ids == ("1.jpg", "2.jpg", "3.jpg", "4.jpg")


def test_bomb__is_refused_before_it_is_unpacked(contest):
    """300 MB of zeros in 1.3 MB."""
    path = contest / "tag_train.npz"
    header = {"descr": "|u1", "fortran_order": False, "shape": (100_000_000, 3)}
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("tag_train.npy", "w") as member,
    ):
        np.lib.format.write_array_header_1_0(member, header)
        for _ in range(30):
            member.write(bytes(10_000_000))
    assert path.stat().st_size < 2_000_000
    with pytest.raises(
        LabelError, match=r"tag_train: it unpacks to 300,000,128 bytes; 67,108,864 are allowed"
    ):
        read_labels(path)


@pytest.mark.parametrize("shape", [(2**40, 3), (4, 3, 2**30), (0, 2**62), (-4, 3)])
def test_header__that_lies_is_refused(contest, shape):
    path = contest / "tag_train.npz"
    with zipfile.ZipFile(path, "w") as archive, archive.open("tag_train.npy", "w") as member:
        np.lib.format.write_array_header_1_0(member, {"descr": "<f8", "fortran_order": False, "shape": shape})
    with pytest.raises(
        LabelError, match=r"is not a readable \.npz \(tag_train: |holds an array of|but .* 3 tags"
    ):
        read_labels(path)


@pytest.mark.parametrize("form", ["csr", "csc", "coo", "bsr", "dia"])
def test_sparse__wrong_indices_of_every_form_are_an_error(contest, form):
    path = contest / "tag_train.npz"
    sp.save_npz(path, getattr(sp, f"{form}_array")(MATRIX))
    with np.load(path) as archive:
        arrays = dict(archive)
    for name in sorted({"indices", "indptr", "row", "col", "offsets"} & set(arrays)):
        wrong = arrays[name].copy()
        wrong[-1] = (
            wrong[0] if name == "offsets" else -7
        )  # the same diagonal twice; an index before the first
        save(contest, **{**arrays, name: wrong})
        with pytest.raises(LabelError, match=r"is not a readable \.npz"):
            read_labels(path)
        save(contest, **{**arrays, name: wrong.astype(float)})
        with pytest.raises(LabelError, match=rf"is not a readable \.npz \({name}: it holds float64"):
            read_labels(path)
    save(contest, **{**arrays, "shape": np.array([2**40, 3])})
    with pytest.raises(LabelError, match=r"is not a readable \.npz \(shape: its values go from"):
        read_labels(path)


@pytest.mark.parametrize("form", ["csc", "coo"])
def test_sparse__of_many_rows_that_are_not_there_is_refused_unconverted(contest, form, monkeypatch):
    def never(*_):
        pytest.fail("converted: 17 GB")

    monkeypatch.setattr("toolkit.labels.readers.npz._from_sparse", never)
    matrix = sp.coo_array(([1], ([0], [0])), shape=(2**31 - 3, 3))
    save(contest)
    sp.save_npz(contest / "tag_train.npz", sp.csc_array(matrix) if form == "csc" else matrix)
    with pytest.raises(LabelError, match=r"has 2,147,483,645 rows but .*train\.csv 4 rows"):
        read_labels(contest / "tag_train.npz")


@pytest.mark.skipif(sys.platform == "win32", reason="needs pipes in the file system")
def test_pipe__is_refused_at_once(contest):
    os.mkfifo(contest / "tag_train.npz")
    with pytest.raises(LabelError, match=r"cannot be read \(it is a named pipe; give a regular file\)"):
        read_labels(contest / "tag_train.npz")
