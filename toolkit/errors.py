"""What can go wrong because of what a user handed in.

Every message is one line that says what came, what was allowed and what to do next. The command line
prints it without a traceback and exits with 2.
"""


class ToolkitError(Exception):
    """A mistake the user can mend; the message says how."""


class OptionError(ToolkitError):
    """An option or argument has a value that is not allowed."""


class ImageError(ToolkitError):
    """An image cannot be read; the message is the plain-words reason written to ``failed.csv``."""


class ManifestError(ToolkitError):
    """A folder or csv of images cannot be listed."""


class LabelError(ToolkitError):
    """A label file cannot be read, or contradicts itself, the tag list or the images."""


class StoreError(ToolkitError):
    """An embedding store is missing, damaged or already there."""


class SpecMismatchError(ToolkitError):
    """Embeddings made one way meet a head, or a store, made another way."""


class WeightsError(ToolkitError):
    """Backbone weights cannot be found, read or fetched."""


class HeadError(ToolkitError):
    """A head cannot be fitted, loaded or applied to these arrays."""


class SplitError(ToolkitError):
    """A split file is wrong, or the rows cannot be split as asked."""
