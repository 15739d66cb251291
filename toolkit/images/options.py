"""Options of decoding."""

from typing import Annotated, Literal

from annotated_types import Ge

from toolkit.runtime.options import Option, Options

Truncated = Literal["fail", "keep"]


class ImagePolicy(Options):
    """Limits on accepted images.

    The default of `max_pixels` is Pillow's own limit against decompression bombs, half a GiB of RGB pixels.
    By default a truncated file fails, because the missing part of the picture would be invented.
    """

    truncated: Annotated[
        Truncated,
        Option("A file that ends before its picture does: leave it out, or take what is there."),
    ] = "fail"
    max_pixels: Annotated[int, Ge(1), Option("Larger images fail (width times height).")] = 178_956_970
