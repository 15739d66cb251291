"""Labels: many formats in, one sparse table out, matched with images on their ids.

>>> table = read_labels("visual_china_train.csv", tags="valid_tags.txt")  # doctest: +SKIP
>>> match = match_labels(store_ids, table, source_root=Path("train"))  # doctest: +SKIP
>>> Y = table.Y[match.table_rows]  # doctest: +SKIP
"""

from toolkit.labels.find import find_label_file
from toolkit.labels.match import LabelMatch, match_labels
from toolkit.labels.raw import parse_separator
from toolkit.labels.read import read_labels
from toolkit.labels.readers import READERS
from toolkit.labels.space import LabelSpace
from toolkit.labels.table import LabelTable

__all__ = [
    "READERS",
    "LabelMatch",
    "LabelSpace",
    "LabelTable",
    "find_label_file",
    "match_labels",
    "parse_separator",
    "read_labels",
]
