"""Options of decoding."""

from typing import Annotated, Literal

from annotated_types import Ge

from toolkit.runtime.options import Option, Options

Truncated = Literal["fail", "keep"]


class ImagePolicy(Options):
    """Which files are accepted as images.

    The default of `max_pixels` is where Pillow gives up by itself: half a GiB of RGB pixels. It is a guard
    against decompression bombs. By default a truncated file fails, because the rest of it would be made up.
    """

    truncated: Annotated[
        Truncated,
        Option("A file that ends before its picture does: leave it out, or take what is there."),
    ] = "fail"
    max_pixels: Annotated[int, Ge(1), Option("Larger images fail (width times height).")] = 178_956_970
