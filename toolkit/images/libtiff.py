"""What libtiff prints while it decodes, kept from the terminal.

Pillow silences its codecs, except for libtiff's errors, which go to standard error without the file's name.
Here they are collected instead, by the thread that decodes. Where Pillow's libtiff cannot be reached (linked
into Pillow without its symbols, as on Windows) nothing changes.
"""

import ctypes
import functools
import logging
import threading

from PIL import _imaging

logger = logging.getLogger(__name__)

_MOST = 300  # characters of a line
_MOST_LINES = 100  # of one picture

# module, format and arguments; a va_list is passed as a pointer on all systems where the symbols are found
_Handler = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p)
_LINES = threading.local()


@functools.cache
def collect_errors() -> bool:
    """Collect libtiff's errors from now on, for all threads; return whether that is possible."""
    try:
        set_handler = ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler
        vsnprintf = ctypes.CDLL(None).vsnprintf
    except (OSError, AttributeError, TypeError) as error:
        logger.debug("libtiff cannot be reached, its errors stay on standard error: %s", error)
        return False

    def collect(module: bytes | None, text: bytes, arguments: int) -> None:
        line = ctypes.create_string_buffer(_MOST)
        vsnprintf(line, ctypes.c_size_t(_MOST), ctypes.c_char_p(text), ctypes.c_void_p(arguments))
        lines = getattr(_LINES, "lines", None)
        if lines is None:
            lines = _LINES.lines = []
        if len(lines) < _MOST_LINES:
            lines.append(line.value.decode("utf-8", "replace"))

    handler = _Handler(collect)
    _KEPT.append(handler)
    set_handler.restype = ctypes.c_void_p
    set_handler(handler)
    return True


_KEPT: list[object] = []  # libtiff calls it as long as the process lives


def taken_lines() -> list[str]:
    """Return what libtiff has said in this thread since the last call."""
    lines: list[str] = getattr(_LINES, "lines", [])
    _LINES.lines = []
    return lines
