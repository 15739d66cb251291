"""Options of decoding."""

from typing import Annotated, Literal

from annotated_types import Ge, Le

from toolkit.runtime.options import Option, Options

Truncated = Literal["fail", "keep"]


class ImagePolicy(Options):
    """Limits on accepted images.

    The default of `max_pixels` is Pillow's own limit against decompression bombs, half a GiB of RGB pixels.
    The default of `decode_memory` is enough for an RGB picture of that size, decoded in full; with an alpha
    channel it is enough for two thirds of that size. By default a truncated file fails, because the missing
    part of the picture would be invented.
    """

    truncated: Annotated[
        Truncated,
        Option("A file that ends before its picture does: leave it out, or take what is there."),
    ] = "fail"
    max_pixels: Annotated[int, Ge(1), Option("Larger images fail (width times height).")] = 178_956_970
    decode_memory: Annotated[
        int,
        Ge(64),
        Le(2**20),
        Option(
            "MiB that all images being decoded may take together; one that needs more by itself fails.",
            metavar="MB",
        ),
    ] = 2048
    image_timeout: Annotated[
        float,
        Ge(0.1),
        Le(86_400.0),
        Option(
            "Longest that one image may be decoded; Pillow then stops where it can, and with --isolate "
            "always.",
            metavar="SECONDS",
        ),
    ] = 60.0

    @property
    def memory_bytes(self) -> int:
        """`decode_memory` in bytes."""
        return self.decode_memory * 2**20
