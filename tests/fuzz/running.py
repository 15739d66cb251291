"""One input through one reader: a result, or a `ToolkitError` of one plain, short line."""

from pathlib import Path

from tests.fuzz.targets import Target
from toolkit.errors import ToolkitError

MOST_MESSAGE = 1000  # characters, besides the path of the folder


class BadMessageError(AssertionError):
    """The message of a `ToolkitError` is long, or has control characters."""


class Bench:
    """A folder with the valid files of a target, of which one at a time is replaced."""

    def __init__(self, target: Target, folder: Path) -> None:
        self.target, self.folder = target, folder
        target.build(folder)
        found = [path for pattern in target.files for path in sorted(folder.glob(pattern)) if path.is_file()]
        self.valid = {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}
        assert self.valid, f"{target.name} has no files"
        self._read_valid()

    def _read_valid(self) -> None:
        for file, data in self.valid.items():
            self.target.place(self.folder, file, data)
        self.target.read(self.folder)

    def run(self, file: str, data: bytes) -> str:
        """Return the message of the `ToolkitError`, or nothing for a result; other errors are raised."""
        self.target.place(self.folder, file, data)
        try:
            self.target.read(self.folder)
        except ToolkitError as error:
            message = str(error).replace(str(self.folder), "")
            if not message or len(message) > MOST_MESSAGE or not message.isprintable():
                raise BadMessageError(repr(message[:2000])) from error
            return message
        finally:
            self.target.place(self.folder, file, self.valid[file])
        return ""
