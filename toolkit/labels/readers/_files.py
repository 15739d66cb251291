"""Files of a folder of labels."""

import stat
from pathlib import Path

from toolkit.errors import LabelError
from toolkit.images.manifest import walk


def files_of(folder: Path, format: str) -> list[str]:
    """Return the ids of the files below `folder`, sorted, without broken links.

    They are the ids of `read_manifest`. `LabelError` if it is not a folder, or cannot be listed.
    """
    if not folder.is_dir():
        raise LabelError(f"{folder} is not a folder; the label format {format!r} reads one")
    return sorted(name for name, mode in walk(folder, error=LabelError) if stat.S_ISREG(mode))
