"""CVAT's xml for images: one file with an ``<image>`` for each."""

from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element

from defusedxml.ElementTree import iterparse

from toolkit.errors import LabelError
from toolkit.files.regular import open_regular
from toolkit.labels.raw import RawLabels, ReaderOptions, RowCollector
from toolkit.labels.readers._files import files_of
from toolkit.labels.readers._xml import BAD_XML, root_name
from toolkit.runtime.messages import named, quoted, shortened

_WANTED = "export 'CVAT for images'"


def read(path: Path, options: ReaderOptions) -> RawLabels:
    """Read the ``label`` of every tag, box, polygon and other shape in each ``<image>`` of CVAT's xml.

    An image without any has no tags. The labels of the task are tags, used or not. A folder stands for the
    only CVAT xml in it. The file is read in pieces. `LabelError` if it is another xml, or one of a video.
    """
    file = _only_file(path) if path.is_dir() else path
    labels = RowCollector()
    for element in _elements(file):
        if element.tag == "labels":
            names = (each.findtext("name") for each in element.iter("label"))
            labels.declare(name.strip() for name in names if name and name.strip())
            continue
        number = len(labels.ids) + 1
        image = (element.get("name") or "").strip()
        if not image:
            raise LabelError(f"{named(file)}: <image> number {number} has no name; {_WANTED} again")
        shapes = (each.get("label") for each in element)
        labels.add(image, dict.fromkeys(name.strip() for name in shapes if name and name.strip()), number)
    if not labels.ids:
        raise LabelError(f"{named(file)} has no <image>; {_WANTED}")
    return labels.finish(file.parent, unit="image")


def _only_file(path: Path) -> Path:
    files = [path / name for name in files_of(path, "cvat") if name.lower().endswith(".xml")]
    fitting = [file for file in files if root_name(file) == "annotations"]
    if len(fitting) != 1:
        raise LabelError(f"{path} has {len(fitting)} xml files of CVAT; give the one to read")
    return fitting[0]


def _elements(path: Path) -> Iterator[Element]:
    """Yield the ``<labels>`` and every ``<image>``; each is freed after its use."""
    try:
        with open_regular(path) as file:
            root: Element | None = None
            for event, element in iterparse(file, events=("start", "end")):
                if root is None:
                    root = _checked(element, path)
                elif element.tag == "track":
                    raise LabelError(f"{named(path)} is about a video (it has a <track>); {_WANTED}")
                elif event == "end" and element.tag in ("image", "labels"):
                    yield element
                    if element.tag == "image":
                        root.clear()
    except OSError as reason:
        raise LabelError(f"{named(path)} cannot be read ({reason.strerror or reason})") from reason
    except BAD_XML as reason:
        raise LabelError(
            f"{named(path)} is not readable xml ({shortened(reason)}); {_WANTED} again"
        ) from reason


def _checked(root: Element, path: Path) -> Element:
    if root.tag == "annotation":
        raise LabelError(
            f"{named(path)} is a Pascal VOC annotation of one image; give the folder of all of them"
        )
    if root.tag != "annotations":
        raise LabelError(
            f"{named(path)} is not CVAT's xml: its root is {quoted(root.tag)}, not 'annotations'; {_WANTED}"
        )
    return root
