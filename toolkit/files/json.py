"""JSON files: UTF-8, indented, replaced atomically."""

import json
from pathlib import Path
from typing import Any

from toolkit.files.atomic import replacing

_ERRORS = "surrogateescape"  # keeps the bytes of file names that are not UTF-8 (PEP 383)


def read_json(path: Path) -> Any:
    """Return the document; `OSError` or `ValueError` if it cannot be read."""
    return json.loads(path.read_text(encoding="utf-8", errors=_ERRORS))


def write_json(path: Path, document: Any) -> None:
    """Write `document`, replacing an earlier one only when complete."""
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    with replacing(path) as fresh:
        fresh.write_text(text, encoding="utf-8", errors=_ERRORS)
