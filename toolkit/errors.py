"""Errors that the user can fix.

Every message is one line: what was read or passed, what is allowed, what to do next. The command line prints
it without a traceback and exits with 2.
"""


class ToolkitError(Exception):
    """Base of all errors that the user can fix; the message says how."""


class MachineError(ToolkitError):
    """The operating system refuses: a full disk, missing rights, too many open files, no memory."""


class ChangedError(ToolkitError):
    """A store or a head was replaced while it was in use; running again takes the new one."""


class OptionError(ToolkitError):
    """An option or argument has a value that is not allowed."""


class ImageError(ToolkitError):
    """An image cannot be read; the message is the reason written to ``failed.csv``."""


class ManifestError(ToolkitError):
    """A folder or csv of images cannot be listed."""


class LabelError(ToolkitError):
    """A label file cannot be read, or contradicts itself, the tag list or the images."""


class StoreError(ToolkitError):
    """An embedding store is missing, damaged or exists already."""


class SpecMismatchError(ToolkitError):
    """Embeddings, head or store were made with different specs."""


class WeightsError(ToolkitError):
    """Backbone weights cannot be located, read or downloaded."""


class HeadError(ToolkitError):
    """A head cannot be fitted, loaded or applied."""


class SplitError(ToolkitError):
    """A split file is wrong, or the rows cannot be split as asked."""
