"""Which character joins tags: a question where they repeat so, none about real names."""

import itertools
import random

import pytest

from tests.labels.readers.tables import write
from toolkit.labels.read import read_labels
from toolkit.labels.separators import joined_like
from toolkit.labels.space import LabelSpace

COURTS = ("tennis court", "basketball court", "baseball field", "soccer field", "golf course", "sea", "ship")
COCO = (
    "traffic light", "fire hydrant", "stop sign", "parking meter", "sports ball", "baseball bat", "hot dog",
    "baseball glove", "tennis racket", "wine glass", "potted plant", "dining table", "cell phone", "dog",
    "teddy bear", "hair drier", "bear", "person", "car", "bench", "bird", "cat", "bed", "tv", "book", "clock",
)  # fmt: skip
WORDS = ("haze", "primary", "agriculture", "clear", "water", "habitation", "road", "cultivation", "cloudy")


@pytest.fixture
def labels(tmp_path):
    return tmp_path / "labels.csv"


def table_of(path, cells):
    rows = "".join(f'{number}.jpg,"{cell}"\n' for number, cell in enumerate(cells))
    return read_labels(write(path, f"img_path,tags\n{rows}"))


def questions(table):
    return [note for note in table.notes if "separator" in note]


@pytest.mark.parametrize(
    "mark", [" ", "/", ":", "+", "&", "-", "_", "#", "·", "~", "*", ".", " / ", "\u3000"]
)
def test_note__tags_joined_by_any_mark(labels, mark):
    random_ = random.Random(0)
    cells = [mark.join(random_.sample(WORDS, random_.randrange(1, 5))) for _ in range(60)]
    joined = sum(mark in cell for cell in cells)
    distinct, words = len(set(cells)), len({word for cell in cells for word in cell.split(mark)})
    found = questions(table_of(labels, cells))
    assert len(found) == 1
    assert found[0].startswith(f"{joined} rows without ',' in the tags but with ")
    assert found[0].endswith(f"{distinct} tags would be {words}")
    assert repr(mark.strip() or mark) in found[0] or repr(" ") in found[0]


def test_note__a_few_rows_are_enough(labels):
    cells = ["scab", "rust", "healthy", "complex", "scab complex", "rust complex", "rust scab"]
    assert questions(table_of(labels, cells)) == [
        "3 rows without ',' in the tags but with ' '; is that the separator (--separator)? 7 tags would be 4"
    ]


@pytest.mark.parametrize("names", [COURTS, COCO])
def test_note__none_about_names_of_two_words(labels, names):
    assert questions(table_of(labels, names)) == []
    assert questions(table_of(labels, [*names, *names])) == []
    pairs = [f"{one},{other}" for one, other in itertools.combinations(names, 2)]
    assert questions(table_of(labels, pairs)) == []


def test_note__none_where_the_separator_splits_rows(labels):
    cells = ["sand,sea", "new york,new,york", "york,sea", "new york", "sea", "new,york city"]
    assert questions(table_of(labels, cells)) == []


def test_joined_like__tags_of_another_file():
    space = LabelSpace(("sea", "sand", "potted plant"))
    assert joined_like(["sea/sand", "sea"], space) == "/"
    assert joined_like(["sea", "potted plant"], space) is None
    assert joined_like(["old boat", "boat"], space) is None
    assert joined_like(["potted plant;sea"], space) == ";"
