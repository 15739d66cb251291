"""JSON files: UTF-8, indented, complete or not there."""

import json
from pathlib import Path
from typing import Any

from toolkit.files.atomic import replacing

# names of files that are not UTF-8 are kept as the bytes they stand for (PEP 383)
_ERRORS = "surrogateescape"


def read_json(path: Path) -> Any:
    """Return what the file holds; `OSError` or `ValueError` if it cannot be read."""
    return json.loads(path.read_text(encoding="utf-8", errors=_ERRORS))


def write_json(path: Path, document: Any) -> None:
    """Write `document`; the file that was there stays until the new one is complete."""
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    with replacing(path) as fresh:
        fresh.write_text(text, encoding="utf-8", errors=_ERRORS)
