"""A folder of Pascal VOC annotations, one ``.xml`` an image."""

import posixpath
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from toolkit.errors import LabelError
from toolkit.files.text import codec_name, decode_text, named, quoted, read_bytes, shortened
from toolkit.labels.raw import RawLabels, ReaderOptions, RowCollector
from toolkit.labels.readers._files import files_of

MOST_BYTES = 8 << 20
"""Most bytes of an ``.xml``: 10,000 objects have less than half of that."""


def read(path: Path, options: ReaderOptions) -> RawLabels:
    """Read the ``<name>`` of every ``<object>``, difficult ones too, as the tags of the image ``<filename>``.

    An id is the ``<filename>`` in the folder of its ``.xml``. In VOC's own layout (``Annotations/`` and
    ``JPEGImages/``) images match by base name. `LabelError` if `path` has no ``.xml``, or one is not a VOC
    annotation.
    """
    labels = RowCollector()
    for name in files_of(path, "voc"):
        if name.lower().endswith(".xml"):
            root = _parse(path / name, options.encoding)
            image = posixpath.join(posixpath.dirname(name), _text(root, "filename", path / name))
            labels.add(image, [_text(each, "name", path / name) for each in root.iter("object")], name)
    if not labels.ids:
        raise LabelError(f"{path} has no .xml files; the label format 'voc' needs one an image")
    return labels.finish(path, unit="file")


def _parse(path: Path, encoding: str) -> Element:
    data = read_bytes(path, error=LabelError, most=MOST_BYTES)
    plain = codec_name(encoding) == "utf-8-sig"
    try:
        # the parser obeys the encoding that the file declares
        text = data if plain else decode_text(data, name=path, error=LabelError, encoding=encoding)
        root: Element = fromstring(text)
    except (ParseError, ValueError, LookupError, DefusedXmlException) as reason:
        if plain:
            decode_text(data, name=path, error=LabelError)  # explains a wrong encoding
        raise LabelError(
            f"{named(path)} is not readable xml ({shortened(reason)}); write it again or remove it"
        ) from reason
    if root.tag != "annotation":
        raise LabelError(
            f"{named(path)} is not a Pascal VOC annotation: its root is {quoted(root.tag)}, not 'annotation'"
        )
    return root


def _text(element: Element, child: str, path: Path) -> str:
    text = (element.findtext(child) or "").strip()
    if not text:
        raise LabelError(f"{named(path)}: an <{element.tag}> has no <{child}>; fill it in")
    return text
