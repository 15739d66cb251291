"""Shared by the readers of xml files."""

from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring, iterparse

from toolkit.errors import LabelError
from toolkit.files.regular import open_regular
from toolkit.files.text import codec_name, decode_text, read_bytes
from toolkit.runtime.messages import named, shortened

BAD_XML = (ParseError, ValueError, LookupError, DefusedXmlException)
"""What the parser raises for a file that is no xml, or a dangerous one."""

MOST_BYTES = 8 << 20
"""Most bytes of an ``.xml`` of one image: 10,000 objects have less than half of that."""


def parse(path: Path, encoding: str) -> Element:
    """Return the root of a small xml; `LabelError` if it is none, or declares entities."""
    data = read_bytes(path, error=LabelError, most=MOST_BYTES)
    plain = codec_name(encoding) == "utf-8-sig"
    try:
        # the parser obeys the encoding that the file declares
        text = data if plain else decode_text(data, name=path, error=LabelError, encoding=encoding)
        root: Element = fromstring(text)
    except BAD_XML as reason:
        if plain:
            decode_text(data, name=path, error=LabelError)  # explains a wrong encoding
        raise LabelError(
            f"{named(path)} is not readable xml ({shortened(reason)}); write it again or remove it"
        ) from reason
    return root


def root_name(path: Path) -> str:
    """Return the name of the root of an xml, or nothing if it is none: the reader says why."""
    try:
        with open_regular(path) as file:
            for _, element in iterparse(file, events=("start",)):
                return str(element.tag)
    except (*BAD_XML, OSError):
        return ""
    return ""
