"""The data set that draws itself: what is written is what was drawn, and the tags are true."""

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from toolkit.errors import ImageError, OptionError
from toolkit.images.decode import decode_image
from toolkit.images.drawn import COLOURS, GREY, SHAPES, TAGS, draw_picture
from toolkit.images.drawn_set import N_NEW, DemoData, draw_demo_images
from toolkit.images.manifest import read_manifest

SIZE = (96, 80)
N = 40


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DemoData:
    return draw_demo_images(tmp_path_factory.mktemp("demo"), n=N, seed=3, size=SIZE)


def rows(labels: Path) -> list[tuple[str, list[str]]]:
    with labels.open(encoding="utf-8", newline="") as stream:
        header, *body = csv.reader(stream)
    assert header == ["img_path", "tags"]
    return [(name, tags.split(",")) for name, tags in body]


def test_labels_name_every_file_once(data: DemoData) -> None:
    for labels, folder, count in ((data.labels, data.images, N), (data.new_labels, data.new, N_NEW)):
        listed = [name for name, _ in rows(labels)]
        assert len(listed) == len(set(listed)) == count
        assert sorted(listed) == sorted(f"{folder.name}/{path.name}" for path in folder.iterdir())
    assert (data.n_images, data.n_new) == (N, N_NEW)
    assert len(read_manifest(data.images).entries) == N
    assert [entry.id for entry in read_manifest(data.labels).entries] == [
        name for name, _ in rows(data.labels)
    ]


def test_tags_are_those_of_the_tag_file(data: DemoData) -> None:
    assert data.tags.read_text(encoding="utf-8").splitlines() == list(TAGS)
    assert len(set(TAGS)) == 17
    for _, tags in rows(data.labels) + rows(data.new_labels):
        assert tags == [tag for tag in TAGS if tag in tags]
        assert set(tags) & set(SHAPES)
        assert bool(set(tags) & set(COLOURS)) != (GREY in tags)


def test_exactly_one_file_cannot_be_read(data: DemoData) -> None:
    failed = {}
    for folder in (data.images, data.new):
        for path in folder.iterdir():
            try:
                assert decode_image(path.read_bytes()).rgb.size == SIZE
            except ImageError as error:
                failed[path] = str(error)
    assert list(failed) == [data.unreadable]
    assert failed[data.unreadable].startswith("truncated: the file ends before the picture does")


def test_files_are_stored_in_every_way(data: DemoData) -> None:
    kinds: Counter[tuple[str | None, str]] = Counter()
    orientations = set()
    for folder in (data.images, data.new):
        for path in folder.iterdir():
            with Image.open(path) as image:
                kinds[image.format, image.mode] += 1
                orientations.add(image.getexif().get(ExifTags.Base.Orientation))
    odd = {("JPEG", "CMYK"), ("JPEG", "L"), ("PNG", "P"), ("PNG", "RGBA"), ("PNG", "I;16"), ("WEBP", "RGB")}
    assert set(kinds) == {("JPEG", "RGB"), *odd}
    assert kinds["JPEG", "RGB"] > (N + N_NEW) / 2
    assert orientations > {None}
    names = [path.name for path in data.images.iterdir()]
    assert sum("," in name and " " in name and not name.isascii() for name in names) == 1


def test_every_file_shows_the_picture_that_was_drawn(data: DemoData) -> None:
    """Whatever way it is stored in: turned by EXIF, in CMYK, with a palette, ..."""
    for which, labels in enumerate((data.labels, data.new_labels)):
        for number, (name, tags) in enumerate(rows(labels)):
            path = labels.parent / name
            if path == data.unreadable:
                continue
            rng = np.random.default_rng([3, which, number])
            drawn, drawn_tags = draw_picture(rng, SIZE, grey=GREY in tags)
            assert tags == list(drawn_tags)
            shown = decode_image(path.read_bytes()).rgb
            middle = (10, 10, SIZE[0] - 10, SIZE[1] - 10)  # transparent corners are left out
            small = [np.asarray(image.crop(middle).resize((19, 15)), dtype=int) for image in (shown, drawn)]
            assert np.abs(small[0] - small[1]).mean() < 6, name


def is_painted(image: Image.Image, colour: str) -> np.ndarray:
    """Return where a picture (H, W) is of one of the four colours, by their hues in degrees."""
    hue, saturation, value = (
        band.astype(int) for band in np.asarray(image.convert("HSV")).transpose(2, 0, 1)
    )
    middle, width = {"red": (357, 18), "蓝色": (218, 25), "green": (138, 30), "黄色": (48, 12)}[colour]
    off = np.abs((hue * 360 / 255 - middle + 180) % 360 - 180)
    return (off < width) & (saturation > 130) & (value > 90)


def test_colour_tags_are_true() -> None:
    """A picture has the tag if and only if at least a hundredth of it is of that colour."""
    checked = 0
    for seed in range(60):
        image, tags = draw_picture(np.random.default_rng(seed), (128, 128))
        if {"sunset", "noisy", "模糊"} & set(tags):  # an orange sky, or colours that are speckled or smeared
            continue
        checked += 1
        assert {colour for colour in COLOURS if is_painted(image, colour).mean() > 0.01} == set(tags) & set(
            COLOURS
        )
    assert checked > 25


def test_effects_and_grounds_are_true() -> None:
    """Noise is rougher, blurred edges are softer, night is darker than the rest."""
    rough: dict[bool, list[float]] = {True: [], False: []}
    edges: dict[bool, list[float]] = {True: [], False: []}
    bright: dict[bool, list[float]] = {True: [], False: []}
    for seed in range(150):
        image, tags = draw_picture(np.random.default_rng(seed), (96, 96))
        values = np.asarray(image.convert("L"), dtype=float)
        steps = np.abs(np.diff(values, axis=1))
        rough["noisy" in tags].append(float(np.median(steps)))
        edges["模糊" in tags].append(float(np.percentile(steps, 99)))
        bright["夜晚" in tags].append(float(np.median(values)))
    assert min(rough[True]) > max(rough[False])
    assert max(edges[True]) < np.median(edges[False])
    assert max(bright[True]) < min(bright[False])


def test_grey_pictures_are_grey() -> None:
    image, tags = draw_picture(np.random.default_rng(0), (64, 64), grey=True)
    values = np.asarray(image)
    assert (values == values[:, :, :1]).all()
    assert GREY in tags and not set(tags) & set(COLOURS)


def test_same_seed_same_pixels(data: DemoData, tmp_path: Path) -> None:
    again = draw_demo_images(tmp_path, n=N, seed=3, size=SIZE)
    assert again.labels.read_bytes() == data.labels.read_bytes()
    assert again.new_labels.read_bytes() == data.new_labels.read_bytes()
    for path in data.images.iterdir():
        if path == data.unreadable:
            continue
        pair = [decode_image((folder / path.name).read_bytes()).rgb for folder in (data.images, again.images)]
        assert np.array_equal(np.asarray(pair[0]), np.asarray(pair[1])), path.name
    assert draw_demo_images(tmp_path / "other", n=20, seed=4, size=(32, 32)).labels.read_bytes() != (
        draw_demo_images(tmp_path / "another", n=20, seed=5, size=(32, 32)).labels.read_bytes()
    )


def test_tags_are_skewed_and_none_is_too_rare_to_split() -> None:
    counts = Counter(
        tag
        for number in range(300)
        for tag in draw_picture(np.random.default_rng([0, 0, number]), (32, 32))[1]
    )
    assert set(counts) == set(TAGS) - {GREY}  # black and white is decided by the file
    assert min(counts.values()) >= 15
    assert max(counts.values()) > 5 * min(counts.values())


def test_progress_counts_to_the_end(tmp_path: Path) -> None:
    seen: list[tuple[str, int, int | None]] = []
    draw_demo_images(
        tmp_path,
        n=20,
        size=(32, 32),
        progress=lambda stage, done, total, note="": seen.append((stage, done, total)),
    )
    assert seen == [("draw", done, 60) for done in range(1, 61)]


def test_drawing_twice_overwrites_but_spares_other_files(tmp_path: Path) -> None:
    first = draw_demo_images(tmp_path, n=20, size=(32, 32))
    assert draw_demo_images(tmp_path, n=20, size=(32, 32)) == first
    (tmp_path / "images" / "holiday.jpg").write_bytes(b"mine")
    with pytest.raises(
        OptionError, match=r"images holds another file, 'holiday.jpg'; name a new folder or empty"
    ):
        draw_demo_images(tmp_path, n=20, size=(32, 32))


def test_too_few_or_too_small(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="--n got 19; give 20 or more pictures"):
        draw_demo_images(tmp_path, n=19)
    with pytest.raises(OptionError, match="size is 64 x 31; the demo's shapes need at least 32 x 32 pixels"):
        draw_demo_images(tmp_path, size=(64, 31))
    assert not (tmp_path / "images").exists()
