"""read_labels on CVAT's xml."""

import pytest

from tests.labels.readers.tables import as_dict, write
from toolkit.errors import LabelError
from toolkit.labels.read import read_labels

META = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version><meta><task><labels>
<label><name>sea</name><attributes/></label><label><name>unused</name></label></labels></task></meta>
"""
IMAGES = """
<image id="0" name="sub/a.jpg" width="9" height="9"><tag label="sea" source="manual">
<attribute name="x">1</attribute></tag><box label="ship" xtl="1"/>
<polygon label="sea" points="1,2;3,4"/></image>
<image id="1" name="二.jpg"/></annotations>
"""


def test_cvat__tags_and_shapes(tmp_path):
    path = write(tmp_path / "annotations.xml", META + IMAGES)
    for source in (path, tmp_path):
        table = read_labels(source)
        assert as_dict(table) == {"sub/a.jpg": ["sea", "ship"], "二.jpg": []}
        assert table.space.tags == ("sea", "ship", "unused")
        assert table.root == tmp_path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (META + '<track id="0" label="car"/></annotations>', "is about a video"),
        (META + "</annotations>", "has no <image>; export 'CVAT for images'"),
        (META + '<image id="0"/></annotations>', "<image> number 1 has no name"),
        (
            "<annotation><filename>a.jpg</filename></annotation>",
            "VOC annotation of one image; give the",
        ),
        ("<html/>", "is not CVAT's xml: its root is 'html', not 'annotations'"),
        (META, r"is not readable xml \(no element found"),
        ('<!DOCTYPE a [<!ENTITY x "ha">]><annotations>&x;</annotations>', "EntitiesForbidden"),
        ("", r"is not readable xml \(no element found"),
    ],
)
def test_cvat__bad_files(tmp_path, text, message):
    path = write(tmp_path / "annotations.xml", text)
    with pytest.raises(LabelError, match=message) as caught:
        read_labels(path)
    assert "\n" not in str(caught.value)


def test_cvat__two_in_one_folder(tmp_path):
    for name in ("a.xml", "b.xml"):
        write(tmp_path / name, META + IMAGES)
    with pytest.raises(LabelError, match="has 2 xml files of CVAT; give the one to read"):
        read_labels(tmp_path)
