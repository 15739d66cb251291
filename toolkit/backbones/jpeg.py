"""JPEGs decoded and resized on the network's device: by nvJPEG on CUDA, by libjpeg-turbo on CPUs."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from queue import SimpleQueue
from typing import Any

import torch
from PIL import Image
from torchvision.io import ImageReadMode, decode_jpeg

from toolkit.backbones.base import Decoded
from toolkit.backbones.preprocessing import Preprocessing
from toolkit.backbones.resizing import resize
from toolkit.backbones.torch_devices import is_out_of_memory, on_stream
from toolkit.errors import OptionError

logger = logging.getLogger(__name__)

# deprecated, but the only way to nvJPEG without another dependency
warnings.filterwarnings("ignore", "The image decoding and encoding capabilities", DeprecationWarning)

AT_ONCE = 4  # decoding threads on a GPU at a time: enough to keep it busy with bounded memory
MOST_PIXELS = 2**23  # of one call: 25 MB of bytes and 100 MB as floats

_END = b"\xff\xd9"
_ORIENTATION = 0x0112


class DeviceDecoder:
    """Decodes and resizes plain JPEGs on a device; safe to call from threads.

    On CUDA a call has its own stream and returns when all its work is complete. nvJPEG decodes on internal
    streams and does not wait for the caller's: it would write to memory that another call had freed while
    kernels still used it.
    """

    def __init__(self, device: str, preprocessing: Preprocessing) -> None:
        self._device = torch.device(device)
        self._preprocessing = preprocessing
        self._streams: SimpleQueue[Any] = SimpleQueue()
        if self._device.type == "cuda":
            for _ in range(AT_ONCE):
                self._streams.put(torch.cuda.Stream(self._device))  # type: ignore[no-untyped-call]

    def __call__(self, files: Sequence[bytes], max_pixels: int) -> list[Decoded | None]:
        """See `toolkit.backbones.base.Backbone.decode`.

        Only files that all decoders decode equally are taken: complete RGB JPEGs, upright, without a colour
        profile, of at most `max_pixels`.
        """
        pixels = [_plain_pixels(data, self._preprocessing, max_pixels) for data in files]
        out: list[Decoded | None] = [None] * len(files)
        for places in _calls(pixels):
            with self._stream():
                try:
                    pictures = self._decode([files[place] for place in places])
                    resized = self._resized(pictures)
                except RuntimeError as error:
                    if not is_out_of_memory(error):
                        raise
                    raise OptionError(
                        f"--decode device: the memory of {self._device} is full; give --decode scaled"
                    ) from None
            for place, decoded in zip(places, resized, strict=True):
                out[place] = decoded
        return out

    @contextlib.contextmanager
    def _stream(self) -> Iterator[None]:
        if self._device.type != "cuda":
            yield
            return
        stream = self._streams.get()
        try:
            with on_stream(self._device, stream):
                yield
        finally:
            stream.synchronize()
            self._streams.put(stream)

    def _decode(self, files: Sequence[bytes]) -> list[torch.Tensor | None]:
        """Return (3, H, W) uint8 of each; if a damaged file fails the call, decode them one by one."""
        raw = [torch.frombuffer(bytearray(data), dtype=torch.uint8) for data in files]
        try:
            return list(decode_jpeg(raw, mode=ImageReadMode.RGB, device=self._device))
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            if len(files) == 1:
                logger.debug("left to Pillow, which reports the reason: %s", error)
                return [None]
        return [picture for data in files for picture in self._decode([data])]

    def _resized(self, pictures: Sequence[torch.Tensor | None]) -> list[Decoded | None]:
        """Resize pictures (3, H, W), those of one size together, which a GPU does as fast as one of them."""
        by_size: dict[torch.Size, list[int]] = {}
        for place, picture in enumerate(pictures):
            if picture is not None:
                by_size.setdefault(picture.shape, []).append(place)
        out: list[Decoded | None] = [None] * len(pictures)
        for (_, height, width), places in by_size.items():
            stacked = torch.stack([picture for place in places if (picture := pictures[place]) is not None])
            pixels = resize(stacked, self._preprocessing).cpu().numpy()
            for place, one in zip(places, pixels, strict=True):
                out[place] = (one, width, height)
        return out


def _calls(pixels: Sequence[int]) -> Iterator[list[int]]:
    """Yield the places of files for one call: at most `MOST_PIXELS` in all, unless one alone has more."""
    places: list[int] = []
    for place, more in enumerate(pixels):
        if more and places and sum(pixels[each] for each in places) + more > MOST_PIXELS:
            yield places
            places = []
        if more:
            places.append(place)
    if places:
        yield places


def _plain_pixels(data: bytes, preprocessing: Preprocessing, max_pixels: int) -> int:
    """Return the number of pixels, or 0 for a file that is left to Pillow."""
    if not data.startswith(b"\xff\xd8") or not data.rstrip(b"\0").endswith(_END):
        return 0
    try:
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:  # reads the header only
            upright = image.getexif().get(_ORIENTATION, 1) == 1
            plain = image.mode == "RGB" and upright and "icc_profile" not in image.info
            pixels = image.width * image.height
            fits = pixels <= max_pixels and preprocessing.resizes_whole(*image.size)
            return pixels if plain and fits else 0
    except Exception as error:  # any damage; Pillow reports it when it decodes the picture
        logger.debug("left to Pillow: %s", error)
        return 0
