"""A folder of Pascal VOC annotations, one ``.xml`` an image."""

from dataclasses import replace
from pathlib import Path
from xml.etree.ElementTree import Element

from toolkit.errors import LabelError
from toolkit.labels.raw import RawLabels, ReaderOptions, RowCollector
from toolkit.labels.readers._about import ImageNames
from toolkit.labels.readers._files import files_of
from toolkit.labels.readers._xml import parse
from toolkit.runtime.messages import named, quoted


def read(path: Path, options: ReaderOptions) -> RawLabels:
    """Read the ``<name>`` of every ``<object>``, difficult ones too, as the tags of the image ``<filename>``.

    An id is the ``<filename>`` in the folder of its ``.xml``; in VOC's own layout (``Annotations/`` and
    ``JPEGImages/``) images match by base name. Where no image of the folder has that name, it is the image of
    the xml's own name. `LabelError` if `path` has no ``.xml``, one is not a VOC annotation, or xml and
    ``<filename>`` name two images of the set and the options do not decide.
    """
    names = files_of(path, "voc")
    images = ImageNames(names, ".xml", options.xml_image)
    labels = RowCollector()
    for name in names:
        if name.lower().endswith(".xml"):
            root = _annotation(path / name, options.encoding)
            image = images.image_of(name, (root.findtext("filename") or "").strip())
            labels.add(image, [_name(each, path / name) for each in root.iter("object")], name)
    if not labels.ids:
        raise LabelError(f"{path} has no .xml files; the label format 'voc' needs one an image")
    return replace(labels.finish(path, unit="file"), notes=images.notes(path))


def _annotation(path: Path, encoding: str) -> Element:
    root = parse(path, encoding)
    if root.tag != "annotation":
        raise LabelError(
            f"{named(path)} is not a Pascal VOC annotation: its root is {quoted(root.tag)}, not 'annotation'"
        )
    return root


def _name(element: Element, path: Path) -> str:
    text = (element.findtext("name") or "").strip()
    if not text:
        raise LabelError(f"{named(path)}: an <object> has no <name>; fill it in")
    return text
