"""Folders, csv files and single files become ids and paths."""

import os
import socket
from pathlib import Path

import pytest

from toolkit.errors import ManifestError, OptionError
from toolkit.files.csv import IMAGE_COLUMNS
from toolkit.images import manifest
from toolkit.images.manifest import Entry, read_manifest


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return folder


def ids(source: Path, **options: object) -> list[str]:
    return [entry.id for entry in read_manifest(source, **options).entries]


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


# ---------------------------------------------------------------------- folder


def test_folder__recursive_and_sorted_by_code_point(tmp_path: Path) -> None:
    touch(tmp_path, "b.jpg", "a/z.jpg", "a.jpg", "B.png", "a/b/c.webp", "é.gif", "a-1.jpg")
    listed = read_manifest(tmp_path)
    assert [entry.id for entry in listed.entries] == sorted(
        ["b.jpg", "a/z.jpg", "a.jpg", "B.png", "a/b/c.webp", "é.gif", "a-1.jpg"]
    )
    assert listed.entries[0] == Entry("B.png", tmp_path / "B.png")
    assert all(entry.path.read_bytes() == b"x" for entry in listed.entries)
    assert listed.inputs == tuple(entry.id for entry in listed.entries)
    assert (listed.kind, listed.root, listed.source, listed.skipped) == ("folder", tmp_path, tmp_path, ())


def test_folder__hidden_files_and_litter_are_not_there(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", ".hidden.jpg", ".git/x.jpg", "__MACOSX/a.jpg", "Thumbs.db", "sub/desktop.ini")
    touch(tmp_path, "sub/._a.jpg")
    listed = read_manifest(tmp_path)
    assert [entry.id for entry in listed.entries] == ["a.jpg"]
    assert listed.skipped == ()


def test_folder__a_hidden_source_is_listed(tmp_path: Path) -> None:
    assert ids(touch(tmp_path / ".cache" / "pictures", "a.jpg")) == ["a.jpg"]


def test_folder__what_is_plainly_no_image_is_skipped_and_named(tmp_path: Path) -> None:
    others = [
        "labels.CSV",
        "a.txt",
        "sub/x.npz",
        "sub/m.safetensors",
        "page.html",
        "all.tar.gz",
        "v.mp4",
        "s.WAV",
        *("IMG_1.AAE", "IMG_1.xmp", "MVI_2.THM", "IMG_3.jpg.pp3", "invoice.pdf", "notes.docx", "slides.pptx"),
        *(
            "x.jpg.part",
            "y.jpg.crdownload",
            "Photos.lnk",
            "site.url",
            "map.jgw",
            "_darknet.names",
            "a.jpg.bak",
        ),
    ]
    touch(tmp_path, *others, "a.jpg", "noext", "error.html.jpg", "d.svg", "raw.DNG", "frame.0001", "archive.")
    listed = read_manifest(tmp_path)
    assert list(listed.skipped) == sorted(others)
    assert [entry.id for entry in listed.entries] == sorted(
        ["a.jpg", "noext", "error.html.jpg", "d.svg", "raw.DNG", "frame.0001", "archive."]
    )


def test_folder__odd_names(tmp_path: Path) -> None:
    names = [
        "a, b.jpg",
        "with space.jpg",
        "中文 图片.jpg",
        "🐈.png",
        "100%25.jpg",
        "line\nbreak.jpg",
        "quote'\".jpg",
        "back\\slash.jpg",
        "长" * 83 + "aa.png",  # 255 bytes
        os.fsdecode(b"latin-\xe9.jpg"),
    ]
    touch(tmp_path, *names)
    assert ids(tmp_path) == sorted(names)
    assert all(entry.path.is_file() for entry in read_manifest(tmp_path).entries)


def test_folder__empty_and_without_images(tmp_path: Path) -> None:
    with pytest.raises(
        ManifestError, match=r"holds no images \(looked in all subfolders, .*not hidden\); give"
    ):
        read_manifest(tmp_path)
    touch(tmp_path, "notes.txt", "train.csv")
    with pytest.raises(
        ManifestError, match=r"skipped: 'notes.txt', 'train.csv'.*give the csv itself: .*train"
    ):
        read_manifest(tmp_path)


def test_folder__deep_trees_do_not_overflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    depth = 1100  # more than Python's recursion limit
    monkeypatch.chdir(tmp_path)
    for _ in range(depth):
        Path("d").mkdir()
        os.chdir("d")
    Path("a.jpg").write_bytes(b"x")
    try:
        assert ids(tmp_path) == ["d/" * depth + "a.jpg"]
    finally:  # pytest's own clean-up is recursive
        Path("a.jpg").unlink()
        for _ in range(depth):
            os.chdir("..")
            Path("d").rmdir()


def test_folder__unlistable_subfolder_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "a.jpg", "locked/b.jpg")
    scandir = os.scandir

    def refuse(path: Path) -> object:
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(manifest.os, "scandir", refuse)
    with pytest.raises(
        ManifestError, match=r"folder .*locked cannot be listed \(Permission denied\); fix its"
    ):
        read_manifest(tmp_path)


def test_folder__root_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"root is for a csv, and .* is not one; leave it out"):
        read_manifest(touch(tmp_path, "a.jpg"), root=tmp_path)


# ---------------------------------------------------------------------- links


def test_links__files_and_folders_are_followed(tmp_path: Path) -> None:
    touch(tmp_path, "far/away/x.jpg", "here/a.jpg")
    (tmp_path / "here" / "link.jpg").symlink_to("a.jpg")
    (tmp_path / "here" / "more").symlink_to(tmp_path / "far")
    assert ids(tmp_path / "here") == ["a.jpg", "link.jpg", "more/away/x.jpg"]


def test_links__loops_end(tmp_path: Path) -> None:
    source = touch(tmp_path / "source", "a.jpg", "sub/b.jpg")
    touch(tmp_path, "outside.jpg")
    (source / "self").symlink_to(source)
    (source / "sub" / "up").symlink_to("..")
    (source / "above").symlink_to(tmp_path)  # holds the source: outside.jpg is none of its images
    (source / "top").symlink_to("/")
    assert ids(source) == ["a.jpg", "sub/b.jpg"]


def test_links__a_folder_is_listed_once_under_its_real_name(tmp_path: Path) -> None:
    touch(tmp_path, "z/x.jpg")
    (tmp_path / "a").symlink_to("z")
    assert ids(tmp_path) == ["z/x.jpg"]


def test_links__two_links_to_one_folder_outside(tmp_path: Path) -> None:
    touch(tmp_path, "out/x.jpg", "in/sub/a.jpg")
    for name in ("c", "b", "sub/d"):
        (tmp_path / "in" / name).symlink_to(tmp_path / "out")
    assert ids(tmp_path / "in") == ["b/x.jpg", "sub/a.jpg"]


def test_links__a_linked_source(tmp_path: Path) -> None:
    touch(tmp_path, "real/a.jpg")
    (tmp_path / "link").symlink_to("real")
    assert ids(tmp_path / "link") == ["a.jpg"]


def test_links__those_that_lead_nowhere_are_entries(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg")
    (tmp_path / "gone.jpg").symlink_to("nothing.jpg")
    (tmp_path / "circle").symlink_to("circle")
    assert ids(tmp_path) == ["a.jpg", "circle", "gone.jpg"]


def test_links__pipes_and_devices_are_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "a.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "zero.jpg").symlink_to("/dev/zero")
    monkeypatch.chdir(tmp_path)  # the path of a socket is limited to 108 bytes
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("s.jpg")
        listed = read_manifest(tmp_path)
    assert [entry.id for entry in listed.entries] == ["a.jpg"]
    assert listed.skipped == ("pipe.jpg", "s.jpg", "zero.jpg")


# ---------------------------------------------------------------------- single file, no file


def test_single_file(tmp_path: Path) -> None:
    touch(tmp_path, "one.jpg", "two.jpg")
    listed = read_manifest(tmp_path / "one.jpg")
    assert listed.entries == (Entry("one.jpg", tmp_path / "one.jpg"),)
    assert (listed.kind, listed.root, listed.inputs) == ("folder", tmp_path, ("one.jpg",))


def test_single_file__no_image(tmp_path: Path) -> None:
    with pytest.raises(
        ManifestError, match=r"names.txt is not an image; give a folder of images, a .csv that lists"
    ):
        read_manifest(touch(tmp_path, "names.txt") / "names.txt")


def test_missing_source(tmp_path: Path) -> None:
    touch(tmp_path, "training/a.jpg", "other/b.jpg")
    with pytest.raises(ManifestError, match=r"trainin does not exist; did you mean .*training\?$"):
        read_manifest(tmp_path / "trainin")
    with pytest.raises(ManifestError, match=r"zzz does not exist; check the path$"):
        read_manifest(tmp_path / "zzz")
    with pytest.raises(ManifestError, match=r"does not exist, and neither does the folder .*nowhere; check"):
        read_manifest(tmp_path / "nowhere" / "train")


def test_source_behind_a_locked_door(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "exists", refuse)
    with pytest.raises(ManifestError, match=r"a cannot be reached \(Permission denied\)"):
        read_manifest(tmp_path / "a")


# ---------------------------------------------------------------------- csv


def test_csv__order_repeats_and_normalised_ids(tmp_path: Path) -> None:
    touch(tmp_path, "b.jpg", "sub/a.jpg")
    text = "img_path,tags\nsub/a.jpg,x\nb.jpg,\n./sub//a.jpg,y\nsub/../b.jpg,z\nmissing.jpg,w\n"
    listed = read_manifest(write(tmp_path / "train.csv", text))
    assert [entry.id for entry in listed.entries] == ["sub/a.jpg", "b.jpg", "missing.jpg"]
    assert listed.inputs == ("sub/a.jpg", "b.jpg", "sub/a.jpg", "b.jpg", "missing.jpg")
    assert listed.entries[0].path == tmp_path / "sub" / "a.jpg"
    assert (listed.kind, listed.root, listed.skipped) == ("csv", tmp_path, ())


@pytest.mark.parametrize("column", IMAGE_COLUMNS)
def test_csv__every_alias(tmp_path: Path, column: str) -> None:
    touch(tmp_path, "a.jpg")
    assert ids(write(tmp_path / "t.csv", f"tags, {column.upper()} ,n\nx,a.jpg,1\n")) == ["a.jpg"]


def test_csv__the_first_alias_wins(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg")
    assert ids(write(tmp_path / "t.csv", "id,name,filename\n1,cat,a.jpg\n")) == ["a.jpg"]


def test_csv__no_image_column(tmp_path: Path) -> None:
    with pytest.raises(
        ManifestError,
        match=r"no image column: columns found are 'a.jpg', 'cat'; name it one of img_path, image_p",
    ):
        read_manifest(write(tmp_path / "t.csv", "a.jpg,cat\nb.jpg,dog\n"))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_csv__byte_order_mark_or_none(tmp_path: Path, encoding: str) -> None:
    touch(tmp_path, "图.jpg")
    assert ids(write(tmp_path / "t.csv", "img_path,tags\r\n图.jpg,猫\r\n", encoding)) == ["图.jpg"]


def test_csv__other_encodings_are_named_and_can_be_read(tmp_path: Path) -> None:
    touch(tmp_path, "风景.jpg")
    table = write(tmp_path / "t.csv", "img_path,tags\n风景.jpg,天空\n", "gb18030")
    with pytest.raises(ManifestError, match=r"t.csv is not UTF-8 .*looks like GB18030.*--encoding gb18030"):
        read_manifest(table)
    assert ids(table, encoding="gb18030") == ["风景.jpg"]
    with pytest.raises(OptionError, match="unknown encoding 'gb'"):
        read_manifest(table, encoding="gb")


def test_csv__names_like_missing_values_and_odd_names(tmp_path: Path) -> None:
    names = [
        "N/A",
        "null",
        "nan",
        "007",
        "1e5",
        "True",
        " lead",
        "100%25.jpg",
        "🐈.png",
        "长" * 83 + "aa.png",
    ]
    touch(tmp_path, *(name for name in names if name != "N/A"), "N/A")
    rows = "".join(f"{name},x\n" for name in names)
    quoted = '"a, b.jpg",x\n"say ""cheese"".jpg",y\n"line\nbreak.jpg",z\n'
    listed = read_manifest(write(tmp_path / "t.csv", f"img_path,tags\n{rows}{quoted}"))
    assert list(listed.inputs) == [*names, "a, b.jpg", 'say "cheese".jpg', "line\nbreak.jpg"]
    assert all(entry.path.is_file() for entry in listed.entries[: len(names)])


def test_csv__empty_cell(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg")
    with pytest.raises(
        ManifestError, match=r"t.csv line 4: the cell of column 'img_path' is empty; name an image"
    ):
        read_manifest(write(tmp_path / "t.csv", 'img_path,tags\na.jpg,"x\ny"\n  ,z\n'))


def test_csv__header_only_and_empty(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="lists no images: it has a header and no rows"):
        read_manifest(write(tmp_path / "t.csv", "img_path,tags\n"))
    with pytest.raises(ManifestError, match="is empty"):
        read_manifest(write(tmp_path / "t.csv", ""))


def test_csv__root(tmp_path: Path) -> None:
    touch(tmp_path, "pictures/a.jpg")
    table = write(tmp_path / "t.csv", "img_path\na.jpg\n")
    with pytest.raises(
        ManifestError, match=r"none of the images it lists exists; the first one tried is .*a\.jpg; .*"
    ):
        read_manifest(table)
    listed = read_manifest(table, root=tmp_path / "pictures")
    assert listed.entries == (Entry("a.jpg", tmp_path / "pictures" / "a.jpg"),)
    assert listed.root == tmp_path / "pictures"
    with pytest.raises(ManifestError, match=r"root .*nowhere is not a folder; give the folder the paths in"):
        read_manifest(table, root=tmp_path / "nowhere")


def test_csv__absolute_paths(tmp_path: Path) -> None:
    touch(tmp_path, "in/a.jpg", "out/b.jpg")
    rows = f"{tmp_path}/in/a.jpg\n{tmp_path}/in/../out/b.jpg\na.jpg\n"
    listed = read_manifest(write(tmp_path / "in" / "t.csv", f"path\n{rows}"))
    outside = f"{tmp_path}/out/b.jpg"
    assert listed.inputs == ("a.jpg", outside, "a.jpg")
    assert [entry.path.read_bytes() for entry in listed.entries] == [b"x", b"x"]


def test_csv__absolute_paths_and_a_relative_or_linked_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "real/a.jpg")
    (tmp_path / "link").symlink_to("real")
    write(tmp_path / "real" / "t.csv", f"path\n{tmp_path.resolve()}/real/a.jpg\n")
    monkeypatch.chdir(tmp_path)
    assert ids(Path("real/t.csv")) == ["a.jpg"]
    assert ids(Path("link/t.csv")) == ["a.jpg"]


def test_csv__backslashes_become_slashes_only_where_needed(tmp_path: Path) -> None:
    touch(tmp_path, "sub/a.jpg", "odd\\name.jpg", "plain.jpg")
    table = write(tmp_path / "t.csv", "path\nplain.jpg\nsub\\a.jpg\nodd\\name.jpg\nsub\\missing.jpg\n")
    listed = read_manifest(table)
    assert listed.inputs == ("plain.jpg", "sub/a.jpg", "odd\\name.jpg", "sub\\missing.jpg")
    assert [entry.path.exists() for entry in listed.entries] == [True, True, True, False]


@pytest.mark.parametrize(
    ("rows", "wanted"),
    [
        (["/visual_china/train/1.jpg", "/visual_china/train/22.jpg"], ["1.jpg", "22.jpg"]),
        (["/visual_china/valid/1.jpg", "/visual_china/train/1.jpg"], ["valid/1.jpg", "train/1.jpg"]),
        (["data/train/1.jpg", "data/train/missing.jpg"], ["1.jpg", "missing.jpg"]),
        (["C:\\Users\\me\\train\\1.jpg", "C:\\Users\\me\\train\\22.jpg"], ["1.jpg", "22.jpg"]),
        (["only/22.jpg"], ["22.jpg"]),
    ],
)
def test_csv__leading_folders_of_another_machine(tmp_path: Path, rows: list[str], wanted: list[str]) -> None:
    touch(tmp_path, "1.jpg", "22.jpg", "valid/1.jpg", "train/only-so-that-it-exists.jpg")
    table = write(tmp_path / "t.csv", "img_path\n" + "".join(f"{row}\n" for row in rows))
    listed = read_manifest(table)
    assert list(listed.inputs) == wanted
    assert [entry.path for entry in listed.entries] == [tmp_path / name for name in wanted]


def test_csv__two_rows_never_become_one_image(tmp_path: Path) -> None:
    """Only 1.jpg exists: it could be either, so it is neither."""
    touch(tmp_path, "1.jpg")
    table = write(tmp_path / "t.csv", "img_path\ntrain/1.jpg\nvalid/1.jpg\n")
    with pytest.raises(ManifestError, match=r"none of the images it lists exists.*--root"):
        read_manifest(table)


def test_csv__nothing_is_dropped_when_something_exists(tmp_path: Path) -> None:
    touch(tmp_path, "train/1.jpg", "2.jpg")
    assert ids(write(tmp_path / "t.csv", "img_path\ntrain/2.jpg\ntrain/1.jpg\n")) == [
        "train/2.jpg",
        "train/1.jpg",
    ]


def test_csv__cells_that_no_disk_can_hold(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg")
    long = "x" * 300 + ".jpg"
    assert ids(write(tmp_path / "t.csv", f"img_path\n{long}\na.jpg\ntrain/\n")) == [long, "a.jpg", "train"]
    with pytest.raises(ManifestError, match="none of the images it lists exists"):
        read_manifest(write(tmp_path / "t.csv", f"img_path\n{long}\nzzz/\n"))


@pytest.mark.parametrize("mark", [";", "\t", "|", ","])
def test_csv__any_mark_between_the_columns(tmp_path: Path, mark: str) -> None:
    touch(tmp_path, "a.jpg", "b,c.jpg")
    text = f'img_path{mark}tags\na.jpg{mark} "x,y;z"\n"b,c.jpg"{mark}{"3 1 " * 40_000}\n'
    for name in ("t.csv", "t.tsv"):
        assert ids(write(tmp_path / name, text)) == ["a.jpg", "b,c.jpg"]


def test_csv__the_image_column_asked_for(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "b.jpg")
    table = write(tmp_path / "t.csv", "photo,img_path\na.jpg,x\nb.jpg,y\n")
    assert ids(table, image_column="photo") == ["a.jpg", "b.jpg"]
    with pytest.raises(
        ManifestError, match=r"no column 'bild' \(--image-column\): columns found are 'photo'"
    ):
        read_manifest(table, image_column="bild")
    table = write(tmp_path / "t.csv", "photo,other\na.jpg,x\n")
    with pytest.raises(ManifestError, match="no image column: .*, or give it with --image-column$"):
        read_manifest(table)
